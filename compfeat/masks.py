"""Run-length encoded masks: to pixels, at the size they are needed in, from those inside a box, and in json."""

import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from compfeat.structures import RLE

FAR = 10  # times its longer side that a polygon may reach out of a frame: its edges take memory by their length
COMPRESSED = re.compile(rb"[0-o]*[0-O]")  # the characters of compressed RLE; the last one says that no more follow


def decode_mask(segmentation: RLE | None, size: tuple[int, int] | None = None) -> np.ndarray:
    """A mask as uint8 ``[H, W]``, 0 and 1.

    With a size the mask is sampled at the centres of as many pixels, straight from its runs: the result is that of
    decoding it and taking the nearest pixel, without ever filling the full frame.

    Args:
        segmentation: compressed RLE; None is an empty mask, which needs a size.
        size: (height, width) of the result; by default that of the segmentation.

    Raises:
        ValueError: the runs do not fill the mask.
    """
    if segmentation is None:
        if size is None:
            raise ValueError("an empty mask needs a size")
        return np.zeros(size, np.uint8)
    height, width = segmentation["size"]
    ends = np.cumsum(run_lengths(segmentation["counts"]))
    if ends[-1] != height * width:
        raise ValueError(f"the runs of a mask fill {ends[-1]} pixels of {height} x {width}")
    rows, columns = size or (height, width)
    filled = min(columns, width)  # a column that is repeated is filled once
    if (rows, filled) != (height, width):
        ends = _sample(ends, height, width, rows, filled)
    values = np.arange(len(ends), dtype=np.uint8) & 1  # runs of 0 and of 1 take turns
    mask = np.repeat(values, np.diff(ends, prepend=0)).reshape(filled, rows)
    return cv2.transpose(mask if filled == columns else mask[_centres(width, columns)])


def encode_inside(pixels: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> RLE:
    """A mask from its pixels inside a box, as encoding the whole of it gives, without ever filling the full frame.

    Args:
        pixels: ``[h, w]``, bool or uint8 of 0 and 1; h or w may be 0.
        corner: (x, y) of the upper left pixel.
        size: (height, width) of the mask.

    Raises:
        ValueError: the box reaches out of the mask.
    """
    (rows, columns), (x, y), (height, width) = pixels.shape, corner, size
    if not (0 <= x <= width - columns and 0 <= y <= height - rows):
        raise ValueError(f"{rows} x {columns} pixels at row {y}, column {x} do not fit into {height} x {width}")
    # Zeros on both sides give every run two ends; a row of them below keeps columns apart, but not where the box is as
    # high as the mask: there a run goes on from one column to the next.
    stride = rows + (rows < height)
    framed = np.zeros((stride, columns + 2), np.uint8)
    framed[:rows, 1:-1] = pixels
    flat = cv2.transpose(framed).ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends += ends // stride * (height - stride) + (x - 1) * height + y
    lengths = np.diff(ends, prepend=0, append=height * width)
    if lengths[-1] == 0:  # the last run is one of ones
        lengths = lengths[:-1]
    return rle.frPyObjects({"size": list(size), "counts": lengths.tolist()}, height, width)


def json_rle(mask: RLE) -> dict[str, Any]:
    """A mask as it stands in a json: with plain numbers, and ``counts`` as text."""
    return {"size": list(map(int, mask["size"])), "counts": mask["counts"].decode("ascii")}


def rle_of_json(segmentation: Mapping[str, Any]) -> RLE:
    """The mask that ``json_rle`` was made of; what others wrote goes through ``whole_rle``."""
    return {"size": segmentation["size"], "counts": segmentation["counts"].encode("ascii")}


def whole_rle(segmentation: Any, height: int, width: int) -> RLE:
    """An RLE as it stands in a json, ``counts`` a list of run lengths or compressed text, as compressed RLE.

    Raises:
        ValueError: as ``whole_runs``.
    """
    return rle.frPyObjects({"size": [height, width], "counts": whole_runs(segmentation, height, width)}, height, width)


def whole_runs(segmentation: Any, height: int, width: int) -> np.ndarray:
    """The run lengths of an RLE as it stands in a json, integers.

    Raises:
        ValueError: it is no RLE, of another size, or its runs do not fill it.
    """
    match segmentation:
        case {"size": [int(), int()] as size, "counts": str() | bytes() as counts}:
            runs = run_lengths(counts.encode() if isinstance(counts, str) else counts)
        case {"size": [int(), int()] as size, "counts": list() as counts} if (lengths := _lengths(counts)) is not None:
            runs = lengths
        case _:
            form = '{"size": [height, width], "counts": ...}'
            raise ValueError(f"it is {segmentation!r:.80}, not RLE of the form {form}")
    if list(size) != [height, width]:
        raise ValueError(f"its size is {list(size)}, that of the video [{height}, {width}]")
    if not _fill(runs, height * width):
        raise ValueError(f"its runs fill {sum(runs.tolist())} pixels of {height} x {width}")
    return runs


def polygon_parts(polygons: Sequence[Any]) -> list[np.ndarray]:
    """The parts of a segmentation ``[[x1, y1, x2, y2, ...], ...]`` that have an inside, each float64 ``[2n]``, n >= 3.

    Raises:
        ValueError: a part is no such list of finite numbers.
    """
    try:
        parts = [np.array(polygon, float) for polygon in polygons]
    except (TypeError, ValueError):
        parts = [np.array(np.nan)]
    if not all(part.ndim == 1 and len(part) % 2 == 0 and np.isfinite(part).all() for part in parts):
        raise ValueError("a polygon is not [x1, y1, x2, y2, x3, y3, ...]")
    return [part for part in parts if len(part) >= 6]


def polygons_rle(polygons: Sequence[Any], height: int, width: int) -> RLE:
    """Polygons as they stand in a json, in pixels, as compressed RLE; what is outside of the frame is cut off.

    Raises:
        ValueError: as ``polygon_parts``, or a polygon leaves the frame by far.
    """
    parts = polygon_parts(polygons)
    if leaves_by_far(max((np.abs(part).max() for part in parts), default=0), height, width):
        raise ValueError(f"a polygon leaves the frame of {width} x {height} by far")
    return rle.merge(rle.frPyObjects([part.tolist() for part in parts] or [[0.0] * 6], height, width))


def leaves_by_far(reach: Any, height: Any, width: Any) -> Any:
    """Whether polygons whose largest coordinate is ``reach`` are too far out of a frame; numbers or arrays of them."""
    return reach > FAR * np.maximum(height, width)


def are_whole(masks: Sequence[bytes], pixels: int) -> bool:
    """Whether all these are compressed RLE whose runs fill so many pixels: sooner told of many than one by one."""
    if not masks or not all(map(COMPRESSED.fullmatch, masks)):
        return not masks
    numbers, last = _numbers(b"".join(masks))
    ends = np.searchsorted(last, np.cumsum([len(mask) for mask in masks]))
    return all(_fill(_added_up(runs), pixels) for runs in np.split(numbers, ends[:-1]))


def run_lengths(counts: bytes) -> np.ndarray:
    """The int64 run lengths of COCO's compressed RLE.

    Raises:
        ValueError: it is none.
    """
    if not COMPRESSED.fullmatch(counts):
        raise ValueError("its counts are not compressed RLE")
    numbers, _ = _numbers(counts)
    return _added_up(numbers)


def _lengths(counts: list) -> np.ndarray | None:
    """Numbers of a json as uint32; None where they are no lengths of runs."""
    try:
        return np.frombuffer(array("I", counts), np.uint32)
    except (TypeError, OverflowError):
        return None


def _fill(runs: np.ndarray, pixels: int) -> bool:
    """Whether runs fill a mask of so many pixels; pycocotools has no room for more of them than that, and one."""
    return bool(0 < len(runs) <= pixels + 1 and runs.min() >= 0 and runs.sum() == pixels)


def _numbers(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of compressed RLE, int64, and where the last character of each is.

    Each is written in groups of five bits, the lowest first, from the character 48 on; bit 6 says that another group
    follows, the highest bit of the last one is the sign.
    """
    groups = np.frombuffer(text, np.uint8) - np.uint8(48)
    last = np.flatnonzero(groups < 32)
    first = np.concatenate([[0], last[:-1] + 1])
    numbers = (groups[last] ^ 16).astype(np.int64) - 16
    longer = np.flatnonzero(first < last)
    at = last[longer] - 1
    while len(longer):  # groups lower than the last, numbers that have no more of them drop out
        numbers[longer] = numbers[longer] << 5 | groups[at] & 31
        further = first[longer] < at
        longer, at = longer[further], at[further] - 1
    return numbers, last


def _added_up(numbers: np.ndarray) -> np.ndarray:
    """The runs, in place: from the fourth on numbers are differences to the last but one."""
    for start in (1, 2):
        numbers[start::2].cumsum(out=numbers[start::2])
    return numbers


def _sample(ends: np.ndarray, height: int, width: int, rows: int, columns: int) -> np.ndarray:
    """Where the runs end among the sampled pixels, counted column by column as ``ends`` are among all pixels."""
    rows_before, _ = _sampled_before(height, rows)
    columns_before, sampled = _sampled_before(width, columns)
    column, row = np.divmod(ends, height)
    return columns_before[column] * rows + sampled[column] * rows_before[row]


def _sampled_before(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For every position 0..length: how many of ``count`` evenly spaced centres lie before it, how many upon it."""
    upon = np.bincount(_centres(length, count), minlength=length + 1)
    return np.cumsum(upon) - upon, upon


def _centres(length: int, count: int) -> np.ndarray:
    """The pixels, of ``length``, under the centres of ``count`` equal parts."""
    return ((np.arange(count) + 0.5) * length / count).astype(np.int64)
