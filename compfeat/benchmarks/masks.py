"""What the masks of a frame cost: against pasting every object into a frame of its own and encoding that."""

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from compfeat.benchmarks.figures import report
from compfeat.benchmarks.paired import compare
from compfeat.inference.paste import THRESHOLD, paste
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
    if any(whole_frames(*frame, size) != paste(*frame, size) for frame in frames):
        raise ValueError("the masks are not equal")

    def all_frames(way: Callable[[Tensor, Tensor, tuple[int, int]], list[RLE]]) -> Callable[[], list[list[RLE]]]:
        return lambda: [way(*frame, size) for frame in frames]

    seconds = compare(all_frames(paste), all_frames(whole_frames), cfg.rounds)
    figures = {"frames": cfg.frames, **seconds.figures}
    rows = [
        ["whole frames", 1000 * figures["their_seconds"] / cfg.frames],
        ["inside boxes", 1000 * figures["seconds"] / cfg.frames],
        ["ratio", seconds.ratio],
    ]
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
