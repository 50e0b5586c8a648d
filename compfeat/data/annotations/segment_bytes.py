"""Segmentations as the bytes of an index: COCO's compressed RLE as it is, polygons as their numbers."""

from collections.abc import Sequence

import numpy as np

NOTHING, RUNS, POLYGONS = range(3)  # kinds of segmentation


def write_polygons(polygons: Sequence[np.ndarray]) -> bytes:
    """Polygons, each float64 ``[2n]``."""
    header = np.array([len(polygons), *map(len, polygons)], np.int32)
    return header.tobytes() + np.concatenate(polygons).tobytes()


def read_polygons(content: bytes) -> list[np.ndarray]:
    """The polygons that ``write_polygons`` was given."""
    (count,) = np.frombuffer(content, np.int32, 1)
    lengths = np.frombuffer(content, np.int32, count, 4)
    values = np.frombuffer(content, float, offset=4 + 4 * int(count))
    return np.split(values, np.cumsum(lengths)[:-1])
