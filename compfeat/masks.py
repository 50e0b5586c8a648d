"""Run-length encoded masks: to pixels, at the size they are needed in, from those inside a box, and in json."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from compfeat.structures import RLE


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


def whole_rle(segmentation: Mapping[str, Any], height: int, width: int) -> RLE:
    """An RLE as it stands in a json, ``counts`` a list of run lengths or compressed text, as compressed RLE.

    Raises:
        ValueError: it is of another size, or its runs do not fill it.
        KeyError, TypeError, AttributeError: it is no RLE.
    """
    size, counts = segmentation["size"], segmentation["counts"]
    if list(size) != [height, width]:
        raise ValueError(f"its size is {list(size)}, that of the video [{height}, {width}]")
    runs = np.array(counts, np.int64) if isinstance(counts, list) else run_lengths(counts.encode())
    if len(runs) and runs.min() < 0 or runs.sum() != height * width:
        raise ValueError(f"its runs fill {runs.sum()} pixels of {height} x {width}")
    return rle.frPyObjects({"size": list(size), "counts": runs.tolist()}, height, width)


def run_lengths(counts: bytes) -> np.ndarray:
    """The int64 run lengths of COCO's compressed RLE.

    Each is written in groups of five bits, the lowest first, from the character 48 on; bit 6 says that another group
    follows, the highest bit of the last one is the sign. From the fourth on they are differences to the last but one.
    """
    groups = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(groups < 32)
    if not len(last) or last[-1] != len(groups) - 1:
        raise ValueError("a mask is not compressed RLE")
    first = np.concatenate([[0], last[:-1] + 1])
    shifts = 5 * (np.arange(len(groups)) - np.repeat(first, last - first + 1))
    values = np.add.reduceat((groups & 31) << shifts, first)
    values -= ((groups[last] & 16) > 0) * (np.int64(1) << (shifts[last] + 5))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


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
