"""The arrays of an index out of an annotation file, and what contradicts itself there."""

import json
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from compfeat.data.annotations.entries import read_entries, read_text
from compfeat.data.annotations.segment_bytes import NOTHING, POLYGONS, RUNS, write_polygons
from compfeat.data.errors import AnnotationError
from compfeat.masks import are_whole, leaves_by_far, polygon_parts


def build_arrays(source: Path) -> dict[str, np.ndarray]:
    """What an ``AnnotationIndex`` holds of a json file, by name; AnnotationError where that is not in the format."""
    builder = _Builder()
    entries = read_entries(read_text(source))
    try:
        for key, entry in entries:
            if key in ("videos", "annotations", "categories") and entry is not None:
                getattr(builder, f"add_to_{key}")(entry)
        return builder.arrays()
    except AnnotationError as error:
        raise AnnotationError(f"{source}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise AnnotationError(f"{source} is not in the YouTube-VIS format: {what}") from error


class _Builder:
    """Takes in the entries of a file in any order, and makes arrays of them."""

    def __init__(self) -> None:
        self.categories: list[tuple[int, str]] = []
        self.video_ids = array("q")
        self.video_sizes = array("q")
        self.frames = array("q")  # of each video
        self.name_lengths = array("q")
        self.names = bytearray()
        self.track_ids = array("q")
        self.track_videos = array("q")
        self.track_categories = array("q")
        self.track_crowds = array("b")
        self.track_frames = array("q")
        self.kinds = array("B")
        self.sizes = array("q")  # height and width as each RLE has them; -1 where it has none
        self.reaches = array("d")  # the largest coordinate of polygons; 0 where there are none
        self.segment_lengths = array("q")
        self.segments = bytearray()

    def add_to_categories(self, entry: Mapping[str, Any]) -> None:
        self.categories.append((entry["id"], str(entry["name"])))

    def add_to_videos(self, entry: Mapping[str, Any]) -> None:
        names = [name.encode() for name in entry["file_names"]]
        self.video_ids.append(entry["id"])
        self.video_sizes.extend((entry["height"], entry["width"]))
        self.frames.append(len(names))
        self.name_lengths.extend(map(len, names))
        self.names += b"".join(names)

    def add_to_annotations(self, entry: Mapping[str, Any]) -> None:
        segmentations = entry["segmentations"]
        self.track_ids.append(entry["id"])
        self.track_videos.append(entry["video_id"])
        self.track_categories.append(entry["category_id"])
        self.track_crowds.append(bool(entry.get("iscrowd", 0)))
        self.track_frames.append(len(segmentations))
        for segmentation in segmentations:
            self._add_segmentation(segmentation)

    def _add_segmentation(self, segmentation: Any) -> None:
        kind, content, size, reach = NOTHING, b"", (-1, -1), 0.0
        if isinstance(segmentation, list):
            if polygons := polygon_parts(segmentation):
                kind, content = POLYGONS, write_polygons(polygons)
                reach = max(float(np.abs(polygon).max()) for polygon in polygons)
        elif segmentation:
            kind, counts, size = RUNS, segmentation["counts"], segmentation["size"]
            if isinstance(counts, list):
                counts = rle.frPyObjects(segmentation, *size)["counts"]
            content = counts.encode() if isinstance(counts, str) else counts
        self.kinds.append(kind)
        self.sizes.extend(size)
        self.reaches.append(reach)
        self.segment_lengths.append(len(content))
        self.segments += content

    def arrays(self) -> dict[str, np.ndarray]:
        if not self.categories:
            raise AnnotationError("it has no categories")
        categories = sorted(self.categories)
        if len(dict(categories)) < len(categories):
            raise AnnotationError("two categories have the same id")
        labels = {identity: label for label, (identity, _) in enumerate(categories, start=1)}
        positions = {identity: position for position, identity in enumerate(self.video_ids)}
        if len(positions) < len(self.video_ids):
            raise AnnotationError("two videos have the same id")
        tracks = zip(self.track_ids, self.track_videos, self.track_categories, strict=True)
        if lost := next((t for t, video, label in tracks if video not in positions or label not in labels), None):
            raise AnnotationError(f"annotation {lost} names a video or category that is not listed")
        videos = np.array([positions[video] for video in self.track_videos], np.int64)
        self._check_tracks(videos)
        self._check_runs()

        order = np.argsort(videos, kind="stable")
        return {
            "categories": np.frombuffer(json.dumps(categories).encode(), np.uint8),
            "video_ids": np.array(self.video_ids, np.int64),
            "video_sizes": np.array(self.video_sizes, np.int64).reshape(-1, 2),
            "frame_starts": _starts(self.frames),
            "name_starts": _starts(self.name_lengths),
            "names": np.frombuffer(self.names, np.uint8),
            "track_starts": _starts(np.bincount(videos, minlength=len(positions))),
            "track_ids": np.array(self.track_ids, np.int64)[order],
            "track_labels": np.array([labels[c] for c in self.track_categories], np.int64)[order],
            "track_crowds": np.array(self.track_crowds, bool)[order],
            "track_segments": _starts(self.track_frames)[:-1][order],
            "segment_kinds": np.frombuffer(self.kinds, np.uint8),
            "segment_starts": _starts(self.segment_lengths),
            "segments": np.frombuffer(self.segments, np.uint8),
        }

    def _check_tracks(self, videos: np.ndarray) -> None:
        """Every track must have one segmentation a frame, masks of its video's size, and polygons about it."""
        frames = np.array(self.track_frames, np.int64)
        expected = np.array(self.frames, np.int64)[videos]
        for track in np.flatnonzero(frames != expected)[:1]:
            raise AnnotationError(
                f"annotation {self.track_ids[track]} has {frames[track]} segmentations in a video of "
                f"{expected[track]} frames; scripts/check_data.py names every such error"
            )
        sizes = np.array(self.sizes, np.int64).reshape(-1, 2)
        stated = np.repeat(np.array(self.video_sizes, np.int64).reshape(-1, 2)[videos], frames, axis=0)
        other_size = (sizes != stated).any(1) & (sizes[:, 0] >= 0)
        for segment in np.flatnonzero(other_size | leaves_by_far(np.array(self.reaches), *stated.T))[:1]:
            track = int(np.searchsorted(_starts(frames), segment, "right")) - 1
            what = f"a mask of size {sizes[segment].tolist()}" if other_size[segment] else "a polygon far outside"
            raise AnnotationError(
                f"annotation {self.track_ids[track]} has {what} in a video of size {stated[segment].tolist()}; "
                "scripts/check_data.py names every such error"
            )

    def _check_runs(self) -> None:
        """The runs of every RLE must fill its mask."""
        segments, starts = _starts(self.track_frames).tolist(), _starts(self.segment_lengths).tolist()
        for track, (first, end) in enumerate(pairwise(segments)):
            shown = [segment for segment in range(first, end) if self.kinds[segment] == RUNS]
            masks = [bytes(self.segments[starts[segment] : starts[segment + 1]]) for segment in shown]
            if masks and not are_whole(masks, prod(self.sizes[2 * shown[0] : 2 * shown[0] + 2])):
                raise AnnotationError(
                    f"annotation {self.track_ids[track]} has a mask that its runs do not fill; "
                    "scripts/check_data.py names every such error"
                )


def _starts(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
