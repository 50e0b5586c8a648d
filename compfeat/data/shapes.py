"""A procedural VIS data set, written to disk once in the layout of YouTube-VIS.

Textured shapes move, turn, grow, hide each other and leave the frame over a slowly moving background. The classes are
outlines times fine markings ("striped disc", "checked disc", ...), so that they come in pairs that differ in nothing
but the marking. Colours are random, and say no more about the class than ``colour_hint`` lets them. A degraded frame
hides the markings but not the outlines: only other frames of the video then know the class; and it hides the fringes
that some objects have, which belong to their masks: only other frames then know the mask. Every knob of
`ShapesGenerator` isolates one claim of the paper; degradation draws from a random stream of its own, so another share
of it gives the same film, degraded.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from compfeat.data.annotations.measures import measured_track
from compfeat.data.drawing import (
    BACKGROUNDS,
    CLASSES,
    MARKINGS,
    OUTLINES,
    PAN,
    Actor,
    degrade,
    draw_background,
    draw_sprite,
    hinted_marking,
    render,
)
from compfeat.files import folder_written_whole
from compfeat.images import write_image
from compfeat.masks import json_rle
from compfeat.progress import tracked
from compfeat.quantities import Count, Natural, Positive, Seed, Share, Side
from compfeat.structures import RLE

SPLITS = ("train", "valid", "test")  # to learn from, to choose by, to be measured on once
STILLS = "stills"  # a split of videos of one frame, which stand for the still images of another data set

FORMAT_VERSION = 2  # raised whenever the same knobs draw other pictures, so that old folders are not taken for new ones
MIN_VISIBLE_AREA = 12  # pixels; below this an object counts as hidden
UNIT_SIDE = 96  # lengths below are in pixels of a frame whose shorter side is this; other frames scale them
DIAMETER = (26.0, 44.0)
JPEG_QUALITY = 92


@dataclass(frozen=True)
class ShapesGenerator:
    """The knobs of the data set; equal knobs give equal files, byte for byte.

    Args:
        train_videos, valid_videos, test_videos: videos in each split.
        length: frames of a video.
        width, height: of a frame, in pixels.
        seed: of everything random; no two splits or videos share a stream.
        max_objects: a video holds 1 to this many objects.
        wavelength: of the markings; coarse ones are learned sooner.
        degraded: probability that a frame is degraded (blurred, pale and noisy), for each frame on its own.
        lookalikes: probability that a video holds several objects of the same class and colour.
        occlusion: 0 keeps the objects apart, 1 sends all of them across the frame through one place.
        jumps: probability that, between two frames, the objects change places at random.
        scenes: whether the kind of the background tells which of the two markings each outline has.
        colour_hint: probability that an object has the marking that its colour hints at: frames that hide markings then
            mislead about the others, each of their frames in the same way. 0.5 hints at nothing.
        fringed: probability that an object has a fringe around it, which degraded frames do not show.
        stills: still images in the split of that name.

    Raises:
        ValueError: a knob is out of its range.
    """

    train_videos: Count = 600
    valid_videos: Count = 60
    test_videos: Count = 60
    length: Count = 12
    width: Side = 160
    height: Side = 96
    seed: Seed = 0
    max_objects: Count = 4
    wavelength: Positive = 8.0
    degraded: Share = 0.5
    lookalikes: Share = 0.3
    occlusion: Share = 0.5
    jumps: Share = 0.0
    scenes: bool = False
    colour_hint: Share = 0.5
    fringed: Share = 0.0
    stills: Natural = 0

    def __post_init__(self) -> None:
        lowest = dict(
            train_videos=1, valid_videos=1, test_videos=1, length=1, width=32, height=32, seed=0, max_objects=1
        )
        for knob, low in lowest.items():
            if getattr(self, knob) < low:
                raise ValueError(f"shapes: {knob} must be at least {low}, not {getattr(self, knob)}")
        for knob in ("degraded", "lookalikes", "occlusion", "jumps", "colour_hint", "fringed"):
            if not 0 <= getattr(self, knob) <= 1:
                raise ValueError(f"shapes: {knob} must lie between 0 and 1, not {getattr(self, knob)}")
        if self.scenes and self.colour_hint != 0.5:
            raise ValueError("shapes: either scenes or colour_hint tells the marking; leave one of them as it is")
        if self.lookalikes and self.max_objects < 2:
            raise ValueError("shapes: lookalikes needs max_objects of at least 2; set lookalikes to 0 or raise it")

    def first(self, count: int) -> "ShapesGenerator":
        """The knobs that draw the same, but only the first ``count`` videos of each split and stills."""
        kinds = [*(f"{split}_videos" for split in SPLITS), STILLS]
        return replace(self, **{kind: min(count, getattr(self, kind)) for kind in kinds})

    def path(self, root: Path) -> Path:
        """The folder under ``root`` that belongs to these knobs and to no others."""
        knobs = {knob: float(value) for knob, value in asdict(self).items()}  # 1 and 1.0 are the same knob
        fingerprint = hashlib.sha256(json.dumps([FORMAT_VERSION, knobs]).encode()).hexdigest()[:10]
        return Path(root) / f"shapes-{fingerprint}"

    def write(self, root: Path, splits: Iterable[str] = SPLITS) -> Path:
        """Writes ``{split}/instances.json`` and ``{split}/JPEGImages/<video>/<frame>.jpg`` of the splits that are not
        there yet; returns `path`.

        The json is that of YouTube-VIS with compressed RLE. Beside it each video has ``degraded``, one bool a frame,
        and each annotation what degraded frames say: ``hinted_category_id``, and ``shown_segmentations``, no fringes.
        The folder of a split appears complete or not at all, also when several processes write it at once.

        Raises:
            ValueError: there is no such split.
            OSError: the folder cannot be written, or has no room.
        """
        path = self.path(root)
        for split in splits:
            if split not in (*SPLITS, STILLS):
                raise ValueError(f"shapes: there is no split {split!r}, but {', '.join((*SPLITS, STILLS))}")
            if (path / split).exists():
                continue
            try:
                with folder_written_whole(path / split) as folder:
                    (replace(self, length=1) if split == STILLS else self)._write_split(folder, split)
            except OSError as error:
                if not (path / split).exists():  # else another process was faster, with the same
                    raise type(error)(
                        f"cannot draw the built-in data set into {path} ({error.strerror or error}): "
                        "set COMPFEAT_CACHE or data.root to a folder that can be written and has room"
                    ) from error
        return path

    def _write_split(self, folder: Path, split: str) -> None:
        count = self.stills if split == STILLS else getattr(self, f"{split}_videos")
        if count < 1:
            raise ValueError("shapes: there are no stills to draw: raise data.generator.stills, or leave out data.coco")
        workers = min(count, os.cpu_count() or 1)
        context = get_context("spawn")  # a fork of a process that has used OpenCV's threads can hang in OpenCV
        with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            written = pool.map(self._write_video, [folder] * count, [split] * count, range(count), chunksize=4)
            unit = "images" if split == STILLS else "videos"
            entries = list(tracked(written, f"drawing {split} of the built-in data set", count, unit))
        annotations = [annotation for _, of_video in entries for annotation in of_video]
        content = {
            "info": {"description": "CompFeat shapes", "version": FORMAT_VERSION, "knobs": asdict(self)},
            "videos": [video for video, _ in entries],
            "categories": [{"id": label, "name": name} for label, name in enumerate(CLASSES, start=1)],
            "annotations": [{"id": number} | annotation for number, annotation in enumerate(annotations, start=1)],
        }
        (folder / "instances.json").write_text(json.dumps(content))

    def _write_video(self, folder: Path, split: str, index: int) -> tuple[dict, list[dict]]:
        """Draws one video; returns its entry in ``videos`` and its ``annotations``, which have no ids yet."""
        streams = np.random.SeedSequence([self.seed, (*SPLITS, STILLS).index(split), index]).spawn(3)
        casting, motion, camera = map(np.random.default_rng, streams)
        unit = min(self.width, self.height) / UNIT_SIDE
        scene = int(casting.integers(len(BACKGROUNDS)))
        cast = self._cast(casting, scene)
        sprites = [draw_sprite(actor, self.wavelength, unit) for actor in cast]
        bare = [
            draw_sprite(actor._replace(fringed=False), self.wavelength, unit) if actor.fringed else sprite
            for actor, sprite in zip(cast, sprites, strict=True)
        ]
        background = draw_background(casting, scene, self.scenes, self.width, self.height, unit)
        poses = self._poses(motion, len(cast), unit)
        pan = PAN * unit * (1 + np.sin(motion.uniform(0, 6.3, 2) + np.linspace(0, 1.5, self.length)[:, None]))
        degraded = camera.random(self.length) < self.degraded

        names = [f"{index:04d}/{frame:05d}.jpg" for frame in range(self.length)]
        images = folder / "JPEGImages"
        (images / f"{index:04d}").mkdir(parents=True)
        tubes, shown = [], []
        for frame, name in enumerate(names):
            image, masks = render(background, pan[frame], sprites, poses[frame], self.width, self.height)
            visible = masks
            if degraded[frame] and any(actor.fringed for actor in cast):
                image, visible = render(background, pan[frame], bare, poses[frame], self.width, self.height)
            if degraded[frame]:
                image = degrade(image, camera, self.wavelength, unit)
            else:
                image = image + camera.normal(0, 2, image.shape)
            pixels = image.clip(0, 255).astype(np.uint8)
            write_image(images / name, pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            tubes.append([encoded(mask) for mask in masks])
            shown.append([encoded(mask) for mask in visible])

        video_id, size = index + 1, {"width": self.width, "height": self.height, "length": self.length}
        video = {"id": video_id, **size, "file_names": names, "degraded": degraded.tolist()}
        annotations = []
        for actor, tube, shown_tube in zip(cast, zip(*tubes, strict=True), zip(*shown, strict=True), strict=True):
            if any(tube):
                entry: dict[str, Any] = {"video_id": video_id, "category_id": actor.category, "iscrowd": 0} | size
                entry |= measured_track(tube)
                if self.fringed:
                    entry["shown_segmentations"] = [mask and json_rle(mask) for mask in shown_tube]
                if self.colour_hint != 0.5:
                    entry["hinted_category_id"] = actor.hinted_category
                annotations.append(entry)
        return video, annotations

    def _cast(self, rng: np.random.Generator, scene: int) -> list[Actor]:
        """The objects of a video, the farthest first."""
        alike = rng.random() < self.lookalikes
        count = int(rng.integers(2 if alike else 1, self.max_objects + 1))
        hues = (rng.random() + (np.arange(count) + rng.uniform(-0.2, 0.2, count)) / count) % 1
        cast = []
        for hue in hues:
            outline, marking = int(rng.integers(len(OUTLINES))), int(rng.integers(len(MARKINGS)))
            if self.scenes:  # two bits of the scene, one for the even and one for the odd outlines
                marking = scene >> (outline % 2) & 1
            if self.colour_hint != 0.5:
                marking = hinted_marking(hue) ^ int(rng.random() >= self.colour_hint)
            look = (float(hue), rng.uniform(0.65, 0.95), rng.uniform(0.8, 1.0))
            actor = Actor(outline, marking, look, rng.uniform(*DIAMETER), rng.uniform(0, np.pi))
            # drawn only where there may be one, so that films of settings without stay as they are
            fringed = self.fringed > 0 and bool(rng.random() < self.fringed)
            cast.append(actor._replace(fringed=fringed))
        if alike:
            first = cast[0]
            for twin in range(1, int(rng.integers(2, count + 1))):
                cast[twin] = first._replace(diameter=cast[twin].diameter, direction=cast[twin].direction)
        return [cast[i] for i in rng.permutation(count)]

    def _poses(self, rng: np.random.Generator, count: int, unit: float) -> np.ndarray:
        """``[length, count, 4]``: centre x and y in pixels, turn in radians, scale of each object in each frame.

        Places, one more than there are objects, lie on an ellipse and drift around it; `occlusion` bends their way
        towards the far side, through the middle. Objects sit in places, and deal them anew when they jump.
        """
        size = np.array([self.width, self.height])
        time = np.linspace(0, 1, self.length)[:, None]
        angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(count + 1) / (count + 1)
        drift, radius = rng.choice([-1, 1]) * rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.48, (count + 1, 1))

        def on_ellipse(angle: np.ndarray) -> np.ndarray:
            return size * (0.5 + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1))

        start = on_ellipse(angles)
        across = 2 * size * rng.uniform(0.42, 0.58, start.shape) - start
        end = (1 - self.occlusion) * on_ellipse(angles + drift) + self.occlusion * across
        places = start + (end - start) * time[..., None]  # [length, count + 1, 2]

        seats = [rng.permutation(count + 1)[:count]]
        for _ in range(self.length - 1):
            jump, deal = rng.random() < self.jumps, rng.permutation(count + 1)[:count]
            seats.append(deal if jump else seats[-1])
        centres = np.take_along_axis(places, np.stack(seats)[..., None], axis=1)

        centres = centres + 3 * unit * np.sin(rng.uniform(0, 6.3, (count, 2)) + 6 * time[..., None])
        turns = rng.uniform(0, 2 * np.pi, count) + rng.uniform(-2.5, 2.5, count) * time
        scales = 1 + 0.18 * np.sin(rng.uniform(0, 6.3, count) + rng.uniform(1, 4, count) * time)
        return np.concatenate([centres, turns[..., None], scales[..., None]], axis=-1)


def encoded(mask: np.ndarray) -> RLE | None:
    """RLE of a mask ``[H, W] uint8``; None when too little is visible."""
    return rle.encode(np.asfortranarray(mask)) if mask.sum() >= MIN_VISIBLE_AREA else None
