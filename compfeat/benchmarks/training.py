"""What a training step costs in time and memory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN

from compfeat.benchmarks.figures import report
from compfeat.benchmarks.paired import compare
from compfeat.benchmarks.trace import write_trace
from compfeat.benchmarks.twin import torchvision_twin
from compfeat.machine import best_device, peak_memory_gib
from compfeat.models.detector import CompFeat
from compfeat.quantities import Count, SupportFrames
from compfeat.structures import Clip, ClipBatch, FrameTarget


class StepsConfig(Protocol):
    """The keys of ``conf/_training.yaml``."""

    clips: Count
    support_frames: SupportFrames
    bf16: bool
    steps: Count
    data: Any
    model: Any
    optimizer: Any


class TrainingConfig(StepsConfig, Protocol):
    """The keys of ``conf/benchmark/training.yaml``."""

    objects: Count
    trace: str | None


def training(cfg: TrainingConfig) -> None:
    """Times whole steps, from a batch in memory to updated weights, as ``conf/benchmark/training.yaml`` describes.

    Beside it what must be paid in any case: a step of torchvision's Mask R-CNN with the same parts on the current
    frames, with the backbone forward and backward on all others.
    """
    torch.manual_seed(0)
    device = best_device()
    recipe: Any = OmegaConf.to_container(cfg.model, resolve=True)
    detector = instantiate(recipe, _convert_="all").detector.to(device)
    batch = noise(cfg.clips, cfg.support_frames, cfg.objects, *cfg.model.size).to(device)

    ours = partial(stepper(cfg, detector), partial(losses_of, detector, batch))
    if cfg.trace is not None:
        return write_trace(ours, Path(cfg.trace))
    for _ in range(2):  # the second with what the optimizer remembers of the first
        ours()
    memory = peak_memory_gib(device)  # before the other one needs any
    twin = torchvision_twin(detector, cfg.model.size)
    theirs = partial(stepper(cfg, twin), partial(_twin_losses, twin, detector, batch))
    seconds = compare(ours, theirs, cfg.steps)
    median = seconds.figures["seconds"]
    figures = {
        "device": device.type,
        **seconds.figures,
        "clips_per_second": cfg.clips / median,
        "peak_memory_gib": memory,
    }
    columns = ["", "s / step", "clips / s", "peak memory, GiB"]
    rows = [
        ["Mask R-CNN and backbone", figures["their_seconds"], cfg.clips / figures["their_seconds"], ""],
        ["CompFeat", median, cfg.clips / median, memory],
        ["ratio", seconds.ratio, 1 / seconds.ratio, ""],
    ]
    report(f"training steps of {cfg.clips} clips on {device.type}, median of {cfg.steps}", columns, rows, figures)


def stepper(cfg: StepsConfig, model: nn.Module) -> Callable[[Callable[[], list[Tensor]]], None]:
    """What trains a model once, by the losses that it is given a way to compute."""
    optimizer = instantiate(cfg.optimizer)([p for p in model.parameters() if p.requires_grad])
    device_type = next(model.parameters()).device.type

    def step(losses: Callable[[], list[Tensor]]) -> None:
        with torch.autocast(device_type, torch.bfloat16, enabled=cfg.bf16):
            total = torch.stack(losses()).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step


def losses_of(detector: CompFeat, batch: ClipBatch) -> list[Tensor]:
    """The losses of a batch, scalars."""
    return [value for name, value in detector(batch).items() if name.startswith("loss_")]


def _twin_losses(twin: MaskRCNN, detector: CompFeat, batch: ClipBatch) -> list[Tensor]:
    others = [batch.reference, *batch.support.unbind(1)]
    maps = twin.backbone(detector.normalize(torch.cat(others), batch.image_sizes * len(others)))
    images = list(detector.normalize(batch.current, batch.image_sizes))
    return [*twin(images, batch.targets).values(), *(x.float().mean() for x in maps.values())]


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
        [Clip(frames(), frames(support_frames), frames(), target, target, str(i), str(i)) for i in range(clips)]
    )
