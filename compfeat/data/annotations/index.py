"""Annotations as arrays on disk: parsed once, kept in the user's cache, mapped into memory ever after.

A json file of full size costs seconds to parse and gigabytes to hold, in every worker again. Its index holds the same
in a file about a third of its size: masks as COCO's compressed RLE (polygons as they are), all else as numbers. It is
named after the content of the json, so that a changed file has an index of its own.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from compfeat.data.annotations.array_store import DamagedStore, read_arrays, write_arrays
from compfeat.data.annotations.index_builder import build_arrays
from compfeat.data.annotations.segment_bytes import NOTHING, POLYGONS, read_polygons
from compfeat.masks import polygons_rle

FORMAT_VERSION = 2  # raised whenever the arrays change, so that old files are not taken for new ones


def default_cache() -> Path:
    """``$COMPFEAT_CACHE``, or ``~/.cache/compfeat``."""
    return Path(os.environ.get("COMPFEAT_CACHE") or Path.home() / ".cache" / "compfeat")


@dataclass(frozen=True)
class AnnotationIndex:
    """The content of an annotation file.

    V videos of F frames in all, K tracks of S = (frames of their video) segmentations each.

    Attributes:
        categories: (id, name) of each class, by ascending id; labels are 1-based positions in it.
        video_ids: int64 ``[V]``, in the order of the file.
        video_sizes: int64 ``[V, 2]``, height and width.
        frame_starts: int64 ``[V + 1]``, where each video's frames begin.
        name_starts, names: int64 ``[F + 1]`` and uint8: file name i is ``names[name_starts[i]:name_starts[i + 1]]``.
        track_starts: int64 ``[V + 1]``, where each video's tracks begin; they follow the order of the videos.
        track_ids, track_labels: int64 ``[K]``.
        track_crowds: bool ``[K]``.
        track_segments: int64 ``[K]``, the segmentation of each track's first frame.
        segment_kinds: uint8 ``[S]``: nothing, run lengths or polygons.
        segment_starts, segments: int64 ``[S + 1]`` and uint8: the bytes of each segmentation.
    """

    categories: list[tuple[int, str]]
    video_ids: np.ndarray
    video_sizes: np.ndarray
    frame_starts: np.ndarray
    name_starts: np.ndarray
    names: np.ndarray
    track_starts: np.ndarray
    track_ids: np.ndarray
    track_labels: np.ndarray
    track_crowds: np.ndarray
    track_segments: np.ndarray
    segment_kinds: np.ndarray
    segment_starts: np.ndarray
    segments: np.ndarray
    path: Path = field(compare=False)

    @classmethod
    def open(cls, source: Path, cache: Path | None = None) -> "AnnotationIndex":
        """The index of a json file; builds it where there is none yet, or a damaged one.

        Args:
            source: a json file in the YouTube-VIS or the COCO format; an image is a video of one frame.
            cache: folder under which indices are kept; by default ``default_cache()``.

        Raises:
            AnnotationError: the file is not in that format.
            OSError: the index cannot be written.
        """
        path = (cache or default_cache()) / "index" / f"{digest_of(source)}-v{FORMAT_VERSION}.npz"
        try:
            return cls._map(path)
        except (OSError, DamagedStore):  # it is not there, or not as it was written
            arrays = build_arrays(source)
        try:
            write_arrays(path, arrays)
        except OSError as error:
            raise type(error)(
                f"cannot write the index of {source} into {path.parent} ({error.strerror}): "
                "set COMPFEAT_CACHE or data.cache to a folder that can be written"
            ) from error
        del arrays
        return cls._map(path)

    @classmethod
    def _map(cls, path: Path, verify: bool = True) -> "AnnotationIndex":
        arrays = read_arrays(path, verify)
        categories = [(identity, name) for identity, name in json.loads(arrays.pop("categories").tobytes())]
        return cls(categories=categories, path=path, **arrays)

    def __reduce__(self) -> tuple:
        return AnnotationIndex._map, (self.path, False)  # a worker that is spawned maps it again

    @property
    def digest(self) -> str:
        """Of the json file, in hexadecimal."""
        return self.path.stem.partition("-")[0]

    def frame_names(self, video: int) -> list[str]:
        """The file names of a video, by its position."""
        start, end = self.frame_starts[video : video + 2].tolist()
        bounds = self.name_starts[start : end + 1].tolist()
        names = self.names[bounds[0] : bounds[-1]].tobytes()
        return [names[a - bounds[0] : b - bounds[0]].decode() for a, b in zip(bounds, bounds[1:], strict=False)]

    def segmentation(self, segment: int, height: int, width: int) -> dict | None:
        """One segmentation as RLE, ``{"size": [height, width], "counts": bytes}``; None where there is none."""
        kind = self.segment_kinds[segment]
        if kind == NOTHING:
            return None
        start, end = self.segment_starts[segment : segment + 2].tolist()
        content = self.segments[start:end].tobytes()
        if kind == POLYGONS:
            return polygons_rle(read_polygons(content), height, width)
        return {"size": [height, width], "counts": content}


def digest_of(source: Path) -> str:
    """Of a json file, in hexadecimal."""
    with source.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).hexdigest()
