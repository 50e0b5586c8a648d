"""Which frame of a video file is shown when, told by its packets: frames are found without decoding all before them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import av
from av.container import InputContainer

from compfeat.media.decoding import decode, video_stream, whole

# In these every packet is one frame, says when it is shown, and can be sought by that. Of others some guess the times
# (AVI), some split a frame over packets (MPEG-TS), some cannot be sought (GIF).
CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
WITH_HIDDEN_FRAMES = {"vp8"}  # packets of these codecs may show nothing and only be referred to
SEEKING_PAYS = 8  # frames that a seek must save, for it makes the decoder's threads begin anew


class SeekError(Exception):
    """Frames do not come as the packets promised; only decoding all of the file tells which is which."""


@dataclass(frozen=True)
class Keyframe:
    """Where decoding may begin: ``shown`` and ``decoded`` are its times, in units of the stream."""

    shown: int
    decoded: int


@dataclass(frozen=True)
class Timetable:
    """When the frames of a file are shown, and its keyframes; both ascending, in units of the stream."""

    times: list[int]
    keyframes: list[Keyframe]

    @classmethod
    def read(cls, container: InputContainer) -> "Timetable | None":
        """Reads all packets of a newly opened file, decoding none; None where they do not tell one frame from another.

        Frames that an edit list cuts off, which decoders drop, are left out. The number of frames that the file states
        is not looked at: it may be wrong.
        """
        stream = video_stream(container)
        if container.format.name not in CONTAINERS or stream.codec_context.name in WITH_HIDDEN_FRAMES:
            return None
        times: list[int] = []
        keyframes: list[Keyframe] = []
        latest = None
        for packet in whole(container.demux(stream)):
            if not packet.size:  # the one that ends the stream
                continue
            if packet.pts is None:
                return None
            if packet.is_keyframe:
                if latest is not None and packet.pts <= latest:  # times begin anew: their order is not that of frames
                    return None
                keyframes.append(Keyframe(packet.pts, packet.pts if packet.dts is None else packet.dts))
            elif not keyframes or packet.pts < keyframes[0].shown:  # it refers to what is not there
                return None
            latest = packet.pts if latest is None else max(latest, packet.pts)
            if not packet.is_discard:
                times.append(packet.pts)
        times.sort()
        return cls(times, keyframes) if len(set(times)) == len(times) else None

    def find(self, container: InputContainer, indices: range) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames at ascending ``indices``, each with its index: each is decoded from the keyframe before it on, or
        from the one found before it, where that is near.

        Raises:
            SeekError: the file decodes to other frames than its packets promise.
        """
        for run in self._runs(indices):
            yield from self._decode_from(self._keyframe_before(run[0]), container, run)

    def _runs(self, wanted: range) -> Iterator[range]:
        """Parts frames between which a seek pays."""
        first = 0
        for i in range(1, len(wanted)):
            if self._index_of(self._keyframe_before(wanted[i])) - wanted[i - 1] > SEEKING_PAYS:
                yield wanted[first:i]
                first = i
        if wanted:
            yield wanted[first:]

    def _keyframe_before(self, index: int) -> Keyframe:
        return self.keyframes[bisect_right(self.keyframes, self.times[index], key=lambda keyframe: keyframe.shown) - 1]

    def _index_of(self, keyframe: Keyframe) -> int:
        return bisect_left(self.times, keyframe.shown)

    def _decode_from(
        self, keyframe: Keyframe, container: InputContainer, wanted: range
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        index = self._index_of(keyframe)
        for frame in decode(_seek(container, keyframe)):
            if frame.pts is not None and frame.pts < keyframe.shown:  # the seek went further back
                continue
            if frame.pts != self.times[index]:
                raise SeekError(f"frame {index} is shown at {frame.pts}, not at {self.times[index]}")
            if index in wanted:
                yield index, frame
            if index == wanted[-1]:
                return
            index += 1
        raise SeekError(f"there is no frame {index}")


def _seek(container: InputContainer, keyframe: Keyframe) -> Iterator[av.Packet]:
    """The packets from a keyframe on, or from one before it."""
    stream = video_stream(container)
    for time in (keyframe.shown, keyframe.decoded):  # some containers are indexed by the one, some by the other
        container.seek(time, stream=stream)
        packets = container.demux(stream)
        first = next(packets)
        if first.pts is not None and first.pts <= keyframe.shown:
            return chain([first], packets)
    raise SeekError(f"no seek leads to the keyframe at {keyframe.shown}")
