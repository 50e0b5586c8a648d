"""The pixels of image files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    try:
        image = cv2.imdecode(content, flags) if len(content) else None
    except cv2.error as error:
        raise ImageError(f"cannot read the image {path}: it is larger than OpenCV reads") from error
    if image is None:
        raise ImageError(f"cannot read the image {path}: it is broken or cut short")
    return image


def write_image(path: Path, image: np.ndarray, flags: Sequence[int] = ()) -> None:
    """Writes uint8 RGB ``[H, W, 3]``, with ``flags`` of ``cv2.imwrite``; OSError where it cannot be written."""
    if not cv2.imwrite(str(path), image[..., ::-1], flags):
        raise OSError(f"cannot write the image {path}: is the disk full?")


def image_count(path: Path) -> int:
    """How many images a file holds: several of one that moves, none of a video or a damaged one."""
    with silent():
        return cv2.imcount(str(path)) if cv2.haveImageReader(str(path)) else 0


@contextmanager
def silent() -> Iterator[None]:
    """OpenCV prints nothing: what it would say is told in one line."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
