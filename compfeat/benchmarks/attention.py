"""Memory of temporal attention: linear in the support positions, because the similarities are never held whole."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Protocol

import torch
from torch import Tensor

from compfeat.benchmarks.figures import report
from compfeat.machine import peak_memory_gib
from compfeat.models.attention import SupportMemory, TemporalAttention
from compfeat.progress import tracked
from compfeat.quantities import Channels, Count, Side


class AttentionConfig(Protocol):
    """The keys of ``conf/benchmark/attention.yaml``."""

    channels: Channels
    height: Side
    width: Side
    support_frames: list[Count]


def attention(cfg: AttentionConfig) -> None:
    """Peak memory beyond the inputs, each case in a process of its own, as ``conf/benchmark/attention.yaml`` says."""
    rows, figures = [], {}
    for frames in tracked(cfg.support_frames, "measuring", len(cfg.support_frames), "cases"):
        case = (cfg.channels, cfg.height, cfg.width, frames)
        used = [_in_new_process(peak_memory, *case, dense) for dense in (False, True)]
        positions = frames * cfg.height * cfg.width
        rows.append([positions, *used])
        figures[str(positions)] = {"scaled_dot_product_mib": used[0], "dense_mib": used[1]}
    columns = ["support positions", "ours, MiB", "dense softmax, MiB"]
    report(f"peak memory of {cfg.height * cfg.width} queries", columns, rows, figures)


def peak_memory(channels: int, height: int, width: int, frames: int, dense: bool) -> float:
    """MiB by which one pass of `TemporalAttention`, or of its plain equation, raises the peak of this process."""
    module = TemporalAttention(channels)
    x, support = torch.rand(1, channels, height, width), torch.rand(1, frames, channels, height, width)
    with torch.inference_mode():
        memory = module.embed(support)
        attend: Callable[[Tensor, SupportMemory], Tensor] = module.attend
        if dense:
            attend = lambda x, memory: dense_attention(module, x, memory)  # noqa: E731
        attend(x[..., :2, :2], SupportMemory(memory.key[:, :8], memory.value[:, :8]))  # what libraries take once
        before = peak_memory_gib(x.device)
        attend(x, memory)
    return 2**10 * (peak_memory_gib(x.device) - before)


def dense_attention(module: TemporalAttention, x: Tensor, memory: SupportMemory) -> Tensor:
    """Eq. 1 as written, with the whole matrix of similarities."""
    query = module.query(x).relu().flatten(2).mT
    context = (query @ memory.key.mT).softmax(-1) @ memory.value
    return module.project(context.mT.unflatten(2, x.shape[-2:])).relu()


def _in_new_process(function: Callable[..., float], *arguments: object) -> float:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
