"""What a training step costs in time and memory."""

import statistics
from time import perf_counter
from typing import Any, Protocol

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from compfeat.benchmarks import report
from compfeat.machine import peak_memory_gib
from compfeat.progress import tracked
from compfeat.quantities import Count, SupportFrames
from compfeat.structures import Clip, ClipBatch, FrameTarget


class TrainingConfig(Protocol):
    """The keys of ``conf/benchmark/training.yaml``."""

    clips: Count
    support_frames: SupportFrames
    objects: Count
    bf16: bool
    steps: Count
    data: Any
    model: Any
    optimizer: Any


def training(cfg: TrainingConfig) -> None:
    """Times whole steps, from a batch in memory to updated weights, as ``conf/benchmark/training.yaml`` describes."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe: Any = OmegaConf.to_container(cfg.model, resolve=True)
    detector = instantiate(recipe, _convert_="all").detector.to(device)
    optimizer = instantiate(cfg.optimizer)([p for p in detector.parameters() if p.requires_grad])
    batch = noise(cfg.clips, cfg.support_frames, cfg.objects, *cfg.model.size).to(device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=cfg.bf16):
            losses = [value for name, value in detector(batch).items() if name.startswith("loss_")]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()  # what libraries do once
    seconds = []
    for _ in tracked(range(cfg.steps), "training", cfg.steps, "steps"):
        began = perf_counter()
        step()
        seconds.append(perf_counter() - began)
    median = statistics.median(seconds)
    figures = {
        "device": device.type,
        "seconds_per_step": median,
        "clips_per_second": cfg.clips / median,
        "peak_memory_gib": peak_memory_gib(device),
    }
    columns = ["device", "s / step", "clips / s", "peak memory, GiB"]
    report(f"training steps of {cfg.clips} clips, median of {cfg.steps}", columns, [list(figures.values())], figures)


def noise(clips: int, support_frames: int, objects: int, width: int, height: int) -> ClipBatch:
    """A batch of random frames of one size, each with the same rectangular objects."""
    generator = torch.Generator().manual_seed(0)

    def frames(*count: int) -> torch.Tensor:
        return torch.randint(0, 256, (*count, 3, height, width), dtype=torch.uint8, generator=generator)

    corners = torch.rand(objects, 2, generator=generator) * torch.tensor([width, height]) / 2
    boxes = torch.cat([corners, corners + torch.tensor([width, height]) / 4], 1).floor()
    masks = torch.zeros(objects, height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    identities = torch.arange(1, objects + 1)
    target = FrameTarget(boxes=boxes, labels=torch.ones_like(identities), masks=masks, track_ids=identities)
    return ClipBatch.collate(
        [Clip(frames(), frames(support_frames), frames(), target, target, str(i)) for i in range(clips)]
    )
