"""Labelled videos as every format is read into, before they are written in the YouTube-VIS layout."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from compfeat.structures import RLE, Category


@dataclass(frozen=True)
class LabelledObject:
    """One object through a video.

    Attributes:
        identity: what its source calls it; None where it has no name there.
        category: id of its class; None for a region in which no object of any class counts.
        masks: by frame, counted from 0; a frame that does not show it has none.
        crowd: it is a region in which objects of its class do not count.
    """

    identity: int | str | None
    category: int | None
    masks: dict[int, RLE]
    crowd: bool = False


@dataclass(frozen=True)
class LabelledVideo:
    """One video: where its frames lie, and its objects.

    Attributes:
        identity: what its source calls it.
        size: (height, width).
        frames: the files in order, by what they are called in the layout: ``<video>/<frame>.jpg``.
        objects: all of them.
    """

    identity: int | str
    size: tuple[int, int]
    frames: dict[str, Path]
    objects: list[LabelledObject]


class LabelledVideos(Protocol):
    """What a reader of a format is: its classes, and its videos one after another, as often as they are asked for."""

    categories: list[Category]

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[LabelledVideo]: ...
