"""Where frames come from: video files, folders of images, cameras."""

import contextlib
import re
from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import cv2
import numpy as np
from av.container import InputContainer

from compfeat.media.seeking import SeekError, Timetable, decode

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}
FOLDER_FPS = 6.0  # a folder names no rate; YouTube-VIS keeps every fifth frame of 30 a second
UNKNOWN_FPS = 30.0  # of files and cameras that name none


class VideoError(ValueError):
    """A source that cannot be read as a video, or frames that cannot be written as one."""


class FrameSource(Protocol):
    """The frames of one video, uint8 RGB ``[H, W, 3]``, decoded one by one as they are asked for.

    Files and folders start anew with every ``iter()``; a camera is one pass. ``fps`` is in frames a second, ``length``
    the number of frames as the file states it, if it does: good for a bar of progress, for it may be wrong.
    """

    name: str
    fps: float
    length: int | None

    def __iter__(self) -> Iterator[np.ndarray]: ...


@runtime_checkable
class Recording(FrameSource, Protocol):
    """A source with an end, whose frames can be counted, and asked for by their indices.

    Either may take as long as reading all of it, and raises ``VideoError`` where it cannot be read.
    """

    def count(self) -> int:
        """The number of frames, whatever a file states."""
        ...

    def frames_at(self, indices: Collection[int]) -> dict[int, np.ndarray]:
        """The frames at these indices, ascending, as iteration gives them; those that do not exist are left out."""
        ...


def open_frames(source: str | Path) -> FrameSource:
    """Opens a video file, a folder of jpg or png images in natural order, or ``"camera:0"``.

    Raises:
        FileNotFoundError: nothing is at that path.
        VideoError: the file is no readable video, the folder holds no image, or the camera does not answer.
    """
    if str(source).startswith("camera:"):
        return Camera(str(source))
    path = Path(source)
    if path.is_dir():
        return ImageFolder(path)
    if path.is_file():
        return VideoFile(path)
    raise FileNotFoundError(f"no video at {path}; give a video file, a folder of jpg or png images, or camera:0")


class VideoFile:
    """The frames of a video file, turned upright where its metadata says that it was filmed rotated.

    ``count`` and ``frames_at`` read its packets first, once, and decode no more than what leads to the frames asked
    for. Where packets do not tell, or decoding proves them wrong, frames are counted and found by decoding from the
    start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        with self._open() as container:
            stream = container.streams.video[0]
            self.fps = float(stream.average_rate or stream.guessed_rate or UNKNOWN_FPS)
            self.length = stream.frames or None
        if next(self._decode(), None) is None:
            raise VideoError(f"{path} holds no frames")

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(_upright, self._decode())

    def count(self) -> int:
        return len(self._timetable) if self._timetable else sum(1 for _ in self._decode())

    def frames_at(self, indices: Collection[int]) -> dict[int, np.ndarray]:
        if self._timetable:
            try:
                with self._open() as container:
                    return {index: _upright(frame) for index, frame in self._timetable.find(container, indices)}
            except (SeekError, VideoError):
                self._timetable = None
        frames = islice(self._decode(), max(indices, default=-1) + 1)
        return {index: _upright(frame) for index, frame in enumerate(frames) if index in indices}

    @cached_property
    def _timetable(self) -> Timetable | None:
        with self._open() as container:
            return Timetable.read(container)

    def _decode(self) -> Iterator[av.VideoFrame]:
        with self._open() as container:
            yield from decode(container.demux(container.streams.video[0]))

    @contextlib.contextmanager
    def _open(self) -> Iterator[InputContainer]:
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise VideoError(f"{self.path} has no video stream")
                container.streams.video[0].thread_type = "AUTO"
                yield container
        except av.FFmpegError as error:
            raise VideoError(f"{self.path} cannot be read as a video: {error.strerror}") from error


class ImageFolder:
    """The jpg and png images of a folder, which must be of one size: ``2.jpg`` comes before ``10.jpg``."""

    def __init__(self, path: Path) -> None:
        self.name = path.resolve().name
        self.fps = FOLDER_FPS
        self.files = sorted((f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
        self.length: int | None = len(self.files)
        if not self.files:
            raise VideoError(f"no jpg or png images in {path}")

    def __iter__(self) -> Iterator[np.ndarray]:
        shape = None
        for file in self.files:
            image = _read(file)
            shape = shape or image.shape
            if image.shape != shape:
                raise VideoError(f"{file} is not of the size of the images before it; a video has one size")
            yield image

    def count(self) -> int:
        return len(self.files)

    def frames_at(self, indices: Collection[int]) -> dict[int, np.ndarray]:
        return {index: _read(file) for index, file in enumerate(self.files) if index in indices}


class Camera:
    """The frames of a live camera, ``"camera:N"``, until it stops; released when the iteration ends."""

    length: int | None = None

    def __init__(self, source: str) -> None:
        self.name = source
        number = source.removeprefix("camera:")
        if not number.isdecimal():
            raise VideoError(f"{source} names no camera; write camera:0, camera:1, ...")
        self.capture = cv2.VideoCapture(int(number))
        if not self.capture.isOpened():
            raise VideoError(f"{source} does not answer; is it plugged in and free?")
        self.fps = self.capture.get(cv2.CAP_PROP_FPS) or UNKNOWN_FPS

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            while True:
                alive, image = self.capture.read()
                if not alive:
                    return
                yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        finally:
            self.capture.release()


def _upright(frame: av.VideoFrame) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90)  # counter-clockwise, as rot90 counts them
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


def _read(file: Path) -> np.ndarray:
    image = cv2.imread(str(file))
    if image is None:
        raise VideoError(f"{file} is not a readable image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _natural(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]
