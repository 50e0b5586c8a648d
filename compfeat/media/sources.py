"""Where frames come from: video files, folders of images, streams, cameras."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from compfeat.files import image_files, require_utf8
from compfeat.images import image_count
from compfeat.media.image_sequence import Images
from compfeat.media.live import Camera, Stream
from compfeat.media.times import Part, VideoError
from compfeat.media.video_file import VideoFile

STREAMS = ("rtsp://", "rtsps://", "http://", "https://")


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
        source: a video file (mp4, mov, mkv, webm, gif, avi ...: ``video_file.FORMATS``), an image, a folder of jpg or
            png images or a pattern of images (``"frames/*.png"``), both in natural order, ``"camera:0"``, or the
            address of a stream (``rtsp://``, ``http://``, ``https://``).
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
        images = image_count(path)
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
