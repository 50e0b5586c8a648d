"""The frames of a video file."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from compfeat.media.decoding import decode, decode_in_order, of_one_size, shown, video_stream
from compfeat.media.seeking import SeekError, Timetable
from compfeat.media.times import WHOLE, Clock, Part, VideoError

MAY_LACK = 1.0  # seconds of its stated duration: sound may be longer than what is seen
# What FFmpeg calls the formats of files that hold what they show, and of sound, which is told from damage. It reads
# others too: playlists, which show whatever files they name (hls, concat, dash, sdp, image2), and text, which it draws.
FORMATS = (
    "apng,asf,avi,bmp_pipe,cine,dhav,dnxhd,dv,flac,flv,gif,gxf,h264,hevc,ivf,jpeg_pipe,m4v,matroska,mjpeg,mov,mp3,mpeg,"
    "mpegts,mpegvideo,mxf,nut,obu,ogg,png_pipe,rm,tiff_pipe,vc1,wav,webp_pipe,wtv,yuv4mpegpipe"
)
INVALID = "it is damaged, incomplete, or no video at all"

log = logging.getLogger(__name__)


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
        return of_one_size(self._upright(), lambda index: f"the frame at {self.times[index]:.2f} s of {self.path}")

    def _upright(self) -> Iterator[np.ndarray]:
        end = 0.0
        for index, (seconds, frame) in enumerate(self._read()):
            if index == len(self.times):
                self.times.append(seconds)
            end = seconds + max(1 / self.fps, float((frame.duration or 0) * self.clock.tick))
            yield shown(frame, self._ratio)
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

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        source = f"file:{self.path}"  # or a colon in its name would be taken for the end of a protocol
        try:
            with av.open(source, options={"format_whitelist": FORMATS}, metadata_errors="replace") as container:
                stream = video_stream(container)
                stream.thread_type = "AUTO"
                yield container, stream
        except av.FFmpegError as error:
            invalid = isinstance(error, av.InvalidDataError | av.ArgumentError)  # the latter of another format
            reason = INVALID if invalid else error.strerror
            raise VideoError(f"{self.path} cannot be read as a video: {reason}") from error
