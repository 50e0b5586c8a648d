"""The sound of a video file, put beside new frames."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain, groupby
from math import inf
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer

from compfeat.media.decoding import video_stream, whole
from compfeat.media.times import Clock

# What mp4 holds and browsers play, from these rates on; all else becomes AAC, and so does a track that names no rate,
# as one of a muted camera, in which nothing ever comes.
COPIED = {"aac": 1, "mp3": 16_000, "opus": 1, "flac": 1}
AAC_RATES = av.codec.Codec("aac", "w").audio_rates or []
PREROLL = Fraction(1)  # seconds by which sound may lie before the frames it belongs to

log = logging.getLogger(__name__)


class Sound:
    """The first sound track of a file whose codec is known, put into an mp4 as a track; read as it is written.

    A file without sound gives none. Sound that cannot be read ends there, and packets that are damaged are left out,
    with a warning: frames matter more.

    Args:
        path: of a file with a video stream.
        output: the mp4, before anything is written to it.
        start: seconds since the video of the file began, at which that of the mp4 begins.

    Raises:
        av.FFmpegError: the file cannot be read.
    """

    def __init__(self, path: str | Path, output: OutputContainer, start: float) -> None:
        self._path = path
        self._output = output
        self._lost = 0  # packets
        self._input = av.open(f"file:{path}", metadata_errors="replace")
        self._packets: Iterator[av.Packet] = iter(())
        known = (stream for stream in self._input.streams.audio if stream.codec_context)
        if stream := next(known, None):
            clock = Clock.of(video_stream(self._input))
            origin = clock.zero * clock.tick + Fraction(start)
            if start > PREROLL:
                with suppress(av.FFmpegError):  # what cannot be sought is read from its beginning
                    self._input.seek(int((origin - PREROLL) * av.time_base))
            copied = stream.rate >= COPIED.get(stream.codec_context.codec.canonical_name, inf)
            read = whole(self._input.demux(stream))
            self._packets = _ascending((_copied if copied else _encoded)(read, stream, output, origin))
        self._next = self._after()

    def write(self, end: float) -> None:
        """Writes the next packets, as far as they begin in the first ``end`` seconds of the mp4."""
        while self._next is not None and _begin(self._next) < end:
            try:
                self._output.mux(self._next)
            except av.InvalidDataError:
                self._lost += 1
            self._next = self._after()

    def close(self) -> None:
        self._input.close()
        if self._lost:
            log.warning(f"the sound of {self._path} is damaged: {self._lost} of its packets are left out")

    def _after(self) -> av.Packet | None:
        try:
            return next(self._packets, None)
        except av.FFmpegError as error:
            log.warning(f"the sound of {self._path} cannot be read on: {error.strerror}")
            return None


def _copied(
    packets: Iterable[av.Packet], stream: AudioStream, output: OutputContainer, origin: Fraction
) -> Iterator[av.Packet]:
    track = output.add_stream_from_template(stream)
    for packet in packets:
        # One that ends where the sound begins is kept: decoders need it to begin with.
        if packet.size and packet.pts is not None and _begin(packet) + _length(packet) >= origin:
            offset = round(origin / packet.time_base)
            packet.pts, packet.dts = packet.pts - offset, (packet.pts if packet.dts is None else packet.dts) - offset
            packet.stream = track
            yield packet


def _encoded(
    packets: Iterable[av.Packet], stream: AudioStream, output: OutputContainer, origin: Fraction
) -> Iterator[av.Packet]:
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    track = output.add_stream("aac", rate=stream.rate if stream.rate in AAC_RATES else 48000, layout=layout)
    heard = chain.from_iterable(_decoded(packet, stream) for packet in packets)
    for (_, _, rate), alike in groupby(heard, lambda frame: (frame.format.name, frame.layout.name, frame.sample_rate)):
        resampler = av.AudioResampler(track.codec_context.format, layout, track.rate)
        for frame in alike:
            begin = _begin(frame) - origin
            if begin + Fraction(frame.samples, rate) > 0:
                frame.pts, frame.time_base = round(begin * rate), Fraction(1, rate)
                for resampled in resampler.resample(frame):
                    yield from track.encode(resampled)
        for resampled in resampler.resample(None):
            yield from track.encode(resampled)
    yield from track.encode()


def _decoded(packet: av.Packet, stream: AudioStream) -> list[av.AudioFrame]:
    try:
        return stream.decode(packet)
    except av.InvalidDataError:  # a gap is better than no sound
        return []


def _begin(timed: av.Packet | av.AudioFrame) -> Fraction:
    """Seconds."""
    return (timed.pts or 0) * (timed.time_base or Fraction(1))


def _length(packet: av.Packet) -> Fraction:
    """Seconds."""
    return (packet.duration or 0) * packet.time_base


def _ascending(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """Without those that come after later ones, as where recordings were put together: no mp4 holds them."""
    latest = None
    for packet in packets:
        if latest is None or (packet.dts or 0) > latest:
            latest = packet.dts or 0
            yield packet
