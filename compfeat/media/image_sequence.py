"""Images as the frames of a video."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from compfeat.images import ImageError, read_image
from compfeat.media.decoding import of_one_size
from compfeat.media.times import WHOLE, Part, VideoError

FOLDER_FPS = 6.0  # a folder names no rate; YouTube-VIS keeps every fifth frame of 30 a second


class Images:
    """Images of one size as the frames of a video, in natural order: ``2.jpg`` comes before ``10.jpg``."""

    sound: Path | None = None
    live = False

    def __init__(self, name: str, files: Iterable[Path], part: Part = WHOLE) -> None:
        files = sorted(files, key=_natural)
        if not files:
            raise VideoError(
                f"no jpg or png images in {name}: give a folder of one video's frames, others as '{name}/*.bmp'"
            )
        times = [index / FOLDER_FPS for index in range(len(files))]
        chosen = part.among(times)
        if not chosen:
            raise VideoError(
                f"{name} holds no frames {part}: its {len(files)} images are read as {FOLDER_FPS:g} a second"
            )
        self.name = files[0].stem if name == str(files[0]) else files[0].resolve().parent.name
        self.fps = FOLDER_FPS / part.every
        self.files: Sequence[Path] = [files[i] for i in chosen]
        self.times = [times[i] for i in chosen]
        self.length: int | None = len(self.files)

    def __iter__(self) -> Iterator[np.ndarray]:
        return of_one_size(map(_read, self.files), lambda index: str(self.files[index]))


def _read(file: Path) -> np.ndarray:
    try:
        return read_image(file)
    except ImageError as error:
        raise VideoError(str(error)) from error


def _natural(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(file))]
