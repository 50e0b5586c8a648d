"""Tubes as results.json and annotations hold them: their masks in one form, and what they share."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle

from compfeat.masks import whole_rle

AT_ONCE = 255  # masks whose areas pycocotools finds in one call: it counts them in a byte

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
    """Entries of results or annotations, each with its masks in compressed form; ``counts`` are bytes."""
    sizes = {video["id"]: (video["height"], video["width"]) for video in truth["videos"]}
    for entry in entries:
        masks = [compressed(mask, *sizes[entry["video_id"]]) for mask in entry["segmentations"]]
        yield entry, [mask and _with_bytes(mask) for mask in masks]


def _with_bytes(mask: dict) -> dict:
    """A mask in the form that is known to be sound: what is repaired is evaluated again and again."""
    return mask | {"counts": mask["counts"].encode()} if isinstance(mask["counts"], str) else mask


def compressed(segmentation: dict | None, height: int, width: int) -> dict | None:
    """Compressed RLE of one frame, from that or uncompressed RLE; None where there is nothing."""
    if not segmentation:
        return None
    return whole_rle(segmentation, height, width) if isinstance(segmentation["counts"], list) else segmentation


def areas_of(tubes: Sequence[Masks]) -> list[np.ndarray]:
    """The areas of the masks of each tube of a video, pixels, float64 ``[F]``; equal tubes are measured once."""
    measured: dict[tuple, np.ndarray] = {}
    keys = [tuple(mask and mask["counts"] for mask in masks) for masks in tubes]
    for key, masks in zip(keys, tubes, strict=True):
        if key not in measured:
            measured[key] = _areas(masks)
    return [measured[key] for key in keys]


def _areas(masks: Masks) -> np.ndarray:
    shown = [mask for mask in masks if mask]
    parts = [rle.area(shown[first : first + AT_ONCE]) for first in range(0, len(shown), AT_ONCE)]
    areas = np.zeros(len(masks))
    areas[[bool(mask) for mask in masks]] = np.concatenate([[], *parts])
    return areas


def intersections(found: Sequence[Masks], truths: Sequence[Masks]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What N found and M true tubes of one video share in each of F frames, in pixels.

    Returns:
        The intersections ``[F, N, M]``, the areas of the found ``[F, N]`` and of the true ones ``[F, M]``: float64,
        whole numbers. F is the length of the longest tube.
    """
    frames = max((len(masks) for masks in (*found, *truths)), default=0)
    areas, true_areas = (_by_frame(areas_of(tubes), frames) for tubes in (found, truths))
    shared = np.zeros((frames, len(found), len(truths)))
    for frame in range(frames):
        rows, columns = np.flatnonzero(areas[frame]).tolist(), np.flatnonzero(true_areas[frame]).tolist()
        if rows and columns:
            masks, true_masks = [found[n][frame] for n in rows], [truths[m][frame] for m in columns]
            # What pycocotools gives for crowds is i / a of whole numbers: i comes back exactly.
            shares = rle.iou(masks, true_masks, [1] * len(columns))
            shared[frame][np.ix_(rows, columns)] = np.round(shares * areas[frame, rows, None])
    return shared, areas, true_areas


def _by_frame(areas: Sequence[np.ndarray], frames: int) -> np.ndarray:
    """``[F, N]`` of N tubes, some of which may be shorter than F."""
    padded = np.zeros((frames, len(areas)))
    for n, of_tube in enumerate(areas):
        padded[: len(of_tube), n] = of_tube
    return padded
