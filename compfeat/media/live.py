"""Frames that come once and cannot be read again: of streams from the network, of cameras."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import av
import cv2
import numpy as np

from compfeat.images import silent
from compfeat.media.decoding import decode, of_one_size, shown, video_stream
from compfeat.media.times import UNKNOWN_FPS, WHOLE, Clock, Part, VideoError

TIMEOUT = 15.0  # seconds that a stream may keep silent; some cameras take several to answer
LATE = 0.25  # seconds by which what is seen of a stream may lie behind what has come
T = TypeVar("T")

log = logging.getLogger(__name__)


class Stream:
    """The frames of a stream from the network, ``"rtsp://..."`` or ``"http://..."``, until it ends; without its sound.

    What is lost on the way is left out, and so is what nobody asks for in time, as cameras do; but of a file on a
    server, whose size it states, everything is read. A stream that breaks off ends there, with a warning.
    """

    length: int | None = None
    files: Sequence[Path] = ()
    sound: Path | None = None
    live = True

    def __init__(self, url: str, part: Part = WHOLE) -> None:
        parts = urlsplit(url)
        self.name = PurePosixPath(parts.path).stem or parts.hostname or parts.scheme
        self.address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # to be shown: no password
        self.part = part
        self.times: list[float] = []
        self._began = time.monotonic()
        try:
            options = {"rtsp_flags": "prefer_tcp"} if parts.scheme.startswith("rtsp") else {}
            self._container = av.open(url, options=options, timeout=TIMEOUT, metadata_errors="replace")
            self._stream = video_stream(self._container)
        except av.FFmpegError as error:
            invalid = isinstance(error, av.InvalidDataError | av.ArgumentError)
            reason = f"no answer for {TIMEOUT:g} s, or none that is a video" if invalid else _reason(error)
            raise VideoError(f"{self.address} cannot be read as a video: {reason}") from error
        self._stream.thread_type = "AUTO"
        self.clock = Clock.of(self._stream)
        self.fps = self.clock.fps / part.every
        self._frames = of_one_size(
            self._read(), lambda index: f"the frame at {self.times[index]:.2f} s of {self.address}"
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._frames

    def _read(self) -> Iterator[np.ndarray]:
        with self._container:
            timed = self.clock.timed(self._decode())
            if self._container.size <= 0:  # that of a file is stated
                timed = _in_time(timed, self._began)
            for seconds, frame in self.part.of(timed):
                self.times.append(seconds)
                yield shown(frame, self._stream.sample_aspect_ratio)

    def _decode(self) -> Iterator[av.VideoFrame]:
        try:
            yield from decode(self._container.demux(self._stream))
        except av.FFmpegError as error:
            log.warning(f"{self.address} broke off: {_reason(error)}")


def _in_time(timed: Iterable[tuple[float, T]], began: float) -> Iterator[tuple[float, T]]:
    """Those of a stream's frames, given with their times, that are asked for at most ``LATE`` seconds after they came.

    The first is taken to have come when the stream ``began``, the others as much later as their times say. One that
    had to be waited for has just come, so no clock can run away from the other.
    """
    asked, before = time.monotonic(), -inf
    for seconds, frame in timed:
        now = time.monotonic()
        if now - asked > 0.9 * (seconds - before):
            began = now - seconds
        if now - seconds - began < LATE:
            yield seconds, frame
        asked, before = time.monotonic(), seconds


def _reason(error: av.FFmpegError) -> str:
    return f"no answer for {TIMEOUT:g} s" if isinstance(error, av.ExitError) else str(error.strerror)


class Camera:
    """The frames of a live camera, ``"camera:N"``, until it breaks off, with a warning; it is released at the end."""

    length: int | None = None
    files: Sequence[Path] = ()
    sound: Path | None = None
    live = True

    def __init__(self, source: str, part: Part = WHOLE) -> None:
        self.name = source
        self.part = part
        self.times: list[float] = []
        number = source.removeprefix("camera:")
        if not number.isdecimal():
            raise VideoError(f"{source} names no camera; write camera:0, camera:1, ...")
        with silent():
            self.capture = cv2.VideoCapture(int(number))
        if not self.capture.isOpened():
            raise VideoError(f"{source} does not answer; is it plugged in and free?")
        self.fps = (self.capture.get(cv2.CAP_PROP_FPS) or UNKNOWN_FPS) / part.every

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            for seconds, image in self.part.of(self._capture()):
                self.times.append(seconds)
                yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        finally:
            self.capture.release()

    def _capture(self) -> Iterator[tuple[float, np.ndarray]]:
        """Images and the seconds since the first: cameras drop those for which nobody asks in time."""
        began = None
        while True:
            alive, image = self.capture.read()
            if not alive:
                log.warning(f"{self.name} broke off: is it still plugged in?")
                return
            now = time.monotonic()
            began = now if began is None else began
            yield now - began, image
