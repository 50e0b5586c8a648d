"""Reads YouTube-VIS annotations: which videos there are, and which object is where in each of their frames."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from compfeat.structures import Category

LAYOUTS = ("{split}.json", "{split}/instances.json")  # YouTube-VIS 2019, 2021


class AnnotationError(ValueError):
    """An annotation file or a frame it names is not as it should be; the message says where."""


@dataclass(frozen=True)
class Track:
    """One object through a video; ``segmentations`` has one entry a frame, None where the object is not seen."""

    id: int
    label: int
    crowd: bool
    segmentations: list[Any]


@dataclass(frozen=True)
class Video:
    """One video: its frames relative to the image folder, and its objects."""

    id: int
    height: int
    width: int
    file_names: list[str]
    tracks: list[Track]

    @property
    def name(self) -> str:
        """The folder of its frames."""
        return str(Path(self.file_names[0]).parent) if self.file_names else str(self.id)


class VISAnnotations:
    """The annotations of one split.

    Attributes:
        path: the json file.
        image_root: the folder that the file names are relative to.
        categories: the classes, by ascending id; a label is the 1-based position in this list.
        videos: the videos, in the order of the file.
        has_annotations: False where the split comes without ground truth.
    """

    def __init__(self, path: Path, image_root: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self.image_root = image_root
        self.categories = sorted((Category(c["id"], c["name"]) for c in content["categories"]), key=lambda c: c.id)
        self.has_annotations = content.get("annotations") is not None
        labels = {category.id: label for label, category in enumerate(self.categories, start=1)}
        tracks: dict[int, list[Track]] = {video["id"]: [] for video in content["videos"]}
        for entry in content.get("annotations") or []:
            if entry["video_id"] not in tracks or entry["category_id"] not in labels:
                raise AnnotationError(f"{path}: annotation {entry['id']} names a video or category that is not listed")
            crowd = bool(entry.get("iscrowd", 0))
            track = Track(entry["id"], labels[entry["category_id"]], crowd, entry["segmentations"])
            tracks[entry["video_id"]].append(track)
        self.videos = [
            Video(v["id"], v["height"], v["width"], v["file_names"], tracks[v["id"]]) for v in content["videos"]
        ]

    @classmethod
    def load(cls, root: str | Path, split: str) -> "VISAnnotations":
        """Reads ``{root}/{split}.json`` or ``{root}/{split}/instances.json``, frames under ``{split}/JPEGImages``.

        Raises:
            FileNotFoundError: neither is there.
            AnnotationError: the file is not in the YouTube-VIS format.
        """
        root = Path(root)
        candidates = [root / layout.format(split=split) for layout in LAYOUTS]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            raise FileNotFoundError(
                f"no annotations at {' or '.join(map(str, candidates))}: set data.root to the folder of the data set"
            )
        try:
            return cls(path, root / split / "JPEGImages", json.loads(path.read_bytes()))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise AnnotationError(f"{path} is not in the YouTube-VIS format: {error!r}") from error


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A mask, uint8 ``[height, width]``, from compressed RLE, uncompressed RLE, polygons or None (nothing)."""
    if not segmentation:
        return np.zeros((height, width), np.uint8)
    if isinstance(segmentation, list):
        segmentation = rle.merge(rle.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = rle.frPyObjects(segmentation, height, width)
    return rle.decode(segmentation)
