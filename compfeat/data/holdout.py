"""A validation set held out of the training videos, where a data set keeps its own ground truth to itself."""

from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np

from compfeat.data.annotations.entries import read_text
from compfeat.data.annotations.reader import VISAnnotations
from compfeat.data.errors import AnnotationError


def hold_out(annotations: VISAnnotations, count: int) -> list[int]:
    """The ids of ``count`` videos to validate on, in the order of the file; the same for equal annotations, always.

    Raises:
        AnnotationError: fewer than ``count`` + 1 videos are there, or nothing is known of them.
    """
    if not annotations.has_annotations:
        raise AnnotationError(f"there is no ground truth in {annotations.path}: its videos cannot be validated on")
    if not 0 < count < len(annotations):
        instead = "data.holdout to fewer, or data.val_split to videos of their own"
        if len(annotations) == 1:
            instead = "data.val_split to the split that is trained on, which is then validated on too"
        raise AnnotationError(
            f"cannot hold out {count} of the {len(annotations)} videos of {annotations.path}: set {instead}"
        )
    classes = [{track.label for track in video.tracks if not track.crowd} for video in annotations]
    return annotations.arrays.video_ids[stratify(classes, count)].tolist()


def stratify(classes: Sequence[Set[int]], count: int) -> list[int]:
    """Chooses ``count`` of the items so that each class has about the same share among them as among all.

    Iterative stratification (Sechidis et al. 2011): again and again the class with the fewest items left is dealt out,
    each item to the side that still wants most of the class. A class of one item stays with the items not chosen.

    Args:
        classes: the classes of each item.
        count: how many to choose, at most as many as there are.

    Returns:
        positions, ascending.
    """
    share = count / len(classes)
    shuffled = np.random.default_rng(0).permutation(len(classes)).tolist()  # the run's seed must not change the split
    total = Counter(label for item in classes for label in item)
    wanted = [{label: part * total[label] for label in total} for part in (1 - share, share)]
    room = [len(classes) - count, count]
    chosen: list[int] = []
    left = total.copy()
    while shuffled:
        rarest = min((label for label in left if left[label]), key=lambda label: (left[label], label), default=None)
        dealt = [item for item in shuffled if rarest is None or rarest in classes[item]]
        for item in dealt:
            sides = [side for side in (0, 1) if room[side]]
            side = max(sides, key=lambda side: (wanted[side][rarest] if rarest is not None else 0, room[side]))
            room[side] -= 1
            if side == 1:
                chosen.append(item)
            for label in classes[item]:
                wanted[side][label] -= 1
                left[label] -= 1
        taken = set(dealt)
        shuffled = [item for item in shuffled if item not in taken]
    return sorted(chosen)


def write_ids(ids: Sequence[int], path: Path) -> None:
    """Writes ids of videos, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{identity}\n" for identity in ids))


def read_ids(path: Path) -> list[int]:
    """Reads ids of videos, one a line; empty lines and what follows a # do not count.

    Raises:
        FileNotFoundError: there is no such file.
        AnnotationError: it is not text in UTF-8, a line is not a whole number, or there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no list of video ids at {path}: set data.holdout to one, or to a number")
    lines = [line.partition("#")[0].strip() for line in read_text(path).splitlines()]
    try:
        ids = [int(line) for line in lines if line]
    except ValueError as error:
        raise AnnotationError(f"{path} is not a list of video ids, one a line: {error}") from error
    if not ids:
        raise AnnotationError(f"{path} names no video: list the ids of some, one a line")
    return ids
