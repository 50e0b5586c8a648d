"""Finds what is wrong with a data set, before a training run does."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from compfeat.data.annotations.entries import read_entries, read_text
from compfeat.data.annotations.layout import find_annotations, find_images
from compfeat.images import ImageError, read_image
from compfeat.masks import polygon_parts, polygons_rle, whole_rle
from compfeat.structures import RLE

BOX_TOLERANCE = 2.0  # pixels by which a side of a box may be off its mask, as rounding differs
NEEDED = {
    "categories": {"id": int, "name": str},
    "videos": {"id": int, "width": int, "height": int, "file_names": list},
    "annotations": {"id": int, "video_id": int, "category_id": int, "segmentations": list},
}


@dataclass
class Statistics:
    """What a split holds. Track lengths are in frames in which the object is seen; crowd regions do not count."""

    videos: int = 0
    frames: int = 0
    missing_frames: int = 0
    incomplete_videos: int = 0
    crowds: int = 0
    objects: Counter[str] = field(default_factory=Counter)  # by class name
    track_lengths: list[int] = field(default_factory=list)


class SplitCheck:
    """The check of one split: reads every frame and every annotation.

    Args:
        root: folder of the data set, in any layout that ``compfeat.data.annotations.layout`` knows.
        split: name of the split.

    Raises:
        FileNotFoundError: annotations or frames are not there.
        ValueError: the file is not json.

    Attributes:
        path: the json file.
        image_root: the folder of the frames.
        steps: how often ``run`` yields.
        statistics: filled by ``run``.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.path = find_annotations(root, split)
        self._text = read_text(self.path)
        self.statistics = Statistics()
        self._entries: dict[str, list[Any]] = {"categories": [], "videos": []}
        self._annotations = 0
        try:
            for key, entry in read_entries(self._text):
                if key in self._entries:
                    self._entries[key].append(entry)
                elif key == "annotations" and entry is not None:
                    self._annotations += 1
        except ValueError as error:
            raise ValueError(f"{self.path} is not a json object: {error}") from error
        names = [_names(video)[0] for video in self._entries["videos"] if _names(video)]
        self.image_root = find_images(root, split, names)
        self.steps = 1 + len(self._entries["videos"]) + self._annotations

    @property
    def has_annotations(self) -> bool:
        """False where the split comes without ground truth."""
        return self._annotations > 0

    def run(self) -> Iterator[list[str]]:
        """Checks step by step; yields what is wrong, each named by video and annotation id."""
        yield self._check_lists()
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # OpenCV decodes outside Python's lock
            for video, faults in zip(
                self._entries["videos"], pool.map(self._check_video, self._entries["videos"]), strict=True
            ):
                yield [f"{_video_name(video)}: {fault}" for fault in faults]
        videos = {v["id"]: v for v in self._entries["videos"] if not _lacks("videos", v)}
        categories = {c["id"]: c["name"] for c in self._entries["categories"] if not _lacks("categories", c)}
        seen: set[int] = set()
        for key, entry in read_entries(self._text):
            if key == "annotations" and entry is not None:
                yield self._check_annotation(entry, videos, categories, seen)

    def _check_lists(self) -> list[str]:
        faults = [f"{self.path}: there are no {key}" for key, entries in self._entries.items() if not entries]
        for category in self._entries["categories"]:
            faults += [f"category {_identity(category)}: {fault}" for fault in _lacks("categories", category)]
        for key, what in (("categories", "id"), ("categories", "name"), ("videos", "id")):
            entries = [entry for entry in self._entries[key] if isinstance(entry, dict)]
            values = Counter(entry[what] for entry in entries if isinstance(entry.get(what), NEEDED[key][what]))
            faults += [f"{key}: the {what} {value} is there {n} times" for value, n in values.items() if n > 1]
        return faults

    def _check_video(self, video: Any) -> list[str]:
        self.statistics.videos += 1
        if faults := _lacks("videos", video):
            return faults
        names, size = _names(video), (video["width"], video["height"])
        self.statistics.frames += len(names)
        if len(names) < len(video["file_names"]):
            faults.append("a file name is not text")
        if not names:
            faults.append("it has no frames")
        if len(set(names)) < len(names):
            faults.append("a file name is there twice")
        if min(size) < 1:
            faults.append(f"its size is {size[0]} x {size[1]}")
        if video.get("length", len(names)) != len(names):
            faults.append(f"its length is {video['length']}, but it has {len(names)} frames")
        missing = [name for name in names if not (self.image_root / name).is_file()]
        if missing:
            self.statistics.missing_frames += len(missing)
            self.statistics.incomplete_videos += 1
            faults.append(f"{len(missing)} of {len(names)} frames are missing, the first is {missing[0]}")
        for name in sorted(set(names) - set(missing)):
            if fault := _check_image(self.image_root / name, size):
                faults.append(f"frame {name} {fault}")
        return faults

    def _check_annotation(
        self, entry: Any, videos: Mapping[int, dict], categories: Mapping[int, str], seen: set[int]
    ) -> list[str]:
        where = f"annotation {_identity(entry)}"
        if faults := _lacks("annotations", entry):
            return [f"{where}: {fault}" for fault in faults]
        if entry["id"] in seen:
            faults.append("its id is there before")
        seen.add(entry["id"])
        if entry["category_id"] not in categories:
            faults.append(f"there is no category {entry['category_id']}")
        video = videos.get(entry["video_id"])
        if video is None:
            return [f"{where}: {fault}" for fault in (*faults, f"there is no video {entry['video_id']}")]
        segmentations, frames = entry["segmentations"], len(video["file_names"])
        for key in ("segmentations", "bboxes", "areas"):
            listed = entry.get(key)
            if listed is not None and not isinstance(listed, list):
                faults.append(f"{key} is {listed!r:.40}, not list")
            elif listed is not None and len(listed) != frames:
                faults.append(f"it has {len(listed)} {key}, but its video has {frames} frames")
        visible = sum(bool(segmentation) for segmentation in segmentations)
        if not visible:
            faults.append("no frame shows it")
        boxes = entry.get("bboxes")
        if not isinstance(boxes, list) or not boxes:
            boxes = [None] * len(segmentations)
        for frame, (segmentation, box) in enumerate(zip(segmentations, boxes, strict=False)):
            if fault := _check_mask(segmentation, box, video["height"], video["width"]):
                faults.append(f"frame {frame}: {fault}")
        if entry.get("iscrowd"):
            self.statistics.crowds += 1
        else:
            self.statistics.objects[categories.get(entry["category_id"], "?")] += 1
            self.statistics.track_lengths.append(visible)
        return [f"{_video_name(video)}, {where}: {fault}" for fault in faults]


def _lacks(kind: str, entry: Any) -> list[str]:
    """Which of the members that an entry needs are missing or of a wrong type."""
    if not isinstance(entry, dict):
        return [f"it is {type(entry).__name__}, not an object"]
    faults = []
    for key, needed in NEEDED[kind].items():
        if key not in entry:
            faults.append(f"{key} is missing")
        elif not isinstance(entry[key], needed) or isinstance(entry[key], bool):
            faults.append(f"{key} is {entry[key]!r:.40}, not {needed.__name__}")
    return faults


def _identity(entry: Any) -> Any:
    return entry.get("id", "without id") if isinstance(entry, dict) else "without id"


def _names(video: Any) -> list[str]:
    names = video.get("file_names") if isinstance(video, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _video_name(video: Any) -> str:
    names = _names(video)
    folder = os.path.dirname(names[0]) or names[0] if names else ""
    return f"video {_identity(video)}" + (f" ({folder})" if folder else "")


def _check_image(path: Path, size: tuple[int, int]) -> str | None:
    """What is wrong with a frame: unreadable, cut short or of another size (width, height)."""
    try:
        height, width, _ = read_image(path).shape
    except ImageError:
        return "cannot be read: it is broken or cut short"
    return None if (width, height) == size else f"has {width} x {height} pixels instead of {size[0]} x {size[1]}"


def _check_mask(segmentation: Any, box: Any, height: int, width: int) -> str | None:
    """What is wrong with a segmentation and its box ``[x, y, width, height]``; either may be None."""
    if not segmentation:
        return "it has a box but no mask" if box else None
    try:
        mask = _to_rle(segmentation, height, width)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        return f"the mask is not valid: {error}"
    if not rle.area(mask):
        return "the mask has no pixel"
    if not box:
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
        return f"the box {box!r:.60} is not [x, y, width, height]"
    right = _corners(segmentation, mask)
    given = np.array(box, float)
    given[2:] += given[:2]
    if not np.abs(given - right).max() <= BOX_TOLERANCE:  # also when a number is NaN
        right[2:] -= right[:2]
        return f"the box {box} is not that of the mask, {right.round(2).tolist()}"
    return None


def _corners(segmentation: Any, mask: RLE) -> np.ndarray:
    """``[x1, y1, x2, y2]`` of a segmentation: of polygons their own, since a thin tip has no pixel."""
    if isinstance(segmentation, list):
        points = np.concatenate(polygon_parts(segmentation)).reshape(-1, 2)
        return np.concatenate([points.min(0), points.max(0)])
    corners = rle.toBbox(mask)
    corners[2:] += corners[:2]
    return corners


def _to_rle(segmentation: Any, height: int, width: int) -> RLE:
    if not isinstance(segmentation, list):
        return whole_rle(segmentation, height, width)
    parts = polygon_parts(segmentation)
    if len(parts) < len(segmentation):
        raise ValueError("a polygon has fewer than three points")
    points = np.concatenate(parts).reshape(-1, 2)
    if (points < -BOX_TOLERANCE).any() or (points > np.array([width, height]) + BOX_TOLERANCE).any():
        raise ValueError(f"a polygon leaves the frame of {width} x {height}")
    return polygons_rle(segmentation, height, width)
