"""From the packets of a video to its frames as players show them, all of one size."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from compfeat.media.times import VideoError

MOST_OBLONG = 4  # times as long as wide are pixels that are believed


def video_stream(container: InputContainer) -> VideoStream:
    """The stream that is watched; the picture on the cover of an album is none.

    Raises:
        av.FFmpegError: there is none, or of no known codec, or it is but a tile of a photo.
    """
    streams = container.streams.video
    if any(stream.disposition & Disposition.dependent for stream in streams):
        raise av.FFmpegError(0, "it is a photo in tiles (HEIC); save it as jpg or png")
    for stream in streams:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise av.FFmpegError(0, "nobody here knows its codec; save it as mp4 with H.264")
            return stream
    raise av.FFmpegError(0, "it has no video stream")


def whole(packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
    """The packets without those of which a part is missing: the last one of a torn file, or what a stream lost."""
    with suppress(IndexError):  # PyAV stumbles, after the last packet, over streams that began in the middle of a file
        yield from (packet for packet in packets if not packet.is_corrupt)


def decode(packets: Iterable[av.Packet], lost: Callable[[], object] = lambda: None) -> Iterator[av.VideoFrame]:
    """The frames of packets of a video stream, in the order in which they are shown.

    What is damaged is left out; ``lost`` is called then, in the place of the frame.
    """
    for packet in whole(packets):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            lost()
        else:
            yield from frames


def decode_in_order(packets: Iterable[av.Packet], lost: Callable[[], object]) -> Iterator[av.VideoFrame]:
    """``decode`` of an AVI, which says when its packets are decoded, and nothing of when frames are shown: they take
    these times in turn."""
    times: deque[int | None] = deque()

    def noted() -> Iterator[av.Packet]:
        for packet in packets:
            if packet.size:
                times.append(packet.dts)
            yield packet

    def lost_in_turn() -> None:
        if times:
            times.popleft()
        lost()

    for frame in decode(noted(), lost_in_turn):
        frame.pts = times.popleft() if times else None
        yield frame


def shown(frame: av.VideoFrame, ratio: Fraction | None) -> np.ndarray:
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


def of_one_size(frames: Iterable[np.ndarray], told: Callable[[int], str]) -> Iterator[np.ndarray]:
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
