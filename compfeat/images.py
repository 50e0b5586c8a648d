"""The pixels of image files."""

from pathlib import Path

import cv2
import numpy as np


class ImageError(ValueError):
    """An image file that is missing or broken; the message names it."""


def read_image(path: Path) -> np.ndarray:
    """An image as uint8 RGB ``[H, W, 3]``; ImageError where it is missing or broken."""
    return decode_image(path, read_bytes(path), cv2.IMREAD_COLOR_RGB)


def read_bytes(path: Path) -> np.ndarray:
    """The content of a file: decoded from memory, a JPEG that is cut short is an error, and no grey area."""
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise ImageError(f"cannot read the image {path}: {error.strerror}") from error


def decode_image(path: Path, content: np.ndarray, flags: int) -> np.ndarray:
    """The image that ``content``, the bytes of ``path``, holds; ``flags`` are those of ``cv2.imdecode``."""
    image = cv2.imdecode(content, flags) if len(content) else None
    if image is None:
        raise ImageError(f"cannot read the image {path}: it is broken or cut short")
    return image
