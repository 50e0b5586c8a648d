"""When the frames of a video are shown, and which of them are asked for."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import dropwhile, islice, takewhile
from typing import TypeVar

import av
from av.video.stream import VideoStream

UNKNOWN_FPS = 30.0  # of files and cameras that name none
TICKS_FPS = 1000.0  # from here on what a file names as its rate is that of its clock
S = TypeVar("S", int, float)
T = TypeVar("T")


class VideoError(ValueError):
    """A source that cannot be read as a video, or frames that cannot be written as one."""


@dataclass(frozen=True)
class Part:
    """Every ``every``-th of the frames that begin to be shown in the seconds [start, end) of a video."""

    start: float | None = None
    end: float | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise VideoError(f"every={self.every}: must be 1, for all frames, or more")
        if self.end is not None and self.end <= (self.start or 0):
            raise VideoError(f"end={self.end}: must be after the start, at {self.start or 0} seconds")

    def __str__(self) -> str:
        until = "on" if self.end is None else f"to {self.end} s"
        return f"from {self.start or 0} s {until}"

    def of(self, timed: Iterable[tuple[float, T]]) -> Iterator[tuple[float, T]]:
        """Those of a video's frames, given with their ascending times, that are asked for."""
        if self.start is not None:
            start = self.start
            timed = dropwhile(lambda frame: frame[0] < start, timed)
        if self.end is not None:
            end = self.end
            timed = takewhile(lambda frame: frame[0] < end, timed)
        return islice(timed, 0, None, self.every)

    def among(self, times: Sequence[S], seconds: Callable[[S], float] = float) -> range:
        """The indices of those that are asked for, of frames whose ascending times are all known."""
        first = 0 if self.start is None else bisect_left(times, self.start, key=seconds)
        end = len(times) if self.end is None else bisect_left(times, self.end, key=seconds)
        return range(first, end, self.every)


WHOLE = Part()


@dataclass(frozen=True)
class Clock:
    """Turns the times of a stream into seconds since it began: at ``zero``, by ticks of ``tick`` seconds."""

    zero: int
    tick: Fraction
    fps: float

    @classmethod
    def of(cls, stream: VideoStream) -> "Clock":
        """The clock of a stream; a rate that it states is believed where one can be."""
        stated = (float(rate or 0) for rate in (stream.average_rate, stream.guessed_rate))
        fps = next((rate for rate in stated if 0 < rate < TICKS_FPS), UNKNOWN_FPS)
        return cls(stream.start_time or 0, stream.time_base or Fraction(1, 1000), fps)

    def seconds(self, time: int) -> float:
        """Since the stream began, of a time in its ticks."""
        return float((time - self.zero) * self.tick)

    def timed(self, frames: Iterable[av.VideoFrame]) -> Iterator[tuple[float, av.VideoFrame]]:
        """The frames with their times, which ascend: one that names none, or none that is later than that of the frame
        before it, is taken to follow it at the rate of the stream."""
        time = -1 / self.fps
        for frame in frames:
            stated = None if frame.pts is None else self.seconds(frame.pts)
            time = stated if stated is not None and stated > time else time + 1 / self.fps
            yield time, frame
