"""The pixels of annotated frames, decoded at no larger a scale than is needed."""

from pathlib import Path

import cv2
import numpy as np

from compfeat.data.errors import AnnotationError
from compfeat.images import decode_image, read_bytes

REDUCED = {  # flags to decode RGB at 1 / r of the scale
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
    1: cv2.IMREAD_COLOR_RGB,
}
SAME_SHAPE = 0.05  # difference in the ratio of the sides up to which a frame is the one annotated, only scaled


def read_scaled(path: Path, stated: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """An image scaled to a size, as uint8 RGB ``[H, W, 3]``.

    A JPEG is decoded at the smallest of 1, 1/2, 1/4 and 1/8 of its scale that is not below the size, which leaves out
    most of the work.

    Args:
        path: of the image.
        stated: (height, width) that it should have on disk; another scale of the same shape will do.
        size: (height, width) of the result.

    Raises:
        ImageError: it is missing or broken.
        AnnotationError: it is of another shape than stated.
    """
    content = read_bytes(path)
    reduction = _reduction(path, stated, size)
    image = decode_image(path, content, REDUCED[reduction])
    if reduction > 1 and image.shape[:2] != _reduced(stated, reduction):  # it might have become too small
        image = decode_image(path, content, cv2.IMREAD_COLOR_RGB)
    if abs(image.shape[0] * stated[1] / (image.shape[1] * stated[0]) - 1) > SAME_SHAPE:
        raise AnnotationError(
            f"the frame {path} has {image.shape[1]} x {image.shape[0]} pixels, but its annotations are of "
            f"{stated[1]} x {stated[0]}; scripts/check_data.py names every such frame"
        )
    return resize(image, size)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a uint8 image ``[H, W, 3]`` to (height, width): over areas where it shrinks, linearly where it grows."""
    if image.shape[:2] == tuple(size):
        return image
    shrinks = size[0] < image.shape[0]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _reduction(path: Path, stated: tuple[int, int], size: tuple[int, int]) -> int:
    """The strongest reduction that keeps at least the size; 1 for all but JPEG, which alone gains by it."""
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        return 1
    return next(r for r in REDUCED if all(a >= b for a, b in zip(_reduced(stated, r), size, strict=True)) or r == 1)


def _reduced(size: tuple[int, int], reduction: int) -> tuple[int, int]:
    return -(-size[0] // reduction), -(-size[1] // reduction)
