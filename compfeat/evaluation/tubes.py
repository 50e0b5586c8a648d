"""Tubes as results.json and annotations hold them: their masks in one form, and what they share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle

Masks = Sequence[dict | None]  # of a tube: for each frame compressed RLE, None where there is nothing


def compressed(segmentation: Any, height: int, width: int) -> dict | None:
    """Compressed RLE of one frame, from that, uncompressed RLE or polygons; None where there is nothing."""
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        return rle.merge(rle.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return rle.frPyObjects(segmentation, height, width)
    return segmentation


def overlaps(found: Sequence[Masks], truths: Sequence[Masks]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What N found and M true tubes of one video share in each of F frames, in pixels.

    Returns:
        The intersections ``[F, N, M]``, the areas of the found ``[F, N]`` and of the true ones ``[F, M]``: float64,
        whole numbers. F is the length of the longest tube.
    """
    frames = max((len(masks) for masks in (*found, *truths)), default=0)
    intersections = np.zeros((frames, len(found), len(truths)))
    areas, true_areas = np.zeros((frames, len(found))), np.zeros((frames, len(truths)))
    for frame in range(frames):
        rows, masks = _visible(found, frame)
        columns, true_masks = _visible(truths, frame)
        if masks:
            areas[frame, rows] = rle.area(masks)
        if true_masks:
            true_areas[frame, columns] = rle.area(true_masks)
        if masks and true_masks:
            # pycocotools gives i / (a + b - i) of whole numbers: i comes back exactly.
            ratio = rle.iou(masks, true_masks, [0] * len(true_masks))
            both = areas[frame, rows][:, None] + true_areas[frame, columns]
            intersections[frame][np.ix_(rows, columns)] = np.round(ratio * both / (1 + ratio))
    return intersections, areas, true_areas


def _visible(tubes: Sequence[Masks], frame: int) -> tuple[list[int], list[dict]]:
    masks = [(i, mask) for i, tube in enumerate(tubes) if frame < len(tube) and (mask := tube[frame])]
    return [i for i, _ in masks], [mask for _, mask in masks]
