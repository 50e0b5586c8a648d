"""A data set of the size of YouTube-VIS, synthesised: what benchmarks read costs what the real one does."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from compfeat.files import folder_written_whole
from compfeat.progress import tracked
from compfeat.quantities import Count, Side

FORMAT_VERSION = 1  # raised whenever the same numbers synthesise other files
SPLIT = "train"
CORNERS = 160  # of an outline


@dataclass(frozen=True)
class Scale:
    """How much is synthesised; frames are ``width`` x ``height``, of which ``pictures`` are different."""

    videos: Count
    objects: Count
    frames: Count
    width: Side
    height: Side
    pictures: Count


def synthesise(scale: Scale, cache: Path) -> Path:
    """Writes a data set in the layout of YouTube-VIS 2019, once; returns its folder.

    Outlines wobble like those of animals, and move; masks are uncompressed RLE, as YouTube-VIS ships them, of hundreds
    of runs each. The frames of all videos are hard links to a few different pictures: to a loader a file like any
    other, but the folder stays small and is written in minutes.
    """
    root = cache / ("data-" + "-".join(map(str, (FORMAT_VERSION, *asdict(scale).values()))))
    if root.exists():
        return root
    with folder_written_whole(root) as folder:
        videos = _write_frames(scale, folder)
        _write_annotations(scale, folder, videos)
    return root


def _write_frames(scale: Scale, folder: Path) -> list[dict]:
    rng = np.random.default_rng(0)
    pool = folder / "pictures"
    pool.mkdir(parents=True)
    for number in range(scale.pictures):
        octaves = [
            strength * cv2.resize(rng.normal(size=(rows, 2 * rows, 3)), (scale.width, scale.height), interpolation=kind)
            for rows, strength, kind in (
                (4, 40, cv2.INTER_CUBIC),
                (24, 20, cv2.INTER_LINEAR),
                (90, 9, cv2.INTER_LINEAR),
                (scale.height // 3, 4, cv2.INTER_LINEAR),
            )
        ]
        picture = (120 + np.sum(octaves, axis=0)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(pool / f"{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    videos = []
    for video in range(scale.videos):
        names = [f"{video:04}/{5 * frame:05}.jpg" for frame in range(scale.frames)]
        (folder / SPLIT / "JPEGImages" / f"{video:04}").mkdir(parents=True)
        for name in names:
            os.link(pool / f"{rng.integers(scale.pictures)}.jpg", folder / SPLIT / "JPEGImages" / name)
        size = {"width": scale.width, "height": scale.height, "length": scale.frames}
        videos.append({"id": video + 1, "file_names": names} | size)
    return videos


def _write_annotations(scale: Scale, folder: Path, videos: Sequence[dict]) -> None:
    """Writes entry by entry: the whole would fill gigabytes."""
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, 41)]
    with (folder / f"{SPLIT}.json").open("w") as file:
        file.write(f'{{"videos": {json.dumps(videos)}, "categories": {json.dumps(categories)}, "annotations": [')
        for number in tracked(range(scale.objects), "synthesising", scale.objects, "annotations"):
            rng = np.random.default_rng([1, number])
            masks = [run_lengths(outline, scale) for outline in outlines(rng, scale)]
            size = [scale.height, scale.width]
            entry = {
                "id": number + 1,
                "video_id": number % scale.videos + 1,
                "category_id": int(rng.integers(1, 41)),
                "iscrowd": 0,
                "length": scale.frames,
                "segmentations": [{"counts": runs.tolist(), "size": size} for runs in masks],
                "areas": [int(runs[1::2].sum()) for runs in masks],
                "bboxes": None,
            }
            file.write((", " if number else "") + json.dumps(entry))
        file.write("]}")


def outlines(rng: np.random.Generator, scale: Scale) -> Iterator[np.ndarray]:
    """The corners of one moving object, float ``[CORNERS, 2]``, frame by frame."""
    sides = np.array([scale.width, scale.height])
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    waves = np.arange(2, 12)
    strengths, phases = rng.normal(0, 0.35, 10) / waves, rng.uniform(0, 6.3, 10)
    turning = rng.normal(0, 0.1, 10)
    radius = scale.height * rng.uniform(0.1, 0.35)
    centre, speed = rng.uniform(0.25, 0.75, 2) * sides, rng.normal(0, 0.01, 2) * sides
    for frame in range(scale.frames):
        wobble = 1 + np.sum(strengths * np.cos(np.outer(angles, waves) + phases + frame * turning), axis=1)
        around = radius * wobble.clip(0.2)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        yield (centre + frame * speed).clip(0.1 * sides, 0.9 * sides) + around


def run_lengths(outline: np.ndarray, scale: Scale) -> np.ndarray:
    """The runs of a filled outline: only the columns that it covers are drawn."""
    left, right = outline[:, 0].min(), outline[:, 0].max()
    first, last = max(0, int(left)), min(scale.width, int(right) + 2)
    columns = np.zeros((scale.height, last - first), np.uint8)
    cv2.fillPoly(columns, [np.round(outline - [first, 0]).astype(np.int32)], 1)
    edges = np.flatnonzero(np.diff(columns.T.ravel(), prepend=0, append=0)) + first * scale.height
    return np.diff(edges, prepend=0, append=scale.width * scale.height)
