"""Frames that are recorded while they are looked at."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Full, Queue
from typing import Any

import numpy as np

from compfeat.media.sinks import write_video
from compfeat.media.sources import FrameSource

END: Any = object()
WAITING = 8  # frames that may wait to be encoded
ALIVE = 1.0  # seconds after which a full queue is a reason to ask whether anybody still takes from it


@contextmanager
def recorded(frames: FrameSource, path: str | Path, kept: Callable[[], int]) -> Iterator[Iterator[np.ndarray]]:
    """The frames of a source one by one; each that is asked for is written to an mp4 too, by a thread.

    The file appears when the context ends, however it ends, with as many of the frames as are ``kept`` then; where none
    is, there is no file.

    Raises:
        VideoError, OSError: what ``write_video`` raises, with the next frame or at the end.
    """
    queue: Queue[Any] = Queue(WAITING)
    with ThreadPoolExecutor(1, thread_name_prefix="recording") as thread:
        writing = thread.submit(write_video, path, _taken(queue), frames.fps, frames.times, frames.sound, kept)
        try:
            yield _put_each(frames, queue, writing)
        except BaseException:
            _put(END, queue, writing)
            with suppress(Exception):  # what went wrong first is told
                writing.result()
            raise
        _put(END, queue, writing)
        if kept():
            writing.result()


def _put_each(frames: FrameSource, queue: Queue, writing: Future) -> Iterator[np.ndarray]:
    for frame in frames:
        _put(frame, queue, writing)
        if writing.done():
            writing.result()
        yield frame


def _taken(queue: Queue) -> Iterator[np.ndarray]:
    while (item := queue.get()) is not END:
        yield item


def _put(item: Any, queue: Queue, writing: Future) -> None:
    while not writing.done():
        with suppress(Full):
            queue.put(item, timeout=ALIVE)
            return
