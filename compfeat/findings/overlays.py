"""Overlays: the objects of a video drawn on its frames, one colour per identity (as in the paper's Fig. 5)."""

import colorsys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from pycocotools import mask as rle
from torch import Tensor

from compfeat.masks import decode_mask
from compfeat.structures import RLE, Clip, FrameTarget, Tube

FONT = cv2.FONT_HERSHEY_SIMPLEX
OPACITY = 0.45
SHEET_BACKGROUND = 255
READABLE_HEIGHT = 240  # smaller frames are enlarged by a whole factor, so that labels leave room for objects,
WIDEST = 4096  # unless they are banners, which would become wider than videos are


class _Mark(NamedTuple):
    """One object in one frame; it has a score when it was found by a network."""

    track_id: int
    name: str
    score: float | None
    box: tuple[float, float, float, float]
    mask: RLE


def draw_tubes(frame: np.ndarray, index: int, tubes: Sequence[Tube], class_names: Sequence[str]) -> np.ndarray:
    """Draws the objects seen in one frame: translucent mask, contour, box and "class score #identity".

    The class is that of the whole tube, the score that of the frame. Frames less than 240 pixels high are enlarged
    by a whole factor, as far as their width stays below 4096. For a whole video take ``overlay``, which sorts the tubes
    by frame only once.

    Args:
        frame: uint8 RGB ``[H, W, 3]``; left as it is.
        index: of the frame in its video.
        tubes: all tubes of the video; masks have the frame's size.
        class_names: the names of labels 1, 2, ...

    Returns:
        uint8 RGB ``[zoom * H, zoom * W, 3]``.
    """
    return _draw(frame, _marks_by_frame(tubes, class_names).get(index, []))


def overlay(frames: Iterable[np.ndarray], tubes: Sequence[Tube], class_names: Sequence[str]) -> Iterator[np.ndarray]:
    """The frames of a video one by one, drawn on as ``draw_tubes`` does it."""
    marks = _marks_by_frame(tubes, class_names)
    for index, frame in enumerate(frames):
        yield _draw(frame, marks.get(index, []))


def draw_clip(clip: Clip, class_names: Sequence[str]) -> np.ndarray:
    """One row of a contact sheet: the frames of a training clip as the network gets them, each under a caption.

    The objects of the current and the reference frame are drawn; support frames have no targets. Identities are
    numbered from 1 in each clip. Small frames are shown enlarged.

    Returns:
        uint8 RGB ``[H, W, 3]``.
    """
    identities = [*clip.target["track_ids"].tolist(), *clip.reference_target["track_ids"].tolist()]
    numbers = {identity: number for number, identity in enumerate(dict.fromkeys(identities), start=1)}

    def shown(image: Tensor, caption: str, target: FrameTarget | None) -> np.ndarray:
        marks = [] if target is None else _target_marks(target, numbers, class_names)
        return _captioned(_draw(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), marks), caption)

    frames = [
        shown(clip.current, f"current: {clip.name}", clip.target),
        shown(clip.reference, "reference", clip.reference_target),
        *(shown(image, f"support {i}", None) for i, image in enumerate(clip.support, start=1)),
    ]
    return contact_sheet(frames, columns=len(frames))


def contact_sheet(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles uint8 RGB images row by row on white, each at the upper left of a cell of the largest height and width."""
    height, width = max(len(image) for image in images), max(image.shape[1] for image in images)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * height, columns * width, 3), SHEET_BACKGROUND, np.uint8)
    for cell, image in enumerate(images):
        y, x = cell // columns * height, cell % columns * width
        sheet[y : y + len(image), x : x + image.shape[1]] = image
    return sheet


def colour(track_id: int) -> tuple[int, int, int]:
    """The RGB colour of an identity.

    Hues advance by the golden ratio, which keeps any run of identities well apart; every fifth the tone changes too,
    since five steps come back near the first hue.
    """
    tones = ((0.85, 1.0), (0.55, 1.0), (0.9, 0.75))
    saturation, value = tones[track_id // 5 % len(tones)]
    red, green, blue = colorsys.hsv_to_rgb(0.58 + track_id * 0.618034, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def ink(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, which of them is easier to read on a colour of an identity."""
    return (0, 0, 0) if np.dot(rgb, (0.299, 0.587, 0.114)) > 105 else (255, 255, 255)


def _marks_by_frame(tubes: Sequence[Tube], class_names: Sequence[str]) -> dict[int, list[_Mark]]:
    marks: dict[int, list[_Mark]] = defaultdict(list)
    for tube in tubes:
        name = class_names[tube.label - 1]
        for index, box, mask, score in zip(tube.frames, tube.boxes, tube.masks, tube.scores, strict=True):
            marks[index].append(_Mark(tube.track_id, name, score, box, mask))
    return marks


def _target_marks(target: FrameTarget, numbers: Mapping[int, int], class_names: Sequence[str]) -> list[_Mark]:
    marks = []
    for box, label, mask, identity in zip(
        target["boxes"].tolist(),
        target["labels"].tolist(),
        target["masks"].numpy(),
        target["track_ids"].tolist(),
        strict=True,
    ):
        encoded = rle.encode(np.asfortranarray(mask))
        marks.append(_Mark(numbers[identity], class_names[label - 1], None, tuple(box), encoded))
    return marks


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    """The image under a line of text, with a margin on white."""
    sheet = cv2.copyMakeBorder(image, 26, 6, 3, 3, cv2.BORDER_CONSTANT, value=(SHEET_BACKGROUND,) * 3)
    return cv2.putText(sheet, text, (4, 18), FONT, 0.5, (40, 40, 40), 1, cv2.LINE_AA)


def _draw(frame: np.ndarray, marks: Sequence[_Mark]) -> np.ndarray:
    zoom = max(1, min(-(-READABLE_HEIGHT // frame.shape[0]), WIDEST // frame.shape[1]))
    image = cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC) if zoom > 1 else frame.copy()
    thickness = max(1, round(min(image.shape[:2]) / 300))
    for mark in marks:
        _draw_mask(image, mark.mask, zoom, colour(mark.track_id), thickness)
    for mark in marks:
        x1, y1, x2, y2 = _corners(mark, zoom)
        cv2.rectangle(image, (x1, y1), (x2, y2), colour(mark.track_id), thickness, cv2.LINE_AA)
    taken = np.zeros(image.shape[:2], bool)
    for mark in sorted(marks, key=lambda mark: mark.score or 0, reverse=True):  # the surest choose their place first
        _draw_label(image, mark, zoom, taken)
    return image


def _corners(mark: _Mark, zoom: int) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (zoom * side for side in mark.box)
    return round(x1), round(y1), round(x2) - 1, round(y2) - 1


def _draw_mask(image: np.ndarray, mask: RLE, zoom: int, rgb: tuple[int, int, int], thickness: int) -> None:
    x, y, width, height = (int(side) for side in rle.toBbox(mask))  # what follows is done inside of it
    if not width:
        return
    inside = decode_mask(mask)[y : y + height, x : x + width].repeat(zoom, 0).repeat(zoom, 1)
    x, y = zoom * x, zoom * y
    window = image[y : y + len(inside), x : x + inside.shape[1]]
    tinted = cv2.addWeighted(window, 1 - OPACITY, np.full_like(window, rgb), OPACITY, 0)
    np.copyto(window, tinted, where=inside.astype(bool)[..., None])
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, contours, -1, rgb, thickness, cv2.LINE_AA, offset=(x, y))


def _draw_label(image: np.ndarray, mark: _Mark, zoom: int, taken: np.ndarray) -> None:
    """Writes the label above the box, or where that is outside the frame or ``taken``, below or inside it."""
    height, width = image.shape[:2]
    scale = max(0.3, min(height, width) / 1000)
    stroke = max(1, round(1.8 * scale))
    score = "" if mark.score is None else f" {mark.score:.2f}"
    text = f"{mark.name}{score} #{mark.track_id}"
    (text_width, text_height), descent = cv2.getTextSize(text, FONT, scale, stroke)
    margin = max(1, round(6 * scale))
    label_width, label_height = text_width + 2 * margin, text_height + descent + 2 * margin

    x1, y1, _, y2 = _corners(mark, zoom)
    x = max(0, min(x1, width - label_width))
    places = [y for y in (y1 - label_height, y2 + 1, y1, y2 - label_height) if 0 <= y <= height - label_height]
    free = [y for y in places if not taken[y : y + label_height, x : x + label_width].any()]
    y = next(iter(free or places), 0)
    taken[y : y + label_height, x : x + label_width] = True

    rgb = colour(mark.track_id)
    cv2.rectangle(image, (x, y), (x + label_width - 1, y + label_height - 1), rgb, cv2.FILLED)
    cv2.putText(image, text, (x + margin, y + margin + text_height), FONT, scale, ink(rgb), stroke, cv2.LINE_AA)
