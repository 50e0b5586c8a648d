"""How the built-in data set looks: its objects, their markings and fringes, backgrounds, and frames that hide them."""

import colorsys
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

OUTLINES = ("disc", "square", "triangle", "star")
MARKINGS = ("striped", "checked")
CLASSES = tuple(f"{marking} {outline}" for outline in OUTLINES for marking in MARKINGS)

SUPERSAMPLING = 2
FRINGE = 1.3  # diameter of an object with its fringe over that without
PAN = 8.0  # how far the background moves to either side, in units


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
