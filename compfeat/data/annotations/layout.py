"""Where a data set keeps its annotations and frames: found by looking, since every download is unpacked differently."""

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

ANNOTATIONS = (
    "{split}.json",  # YouTube-VIS 2019
    "{split}/instances.json",  # YouTube-VIS 2021, 2022
    "annotations_{split}.json",  # OVIS
    "annotations/instances_{split}_sub.json",  # YouTube-VIS 2019 as MaskTrack R-CNN splits it
    "annotations/instances_{split}.json",  # COCO
    "annotations/{split}.json",
    "annotations/annotations_{split}.json",
    "instances_{split}.json",
    "{split}_sub.json",
)
IMAGES = (
    "{split}/JPEGImages",  # YouTube-VIS
    "{split}",  # OVIS, COCO
    "Images/{split}",
    "images/{split}",
    "JPEGImages/{split}",
    "{split}/Images",
    "{split}/images",
    "{split}_all_frames/JPEGImages",
    "JPEGImages",
    "Images",
    "images",
    ".",
)
ADVICE = "set data.root to the folder of the data set (for COCO data.coco.root, for a converter source)"
SAME_SPLIT = {"valid": "val", "val": "valid"}
LOOKED_AT = 50  # frames by which the image folder is recognised; some may be missing


class NotFound(FileNotFoundError):
    """A part of a data set is not where any known layout has it; the message says where it was looked for."""


def find_annotations(root: Path, split: str) -> Path:
    """The json file of a split, or ``root`` itself where that is a file; NotFound where no known layout has it."""
    if root.is_file():
        return root
    candidates = [root / layout.format(split=name) for name in _names(split) for layout in ANNOTATIONS]
    for path in candidates:
        if path.is_file():
            return path
    if not root.is_dir():
        raise NotFound(f"there is no folder {root}: {ADVICE}")
    looked = ", ".join(str(path.relative_to(root)) for path in candidates)
    raise NotFound(f"no annotations of the split {split} in {root}, looked for {looked}: {ADVICE}")


def find_images(root: Path, split: str, file_names: Sequence[str]) -> Path:
    """The folder that ``file_names``, some frames of a split, are relative to; NotFound where no frame is found."""
    looked = file_names[:: max(1, len(file_names) // LOOKED_AT)]
    candidates = [root / layout.format(split=name) for name in _names(split) for layout in IMAGES]
    found = {folder: sum((folder / name).is_file() for name in looked) for folder in candidates if folder.is_dir()}
    best = max(found, key=lambda folder: found[folder], default=None)  # the first among equals
    if best is None or (looked and not found[best]):
        folders = ", ".join(str(folder.relative_to(root)) for folder in candidates)
        example = f"{looked[0]} and the like" if looked else "frames"
        raise NotFound(f"no frames of the split {split} in {root}, looked for {example} under {folders}: {ADVICE}")
    return best


def missing_frames(folder: Path, file_names: Iterable[str]) -> np.ndarray:
    """Which files are not under the folder, links to nothing too: bool, one for each; every folder is listed once."""

    @cache
    def listed(parent: str) -> frozenset[str]:
        try:
            return frozenset(entry.name for entry in os.scandir(folder / parent) if entry.is_file())
        except OSError:
            return frozenset()

    parts = (name.rpartition("/") for name in file_names)
    return np.array([base not in listed(parent) for parent, _, base in parts], bool)


def _names(split: str) -> list[str]:
    return [split, *([SAME_SPLIT[split]] if split in SAME_SPLIT else [])]
