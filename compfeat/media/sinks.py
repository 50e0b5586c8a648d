"""Where frames go: H.264 files."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import chain
from math import ceil
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import Colorspace

from compfeat.files import written_whole
from compfeat.media.sound import Sound
from compfeat.media.times import VideoError

LARGEST = 16_384  # pixels in a row or a column: more H.264 does not hold
TICKS = 90_000  # at least, a second: times of any kind are told apart
SLOWEST = Fraction(1, 1001)  # frames a second
ROUNDED = Fraction(1, 1000)  # seconds by which times err that Matroska rounded, of frames at a steady rate


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float,
    times: Sequence[float] | None = None,
    sound: str | Path | None = None,
    kept: Callable[[], int] | None = None,
) -> None:
    """Writes uint8 RGB frames ``[H, W, 3]`` of one size as an H.264 mp4 that plays in browsers.

    Frames are consumed one by one. H.264 in 4:2:0 wants even sizes: an odd one gets its last row or column twice. The
    file appears at ``path`` only when it is complete. ``source = open_frames(...)`` is drawn on and written as it was
    filmed, or the part of it that was opened, by ``write_video(path, overlay(source, ...), source.fps, source.times,
    source.sound)``.

    Args:
        path: the mp4 file; its folder is made if need be, an older file is replaced.
        frames: at least one.
        fps: frames a second; with ``times``, on average.
        times: when each frame is shown, in seconds, ascending; that of a frame is looked up once the frame has come, so
            it may be ``times`` of the source that the frames come from. The file begins with the first.
        sound: a video file, whose sound from the first of ``times`` on, else from its beginning, until the last frame
            ends is taken over: as it is, where mp4 holds it and browsers play it, else as AAC.
        kept: how many of the frames are to be in the file, as far as is known yet: those after them wait, encoded, and
            are left out in the end. None is all.

    Raises:
        VideoError: there are no frames, they differ in size or have one that H.264 does not take, or the file with the
            sound cannot be read.
    """
    try:
        with written_whole(path) as partial:
            _encode(partial, frames, fps, times, sound, kept, name=str(path))
    except av.FFmpegError as error:
        raise VideoError(f"{path} cannot be written: {error.strerror}") from error


def _encode(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: float,
    times: Sequence[float] | None,
    sound: str | Path | None,
    kept: Callable[[], int] | None,
    name: str,
) -> None:
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise VideoError(f"no frames to write to {name}")
    height, width = first.shape[:2]
    if max(height, width) > LARGEST:
        raise VideoError(
            f"{name} cannot be written: frames of {width} x {height} pixels are more than the {LARGEST} in a row or a "
            "column that H.264 holds; write=[tracks,masks] needs no video"
        )
    rate = max(Fraction(fps).limit_denominator(1001), SLOWEST)
    tick = Fraction(1, rate.numerator * ceil(TICKS / rate.numerator))  # frames at that rate are whole ticks apart
    duration = int(1 / rate / tick)
    start = times[0] if times is not None else 0.0
    # The index goes to the front ("faststart"), so that playing can begin before the whole file has come.
    with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
        # Else x264 notes the ticks as the rate ("force-cfr"); frames are shown at their times all the same. With
        # B-frames browsers would step to neighbours of frames asked for, where these have times of their own.
        options = {"crf": "20", "bf": "0", "x264-params": "force-cfr=1"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.codec_context.time_base = tick
        stream.codec_context.colorspace = Colorspace.ITU601  # as encoded; players guess another one for large frames
        with _sound(sound, container, start) as write_sound:
            waiting: deque[Packet] = deque()  # one a frame, in their order
            latest, written, until = -1, 0, 0.0

            def mux_kept() -> None:
                nonlocal written, until
                while waiting and (kept is None or written < kept()):
                    packet = waiting.popleft()
                    until = float((packet.pts or 0) * packet.time_base)
                    container.mux(packet)
                    write_sound(until)
                    written += 1

            for index, frame in enumerate(chain([first], remaining)):
                if frame.shape != first.shape:
                    raise VideoError(f"frames of {name} differ in size: {frame.shape[:2]} after {first.shape[:2]}")
                even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
                image = av.VideoFrame.from_ndarray(even, format="rgb24")
                due = index * duration
                stated = due if times is None else round((times[index] - start) / tick)
                latest = max(due if abs(stated - due) * tick <= ROUNDED else stated, latest + 1)
                image.pts, image.time_base, image.duration = latest, tick, duration
                waiting.extend(stream.encode(image))
                mux_kept()
            waiting.extend(stream.encode())
            mux_kept()
            if not written:
                raise VideoError(f"no frames to write to {name}")
            write_sound(until + float(duration * tick))


@contextmanager
def _sound(path: str | Path | None, output: OutputContainer, start: float) -> Iterator[Callable[[float], None]]:
    """What writes the sound up to a time."""
    if path is None:
        yield lambda end: None
        return
    try:
        track = Sound(path, output, start)
    except av.FFmpegError as error:
        raise VideoError(f"the sound of {path} cannot be read: {error.strerror}") from error
    with closing(track):
        yield track.write
