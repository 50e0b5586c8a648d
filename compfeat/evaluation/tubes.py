"""Tubes as results.json and annotations hold them: their masks in one form, and what they share."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle

Masks = Sequence[dict | None]  # of a tube: for each frame compressed RLE, None where there is nothing


class FoundTube(NamedTuple):
    """What was found as one object, with its score for each class it is listed under, by category id."""

    scores: dict[int, float]
    masks: Masks

    @property
    def score(self) -> float:
        """That of the likeliest class."""
        return max(self.scores.values())

    @property
    def category(self) -> int:
        """The likeliest class."""
        return max(self.scores, key=self.scores.__getitem__)


def found_tubes(truth: Mapping[str, Any], results: Sequence[dict]) -> dict[int, list[FoundTube]]:
    """The tubes of each video; entries with equal masks are one tube under several classes."""
    tubes: dict[int, list[FoundTube]] = {video["id"]: [] for video in truth["videos"]}
    same_masks: dict[tuple, list[FoundTube]] = defaultdict(list)
    for entry, masks in with_masks(results, truth):
        same = same_masks[entry["video_id"], *(mask and mask["counts"] for mask in masks)]
        # Listed twice under one class it is two tubes: it was found twice.
        tube = next((tube for tube in same if entry["category_id"] not in tube.scores), None)
        if tube is None:
            tube = FoundTube({}, masks)
            same.append(tube)
            tubes[entry["video_id"]].append(tube)
        tube.scores[entry["category_id"]] = entry["score"]
    return tubes


def with_masks(entries: Sequence[dict], truth: Mapping[str, Any]) -> Iterator[tuple[dict, Masks]]:
    """Entries of results or annotations, each with its masks in compressed form."""
    sizes = {video["id"]: (video["height"], video["width"]) for video in truth["videos"]}
    for entry in entries:
        yield entry, [compressed(mask, *sizes[entry["video_id"]]) for mask in entry["segmentations"]]


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
