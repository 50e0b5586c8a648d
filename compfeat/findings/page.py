"""The page of one video: a file of HTML beside it, on which its objects are looked at alone and together."""

import base64
import json
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple
from urllib.parse import quote

from pycocotools import mask as rle

from compfeat.files import written_whole
from compfeat.findings.overlays import OPACITY, colour, ink
from compfeat.html import rendered
from compfeat.structures import Tube


class _Track(NamedTuple):
    """A tube in the words of the page."""

    id: int
    label: int
    name: str
    colour: str
    ink: str
    score: float
    first: int
    last: int
    seen: int
    area: float


def write_page(
    path: str | Path,
    video: str | Path,
    tubes: Sequence[Tube],
    class_names: Sequence[str],
    times: Sequence[float],
    size: tuple[int, int],
    name: str,
) -> None:
    """Writes a page that plays a video and draws its objects on it, as ``overlay`` does, but only those asked for.

    It works from disk, needs no network and nothing but the video, which it finds by its path relative to the page.
    Masks are embedded as they are, to be decoded frame by frame in the browser (of 2023 or later).

    Args:
        path: the html file; its folder is made if need be, an older file is replaced.
        video: the plain video, such as ``write_video`` writes it: an odd size may have been made even. It need not be
            there yet.
        tubes: the objects; masks have the frames' size.
        class_names: the names of labels 1, 2, ...
        times: when each frame is shown, in seconds, ascending; at least one. The video begins with the first.
        size: (height, width) of the frames.
        name: what the video is called.

    Raises:
        ValueError: an object is seen after the last of ``times``, or its masks are of another size.
    """
    path, video = Path(path), Path(video)
    for tube in tubes:
        _require_fit(tube, len(times), size)
    tubes = sorted(tubes, key=lambda tube: (tube.frames[0], tube.track_id))
    tracks = [_track(tube, class_names) for tube in tubes]
    times = [time - times[0] for time in times]
    end = times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1)  # the last is shown as long as the one before
    page = rendered(
        "compfeat.findings",
        "page.html",
        name=name,
        source=quote(Path(os.path.relpath(video, path.parent)).as_posix()),
        tracks=tracks,
        classes=sorted(Counter((track.name, track.label) for track in tracks).items()),
        frames=len(times),
        length=_clock(end),
        height=size[0],
        width=size[1],
        packed=_packed({
            "times": [round(time, 6) for time in [*times, end]],
            "size": size,
            "opacity": OPACITY,
            "tracks": [
                track._asdict() | _seen(tube) for track, tube in zip(tracks, tubes, strict=True)
            ],
        }),
    )  # fmt: skip
    with written_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _require_fit(tube: Tube, count: int, size: tuple[int, int]) -> None:
    if tube.frames[-1] >= count:
        raise ValueError(f"object {tube.track_id} is seen in frame {tube.frames[-1]} of a video of {count} frames")
    for frame, mask in zip(tube.frames, tube.masks, strict=True):
        if tuple(mask["size"]) != tuple(size):
            raise ValueError(
                f"object {tube.track_id} has a mask of (height, width) {tuple(mask['size'])} in frame {frame} "
                f"of a video of {tuple(size)}"
            )


def _track(tube: Tube, class_names: Sequence[str]) -> _Track:
    rgb = colour(tube.track_id)
    return _Track(
        id=tube.track_id,
        label=tube.label,
        name=class_names[tube.label - 1],
        colour=_hex(rgb),
        ink=_hex(ink(rgb)),
        score=tube.score,
        first=tube.frames[0],
        last=tube.frames[-1],
        seen=len(tube.frames),
        area=fmean(float(rle.area(mask)) for mask in tube.masks),  # of 256 at once pycocotools fails under numpy 2
    )


def _seen(tube: Tube) -> dict[str, list]:
    """What there is of an object in each frame in which it is seen; more digits than are shown would be in vain."""
    return {
        "frames": tube.frames,
        "scores": [round(score, 2) for score in tube.scores],
        "boxes": [[round(side) for side in box] for box in tube.boxes],
        "masks": [mask["counts"].decode() for mask in tube.masks],
    }


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _packed(content: Any) -> str:
    """Json, deflated: masks to half. In base64 nothing of it can be taken for HTML."""
    return base64.b64encode(zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9)).decode()


def _clock(seconds: float) -> str:
    """Minutes, seconds and hundredths: "1:05.50"."""
    hundredths = round(100 * seconds)
    return f"{hundredths // 6000}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"
