"""Where frames come from: video files, folders of images, streams, cameras."""

import contextlib
import glob
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import islice
from math import inf
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from compfeat.files import image_files, require_utf8
from compfeat.images import ImageError, read_image
from compfeat.media.seeking import SeekError, Timetable, decode, decode_in_order, video_stream
from compfeat.media.times import UNKNOWN_FPS, WHOLE, Clock, Part, VideoError

FOLDER_FPS = 6.0  # a folder names no rate; YouTube-VIS keeps every fifth frame of 30 a second
STREAMS = ("rtsp://", "rtsps://", "http://", "https://")
TIMEOUT = 15.0  # seconds that a stream may keep silent; some cameras take several to answer
LATE = 0.25  # seconds by which what is seen of a stream may lie behind what has come
MAY_LACK = 1.0  # seconds of its stated duration: sound may be longer than what is seen
# What FFmpeg calls the formats of files that hold what they show, and of sound, which is told from damage. It reads
# others too: playlists, which show whatever files they name (hls, concat, dash, sdp, image2), and text, which it draws.
FORMATS = (
    "apng,asf,avi,bmp_pipe,cine,dhav,dnxhd,dv,flac,flv,gif,gxf,h264,hevc,ivf,jpeg_pipe,m4v,matroska,mjpeg,mov,mp3,mpeg,"
    "mpegts,mpegvideo,mxf,nut,obu,ogg,png_pipe,rm,tiff_pipe,vc1,wav,webp_pipe,wtv,yuv4mpegpipe"
)
MOST_OBLONG = 4  # times as long as wide are pixels that are believed
T = TypeVar("T")
INVALID = "it is damaged, incomplete, or no video at all"

log = logging.getLogger(__name__)


class FrameSource(Protocol):
    """The frames of one video, uint8 RGB ``[H, W, 3]``, upright and of square pixels, decoded as they are asked for.

    All are of one size: where it changes, VideoError is raised. Files and folders start anew with every ``iter()``.
    Transparency is dropped: what is transparent has the colour that is stored there. Of more than 8 bits those that
    matter most are kept.

    Attributes:
        name: of the video, without folder and suffix.
        fps: frames a second; on average, where the rate varies.
        length: the number of frames as the file states it, if it does: good for a bar of progress, for it may be wrong.
        times: when each frame read so far is shown, in seconds since the video (not the part of it that is read) began,
            ascending; it grows as frames are read, and holds a frame's time before that frame is given.
        files: those that are read; none of a camera or a stream.
        sound: the file that the sound is in, if there is any.
        live: whether it is one pass that cannot be read again: a camera or a stream.
    """

    name: str
    fps: float
    length: int | None
    times: list[float]
    files: Sequence[Path]
    sound: Path | None
    live: bool

    def __iter__(self) -> Iterator[np.ndarray]: ...


def open_frames(
    source: str | Path, start: float | None = None, end: float | None = None, every: int = 1
) -> FrameSource:
    """Opens a video, or a part of it.

    Args:
        source: a video file (mp4, mov, mkv, webm, gif, avi ...: ``FORMATS``), an image, a folder of jpg or png images
            or a pattern of images (``"frames/*.png"``), both in natural order, ``"camera:0"``, or the address of a
            stream (``rtsp://``, ``http://``, ``https://``).
        start: seconds from the video's beginning; frames that begin to be shown before are left out. Files that can
            be sought are decoded from the keyframe before it on.
        end: seconds from the video's beginning; neither this frame nor those after it are read.
        every: 2 takes every second frame of that part, and so on; ``fps`` is that of the frames taken.

    Raises:
        FileNotFoundError: nothing is at that path, or matches that pattern.
        VideoError: the file is no readable video, the folder holds no image, the camera or stream does not answer, or
            there is no such part.
        ValueError: the name of the file is not in UTF-8.
    """
    require_utf8(str(source))  # or OpenCV would crash
    part = Part(start, end, every)
    if str(source).startswith("camera:"):
        return Camera(str(source), part)
    if str(source).startswith(STREAMS):
        return Stream(str(source), part)
    if not str(source):  # which a path takes for the current folder
        raise FileNotFoundError("no video is named; the current folder is .")
    path = Path(source)
    if path.is_dir():
        return Images(str(path), image_files(path), part)
    if path.is_file():
        images = _images_in(path)
        if images > 1 and path.suffix.lower() == ".webp":
            raise VideoError(f"{path} moves, and no webp that does can be read here; save it as gif or mp4")
        return Images(str(path), [path], part) if images == 1 else VideoFile(path, part)
    if path.exists():
        raise VideoError(f"{path} is a pipe or a device, which cannot be read twice; save the video as a file")
    if matching := sorted(filter(os.path.isfile, glob.glob(str(source)))):
        require_utf8(matching[0])
        if not cv2.haveImageReader(matching[0]):
            raise VideoError(
                f"{matching[0]} is no image, as all must be that {source} matches; give one video at a time"
            )
        return Images(str(source), map(Path, matching), part)
    raise FileNotFoundError(
        f"no video at {path}; give a video file, an image, a folder of jpg or png images, a pattern of images, "
        "camera:0, or the address of a stream"
    )


class VideoFile:
    """The frames of a video file as players show them: turned upright and mirrored where its metadata says that it was
    filmed otherwise, with square pixels where it says that they are not.

    Where a part is asked for, its packets are read first, once, and no more is decoded than what leads to the part's
    frames. Where packets do not tell, or decoding proves them wrong, the part is found by decoding from the start. Of a
    file that lacks its end, the frames up to there are read, of one that is damaged those that can be; with a warning.
    """

    live = False

    def __init__(self, path: Path, part: Part = WHOLE) -> None:
        self.path = path
        self.files: Sequence[Path] = [path]
        self.name = path.stem
        self.part = part
        self.times: list[float] = []
        self._lost = self._told = 0  # frames, of this pass and of those before
        with self._open() as (container, stream):
            self.clock = Clock.of(stream)
            self.fps = self.clock.fps / part.every
            self._ratio = stream.sample_aspect_ratio
            self.length = stream.frames or None
            self.sound = path if container.streams.audio else None
            of_all = (container.duration or 0) / av.time_base
            self._stated_end = self.clock.seconds(self.clock.zero + stream.duration) if stream.duration else of_all
        if part != WHOLE:
            self.length = len(self._indices) if self._timetable else None
        if next(self._read(), None) is None:
            if self._lost:
                raise VideoError(f"{path} cannot be read as a video: {INVALID}")
            raise VideoError(f"{path} holds no frames{'' if part == WHOLE else f' {part}'}")

    def __iter__(self) -> Iterator[np.ndarray]:
        return _of_one_size(self._upright(), lambda index: f"the frame at {self.times[index]:.2f} s of {self.path}")

    def _upright(self) -> Iterator[np.ndarray]:
        end = 0.0
        for index, (seconds, frame) in enumerate(self._read()):
            if index == len(self.times):
                self.times.append(seconds)
            end = seconds + max(1 / self.fps, float((frame.duration or 0) * self.clock.tick))
            yield _shown(frame, self._ratio)
        if self.part.end is None and end < self._stated_end - MAY_LACK:
            log.warning(
                f"{self.path} ends after {end:.1f} s, though it states {self._stated_end:.1f} s: is it complete?"
            )
            self._stated_end = end  # this is said once
        if self._lost > self._told:
            log.warning(f"{self.path} is damaged: {self._lost} of its frames cannot be decoded, and are left out")
            self._told = self._lost

    @cached_property
    def _timetable(self) -> Timetable | None:
        with self._open() as (container, _):
            return Timetable.read(container)

    @cached_property
    def _indices(self) -> range:
        """The part's frames among all that the timetable tells of."""
        return self.part.among(self._timetable.times if self._timetable else [], self.clock.seconds)

    def _read(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """The frames of the part and their times."""
        found = 0
        if self.part != WHOLE and (timetable := self._timetable):
            try:
                with self._open() as (container, _):
                    for index, frame in timetable.find(container, self._indices):
                        yield self.clock.seconds(timetable.times[index]), frame
                        found += 1
                return
            except (SeekError, VideoError):
                self._timetable = None
        yield from islice(self.part.of(self.clock.timed(self._decode())), found, None)

    def _decode(self) -> Iterator[av.VideoFrame]:
        self._lost = 0
        with self._open() as (container, stream):
            in_order = decode_in_order if container.format.name == "avi" else decode
            yield from in_order(container.demux(stream), self._lose)

    def _lose(self) -> None:
        self._lost += 1

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        source = f"file:{self.path}"  # or a colon in its name would be taken for the end of a protocol
        with _readable(str(self.path)), av.open(source, options={"format_whitelist": FORMATS}) as container:
            stream = video_stream(container)
            stream.thread_type = "AUTO"
            yield container, stream


class Images:
    """Images of one size as the frames of a video, in natural order: ``2.jpg`` comes before ``10.jpg``."""

    sound: Path | None = None
    live = False

    def __init__(self, name: str, files: Iterable[Path], part: Part = WHOLE) -> None:
        files = sorted(files, key=_natural)
        if not files:
            raise VideoError(f"no jpg or png images in {name}")
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
        return _of_one_size(map(_read, self.files), lambda index: str(self.files[index]))


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
        with _readable(self.address, invalid=f"no answer for {TIMEOUT:g} s, or none that is a video"):
            options = {"rtsp_flags": "prefer_tcp"} if parts.scheme.startswith("rtsp") else {}
            self._container = av.open(url, options=options, timeout=TIMEOUT)
            self._stream = video_stream(self._container)
        self._stream.thread_type = "AUTO"
        self.clock = Clock.of(self._stream)
        self.fps = self.clock.fps / part.every
        self._frames = _of_one_size(
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
                yield _shown(frame, self._stream.sample_aspect_ratio)

    def _decode(self) -> Iterator[av.VideoFrame]:
        try:
            yield from decode(self._container.demux(self._stream))
        except av.FFmpegError as error:
            log.warning(f"{self.address} broke off: {_reason(error)}")


class Camera:
    """The frames of a live camera, ``"camera:N"``, until it stops; released when the iteration ends."""

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
        with _silent():
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
                return
            now = time.monotonic()
            began = now if began is None else began
            yield now - began, image


def _images_in(path: Path) -> int:
    """How many images a file holds: several of one that moves, none of a video or a damaged one."""
    with _silent():
        return cv2.imcount(str(path)) if cv2.haveImageReader(str(path)) else 0


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """OpenCV prints nothing: what it would say is told in one line."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


@contextlib.contextmanager
def _readable(name: str, invalid: str = INVALID) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        # a format that is not among those let through is an invalid argument
        reason = invalid if isinstance(error, av.InvalidDataError | av.ArgumentError) else _reason(error)
        raise VideoError(f"{name} cannot be read as a video: {reason}") from error


def _reason(error: av.FFmpegError) -> str:
    return f"no answer for {TIMEOUT:g} s" if isinstance(error, av.ExitError) else str(error.strerror)


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


def _of_one_size(frames: Iterable[np.ndarray], told: Callable[[int], str]) -> Iterator[np.ndarray]:
    """The frames up to one of another size than the first; ``told`` names that by its index in the VideoError."""
    shape = None
    for index, frame in enumerate(frames):
        shape = shape or frame.shape
        if frame.shape != shape:
            (height, width, _), (first_height, first_width, _) = frame.shape, shape
            raise VideoError(
                f"{told(index)} has {width} x {height} pixels, those before it {first_width} x {first_height}: "
                "a video has one size"
            )
        yield frame


def _shown(frame: av.VideoFrame, ratio: Fraction | None) -> np.ndarray:
    """A frame as players show it; ``ratio`` is the width of its pixels over their height, where it is known."""
    image: np.ndarray = frame.to_ndarray(format="rgb24")
    if ratio and ratio != 1 and 1 / MOST_OBLONG <= ratio <= MOST_OBLONG:
        wider, higher = max(1.0, float(ratio)), max(1.0, float(1 / ratio))
        image = cv2.resize(image, None, fx=wider, fy=higher, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(_upright(image, frame))


def _upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """``image`` turned and mirrored as its frame's display matrix says: x becomes a x + c y, y becomes b x + d y."""
    try:
        matrix = frame.side_data["DISPLAYMATRIX"]  # type: ignore[typeddict-item]  # its stub lacks most kinds
    except KeyError:
        return image
    except ValueError:  # where one kind is new to PyAV, it gives none
        return np.rot90(image, round(frame.rotation / 90))  # counter-clockwise both
    a, b, _, c, d = np.frombuffer(matrix, np.int32, 5).tolist()
    if abs(b) > abs(a):
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _read(file: Path) -> np.ndarray:
    try:
        return read_image(file)
    except ImageError as error:
        raise VideoError(str(error)) from error


def _natural(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(file))]
