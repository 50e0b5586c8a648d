"""A procedural VIS data set, written to disk once in the layout of YouTube-VIS.

Textured shapes move, turn, grow, hide each other and leave the frame over a slowly moving background. The classes are
outlines times fine markings ("striped disc", "checked disc", ...), so that they come in pairs that differ in nothing
but the marking. Colours are random, and say no more about the class than ``colour_hint`` lets them. A degraded frame
hides the markings but not the outlines: only other frames of the video then know the class; and it hides the fringes
that some objects have, which belong to their masks: only other frames then know the mask. Every knob of
`ShapesGenerator` isolates one claim of the paper; degradation draws from a random stream of its own, so another share
of it gives the same film, degraded.
"""

import colorsys
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as rle

from compfeat.data.annotations.measures import measured_track
from compfeat.files import folder_written_whole
from compfeat.masks import json_rle
from compfeat.progress import tracked
from compfeat.quantities import Count, Natural, Positive, Seed, Share, Side
from compfeat.structures import RLE

OUTLINES = ("disc", "square", "triangle", "star")
MARKINGS = ("striped", "checked")
CLASSES = tuple(f"{marking} {outline}" for outline in OUTLINES for marking in MARKINGS)
SPLITS = ("train", "valid", "test")  # to learn from, to choose by, to be measured on once
STILLS = "stills"  # a split of videos of one frame, which stand for the still images of another data set

FORMAT_VERSION = 2  # raised whenever the same knobs draw other pictures, so that old folders are not taken for new ones
SUPERSAMPLING = 2
MIN_VISIBLE_AREA = 12  # pixels; below this an object counts as hidden
UNIT_SIDE = 96  # lengths below are in pixels of a frame whose shorter side is this; other frames scale them
DIAMETER = (26.0, 44.0)
FRINGE = 1.3  # diameter of an object with its fringe over that without
PAN = 8.0  # how far the background moves to either side
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
            except OSError:
                if not (path / split).exists():  # else another process was faster, with the same
                    raise
        return path

    def _write_split(self, folder: Path, split: str) -> None:
        count = self.stills if split == STILLS else getattr(self, f"{split}_videos")
        workers = min(count, os.cpu_count() or 1)
        context = get_context("spawn")  # a fork of a process that has used OpenCV's threads can hang in OpenCV
        with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            written = pool.map(self._write_video, [folder] * count, [split] * count, range(count), chunksize=4)
            entries = list(tracked(written, f"drawing {split} of the built-in data set", count, "videos"))
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
            pixels = image.clip(0, 255).astype(np.uint8)[..., ::-1]  # OpenCV writes BGR
            cv2.imwrite(str(images / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
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

    def _cast(self, rng: np.random.Generator, scene: int) -> list["Actor"]:
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


class Actor(NamedTuple):
    """What an object is: its class, colour, diameter without fringe (in units), direction of its marking (radians)."""

    outline: int
    marking: int
    hsv: tuple[float, float, float]
    diameter: float
    direction: float
    fringed: bool = False

    @property
    def category(self) -> int:
        return self.outline * len(MARKINGS) + self.marking + 1

    @property
    def hinted_category(self) -> int:
        return self._replace(marking=hinted_marking(self.hsv[0])).category


def hinted_marking(hue: float) -> int:
    """Warm colours hint at the first marking, cold ones at the second."""
    return int(hue >= 0.5)


def rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """``[3] float32`` in [0, 255], of hue, saturation and value in [0, 1]."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)


def outline_points(outline: int) -> np.ndarray:
    """``[points, 2]``: the polygon of an outline, about as large as the unit circle."""
    inner, outer, corners = {
        "disc": (1.0, 1.0, 60),
        "square": (1.12, 1.12, 4),
        "triangle": (1.3, 1.3, 3),
        "star": (0.64, 1.25, 10),
    }[OUTLINES[outline]]
    angles = 2 * np.pi * np.arange(corners) / corners
    radii = np.where(np.arange(corners) % 2, inner, outer)
    return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def draw_sprite(actor: Actor, wavelength: float, unit: float) -> np.ndarray:
    """``[S, S, 4] float32``: RGB in [0, 255] times alpha, and alpha in [0, 1]; upright, supersampled, centred."""
    radius = actor.diameter * unit * SUPERSAMPLING / 2
    corners = radius * outline_points(actor.outline)
    reach = FRINGE if actor.fringed else 1.0
    middle = int(np.ceil(reach * np.linalg.norm(corners, axis=1).max())) + 2
    side = 2 * middle + 1

    def filled(corners: np.ndarray) -> np.ndarray:
        canvas = np.zeros((side, side), np.uint8)
        cv2.fillPoly(canvas, [np.round(16 * (middle + corners)).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
        return canvas

    body, alpha = filled(corners), filled(reach * corners)

    y, x = (np.mgrid[:side, :side] - middle) / (unit * SUPERSAMPLING)
    along = x * np.cos(actor.direction) + y * np.sin(actor.direction)
    across = y * np.cos(actor.direction) - x * np.sin(actor.direction)
    # Both markings are half bright, half dark, and have the same wavelength: blurred, they are the same.
    wave = 2 * np.pi / wavelength
    if MARKINGS[actor.marking] == "striped":
        pattern = np.sin(wave * along)
    else:
        pattern = np.sin(wave / np.sqrt(2) * along) * np.sin(wave / np.sqrt(2) * across)
    bright = (0.5 + 4 * pattern).clip(0, 1)
    hue, saturation, value = actor.hsv
    light, dark = rgb(hue, 0.45 * saturation, value), rgb(hue, saturation, 0.42 * value)
    colour = dark + (light - dark) * bright[..., None]
    rim = cv2.distanceTransform((body > 127).astype(np.uint8), cv2.DIST_L2, 3) < 1.3 * unit * SUPERSAMPLING
    colour[rim] = 0.6 * dark
    if actor.fringed:
        colour[body <= 127] = rgb(hue, 0.7 * saturation, 0.75 * value)
    opacity = alpha[..., None] / np.float32(255)
    return np.concatenate([colour * opacity, opacity], axis=-1).astype(np.float32)


# Kinds of background: which of two colours a pixel has, and between them, as ``[height, width]`` in [0, 1].


def hills(rng: np.random.Generator, height: int, width: int, unit: float) -> np.ndarray:
    coarse = rng.random((round(height / (18 * unit)) + 2, round(width / (18 * unit)) + 2))
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def planks(rng: np.random.Generator, height: int, width: int, unit: float) -> np.ndarray:
    rows = (np.arange(height) / (17 * unit)).astype(int)
    return np.repeat(rng.random(rows[-1] + 1)[rows][:, None], width, axis=1)


def tiles(rng: np.random.Generator, height: int, width: int, unit: float) -> np.ndarray:
    rows, columns = ((np.arange(side) / (22 * unit)).astype(int) for side in (height, width))
    return rng.random((rows[-1] + 1, columns[-1] + 1))[rows][:, columns]


def pebbles(rng: np.random.Generator, height: int, width: int, unit: float) -> np.ndarray:
    field = np.zeros((height, width), np.float32)
    for _ in range(round(height * width / (160 * unit**2))):
        centre = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(field, centre, round(rng.uniform(6, 13) * unit), rng.random(), cv2.FILLED)
    return field


BACKGROUNDS: tuple[Callable[..., np.ndarray], ...] = (hills, planks, tiles, pebbles)


def draw_background(
    rng: np.random.Generator, scene: int, tinted: bool, width: int, height: int, unit: float
) -> np.ndarray:
    """``[H, W, 3] float32`` in [0, 255]: a texture of two pale colours, larger than the frame by the way it moves.

    Kinds of background differ in their texture, and where they are ``tinted`` in their colours too, as sky and sea do.
    """
    margin = int(np.ceil(2 * PAN * unit)) + 2
    field = BACKGROUNDS[scene](rng, height + margin, width + margin, unit)[..., None]
    hue, value = rng.random(), rng.uniform(0.5, 0.7)
    if tinted:
        hue = (scene + 0.6 * hue) / len(BACKGROUNDS)
    first = rgb(hue, rng.uniform(0.05, 0.25), value)
    second = rgb((hue + rng.uniform(-0.15, 0.15)) % 1, rng.uniform(0.05, 0.25), value + 0.25)
    grain = rng.normal(0, 5, field.shape)
    return (first + (second - first) * field + grain).astype(np.float32)


def render(
    background: np.ndarray, pan: np.ndarray, sprites: list[np.ndarray], poses: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Paints the sprites, the farthest first: ``[H, W, 3] float32`` and the visible ``[H, W] uint8`` mask of each.

    A pixel belongs to the object that covers more than half of it, so no two masks share one.
    """
    fine = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    shift = np.array([[1, 0, -pan[0]], [0, 1, -pan[1]]])
    canvas: np.ndarray = cv2.warpAffine(background, SUPERSAMPLING * shift, fine)
    owner = np.zeros(canvas.shape[:2], np.uint8)
    for number, (sprite, (x, y, turn, scale)) in enumerate(zip(sprites, poses, strict=True), start=1):
        middle = sprite.shape[0] // 2
        pose = cv2.getRotationMatrix2D((middle, middle), np.degrees(turn), scale)
        pose[:, 2] += SUPERSAMPLING * np.array([x, y]) - middle
        reach = np.array([-1, 1]) * (middle * scale + 2)  # paint only where the sprite can be
        left, right = (SUPERSAMPLING * x + reach).astype(int).clip(0, fine[0]).tolist()
        top, bottom = (SUPERSAMPLING * y + reach).astype(int).clip(0, fine[1]).tolist()
        if left == right or top == bottom:
            continue
        pose[:, 2] -= left, top
        painted = cv2.warpAffine(sprite, pose, (right - left, bottom - top))
        window = canvas[top:bottom, left:right]
        window *= 1 - painted[..., 3:]
        window += painted[..., :3]
        owner[top:bottom, left:right][painted[..., 3] > 0.5] = number
    cover = [
        cv2.resize((owner == i).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        for i in range(1, len(sprites) + 1)
    ]
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return image, [(part > 0.5).astype(np.uint8) for part in cover]


def degrade(image: np.ndarray, rng: np.random.Generator, wavelength: float, unit: float) -> np.ndarray:
    """Blurs ``[H, W, 3]`` by defocus or motion beyond the wavelength of the markings, pales it and adds noise."""
    blur = wavelength / 8 * unit
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(3.8, 4.3) * blur)
    else:  # motion alone would spare the stripes along it
        reach = int(round(rng.uniform(4, 7) * blur))
        angle = rng.uniform(0, np.pi)
        tip = np.round(reach * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        trail = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        cv2.line(trail, (reach - tip).tolist(), (reach + tip).tolist(), 1.0)
        image = cv2.GaussianBlur(cv2.filter2D(image, -1, trail / trail.sum()), (0, 0), 3.6 * blur)
    mean = image.mean((0, 1))
    return mean + rng.uniform(0.5, 0.75) * (image - mean) + rng.normal(0, rng.uniform(5, 9), image.shape)


def encoded(mask: np.ndarray) -> RLE | None:
    """RLE of a mask ``[H, W] uint8``; None when too little is visible."""
    return rle.encode(np.asfortranarray(mask)) if mask.sum() >= MIN_VISIBLE_AREA else None
