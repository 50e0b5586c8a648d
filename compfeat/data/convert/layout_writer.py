"""Writes labelled videos in the YouTube-VIS layout."""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from compfeat.data.annotations.measures import measured_track
from compfeat.data.convert.labelled import LabelledObject, LabelledVideo
from compfeat.files import folder_written_whole
from compfeat.structures import Category


def write_split(videos: Sequence[LabelledVideo], categories: Sequence[Category], output: Path, split: str) -> None:
    """Writes ``{split}/instances.json`` and ``{split}/JPEGImages/<video>/<frame>`` into ``output``.

    Frames are hard links to their source, or copies where no link can be made. The folder of the split appears whole or
    not at all. Videos and objects keep their identities as ids where these are whole numbers that no two share in the
    split; else they are numbered from 1. A region that belongs to no class is written as a crowd of every class.

    Raises:
        FileExistsError: the split is there already.
        OSError: a frame cannot be read, or the output not be written.
    """
    refuse_to_overwrite(output / split)
    with folder_written_whole(output / split) as folder:
        for name, source in (frame for video in videos for frame in video.frames.items()):
            target = folder / "JPEGImages" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(source.resolve(), target)  # a link to a symbolic link would be one too, and might dangle
        (folder / "instances.json").write_text(json.dumps(_content(videos, categories)))


def refuse_to_overwrite(path: Path) -> None:
    """FileExistsError where there is something already."""
    if path.exists():
        raise FileExistsError(f"{path} is there already: remove it, or give another output")


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:  # what is there may be a link to another source, which a copy would overwrite
        raise
    except OSError:  # another file system, or one that has no links
        shutil.copyfile(source, target)


def _content(videos: Sequence[LabelledVideo], categories: Sequence[Category]) -> dict[str, Any]:
    ids = _numbers([video.identity for video in videos])
    entries, annotations = [], []
    for number, video in zip(ids, videos, strict=True):
        height, width = video.size
        size = {"width": width, "height": height, "length": len(video.frames)}
        entries.append({"id": number, **size, "file_names": list(video.frames)})
        for thing in _of_classes(video.objects, categories):
            annotations.append((thing.identity, _annotation(number, thing, len(video.frames))))
    numbers = _numbers([identity for identity, _ in annotations])
    return {
        "videos": entries,
        "categories": [asdict(category) for category in categories],
        "annotations": [{"id": n} | entry for n, (_, entry) in zip(numbers, annotations, strict=True)],
    }


def _of_classes(objects: Iterable[LabelledObject], categories: Sequence[Category]) -> Iterable[LabelledObject]:
    for thing in objects:
        if thing.category is not None:
            yield thing
        else:
            yield from (LabelledObject(None, category.id, thing.masks, crowd=True) for category in categories)


def _annotation(video: int, thing: LabelledObject, length: int) -> dict[str, Any]:
    entry = {"video_id": video, "category_id": thing.category, "iscrowd": int(thing.crowd)}
    return entry | measured_track([thing.masks.get(frame) for frame in range(length)])


def _numbers(identities: Sequence[int | str | None]) -> list[int]:
    """Identities as ids: as they are where they are whole numbers, all different; those that are None follow."""
    known = [identity for identity in identities if identity is not None]
    if not all(isinstance(identity, int) for identity in known) or len(set(known)) < len(known):
        return list(range(1, len(identities) + 1))
    free = count(max((int(identity) for identity in known), default=0) + 1)
    return [next(free) if identity is None else int(identity) for identity in identities]
