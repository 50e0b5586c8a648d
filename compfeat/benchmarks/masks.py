"""What the masks of a frame cost: against pasting every object into a frame of its own and encoding that."""

import statistics
from time import perf_counter
from typing import Protocol

import cv2
import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from compfeat.benchmarks import report
from compfeat.inference.paste import THRESHOLD, paste
from compfeat.machine import description
from compfeat.progress import tracked
from compfeat.quantities import Count, Side
from compfeat.structures import RLE

GRID = 28  # the mask head of Mask R-CNN gives a probability for each cell of a grid of as many rows and columns


class MasksConfig(Protocol):
    """The keys of ``conf/benchmark/masks.yaml``."""

    width: Side
    height: Side
    objects: Count
    sides: tuple[Side, Side]
    frames: Count
    rounds: Count


def masks(cfg: MasksConfig) -> None:
    """Times the way from mask probabilities to RLE as ``conf/benchmark/masks.yaml`` describes; rounds take turns.

    Raises:
        ValueError: the masks are not equal.
    """
    rng = np.random.default_rng(0)
    frames = [synthesise(rng, cfg) for _ in range(cfg.frames)]
    size = (cfg.height, cfg.width)
    ways = {"whole frames": whole_frames, "compfeat": paste}
    if any(whole_frames(*frame, size) != paste(*frame, size) for frame in frames):  # warms up, too
        raise ValueError("the masks are not equal")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tracked(range(cfg.rounds), "timing", cfg.rounds, "rounds"):
        for name, run in ways.items():
            began = perf_counter()
            for frame in frames:
                run(*frame, size)
            seconds[name].append((perf_counter() - began) / cfg.frames)
    ratios = [ours / theirs for theirs, ours in zip(*seconds.values(), strict=True)]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = statistics.median(ratios)
    figures = {
        "whole_frames_ms": 1000 * medians["whole frames"],
        "compfeat_ms": 1000 * medians["compfeat"],
        "ratio": ratio,
        "ratio_range": [round(min(ratios), 4), round(max(ratios), 4)],
        "machine": description(),
    }
    rows = [[name, 1000 * value] for name, value in medians.items()] + [["ratio", ratio]]
    title = f"masks of {cfg.objects} objects at {cfg.width}x{cfg.height}, median of {cfg.rounds} rounds"
    report(title, ["", "ms / frame"], rows, figures)


def whole_frames(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> list[RLE]:
    """The usual way, with the arguments and the result of ``paste``."""
    pasted = paste_masks_in_image(masks, boxes, size)[:, 0] > THRESHOLD
    return [rle.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in pasted]


def synthesise(rng: np.random.Generator, cfg: MasksConfig) -> tuple[Tensor, Tensor]:
    """Probabilities ``[N, 1, GRID, GRID]`` of ``cfg.objects`` dented blobs, and their boxes ``[N, 4]`` in a frame."""
    frame = np.array([cfg.width, cfg.height])
    sides = rng.uniform(*cfg.sides, (cfg.objects, 2)).clip(max=frame)
    corners = rng.random((cfg.objects, 2)) * (frame - sides)
    row, column = np.mgrid[-1 : 1 : GRID * 1j, -1 : 1 : GRID * 1j]
    dents = [cv2.resize(rng.normal(size=(5, 5)), (GRID, GRID), interpolation=cv2.INTER_CUBIC) for _ in sides]
    logits = 10 * (0.8 - np.hypot(row, column)) + np.stack(dents)
    boxes = np.concatenate([corners, corners + sides], axis=1)
    return torch.from_numpy(logits).float().sigmoid()[:, None], torch.from_numpy(boxes).float()
