"""Where frames come from: video files, folders of images, cameras."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import av
import cv2
import numpy as np

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}
FOLDER_FPS = 6.0  # a folder names no rate; YouTube-VIS keeps every fifth frame of 30 a second
UNKNOWN_FPS = 30.0  # of files and cameras that name none


class VideoError(ValueError):
    """A source that cannot be read as a video, or frames that cannot be written as one."""


class FrameSource(Protocol):
    """The frames of one video, uint8 RGB ``[H, W, 3]``, decoded one by one as they are asked for.

    Files and folders start anew with every ``iter()``; a camera is one pass. ``fps`` is in frames a second, ``length``
    the number of frames where that is known without decoding, as the file states it.
    """

    name: str
    fps: float
    length: int | None

    def __iter__(self) -> Iterator[np.ndarray]: ...


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
    """The frames of a video file, turned upright where its metadata says that it was filmed rotated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise VideoError(f"{path} has no video stream")
                stream = container.streams.video[0]
                self.fps = float(stream.average_rate or stream.guessed_rate or UNKNOWN_FPS)
                self.length = stream.frames or None
        except av.FFmpegError as error:
            raise VideoError(f"{path} is not a readable video: {error.strerror}") from error
        if next(iter(self), None) is None:
            raise VideoError(f"{path} holds no frames")

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                for frame in container.decode(stream):
                    image = frame.to_ndarray(format="rgb24")
                    quarter_turns = round(frame.rotation / 90)  # counter-clockwise, as rot90 counts them
                    yield np.ascontiguousarray(np.rot90(image, quarter_turns))
        except av.FFmpegError as error:
            raise VideoError(f"{self.path} cannot be decoded: {error.strerror}") from error


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
            image = cv2.imread(str(file))
            if image is None:
                raise VideoError(f"{file} is not a readable image")
            shape = shape or image.shape
            if image.shape != shape:
                raise VideoError(f"{file} is not of the size of the images before it; a video has one size")
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


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


def _natural(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]
