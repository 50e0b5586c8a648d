"""Where frames go: H.264 files."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from compfeat.media.sources import VideoError


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Writes uint8 RGB frames ``[H, W, 3]`` of one size as an H.264 mp4 that plays in browsers.

    Frames are consumed one by one. H.264 in 4:2:0 wants even sizes: an odd one gets its last row or column twice. The
    file appears at ``path`` only when it is complete.

    Args:
        path: the mp4 file; its folder is made if need be, an older file is replaced.
        frames: at least one.
        fps: frames a second.

    Raises:
        VideoError: there are no frames, or they differ in size.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        _encode(partial, frames, fps, name=str(path))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _encode(path: Path, frames: Iterable[np.ndarray], fps: float, name: str) -> None:
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise VideoError(f"no frames to write to {name}")
    height, width = first.shape[:2]
    # The index goes to the front ("faststart"), so that playing can begin before the whole file has come.
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for frame in chain([first], remaining):
            if frame.shape != first.shape:
                raise VideoError(f"frames of {name} differ in size: {frame.shape[:2]} after {first.shape[:2]}")
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
