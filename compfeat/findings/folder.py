"""The folder that what is found in a video goes to: nobody else's files are replaced there, and nothing old is left."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

JOURNAL = "frames.jsonl"
FILES = ("tracks.csv", "overlay.mp4", "video.mp4", "page.html", "results.json", "coco_video.json", JOURNAL)
MASKS = "masks"
MASK = re.compile(r"\d{5,}\.png")


def dated_folder(parent: Path) -> Path:
    """Makes a new folder, called by date and time; ``-2`` and so on tell apart what begins in the same second."""
    parent.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    for number in count(1):
        with suppress(FileExistsError):
            folder = parent / (name if number == 1 else f"{name}-{number}")
            folder.mkdir()
            return folder
    raise AssertionError("numbers do not end")


@contextmanager
def emptied(folder: Path, read: Iterable[Path]) -> Iterator[None]:
    """Holds a folder, made if need be, while what is found in a video is written to it.

    What was found in another video before is removed, by its names; all else that is there stays.

    Args:
        folder: of which nobody else may make use meanwhile.
        read: the files of the video.

    Raises:
        ValueError: the folder is a file or in use, or by the names of what is to be written it holds the video itself,
            or what nobody found in a video.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"output={folder} is a file, or in one: give a folder") from error
    try:
        held = FileLock(folder / ".lock").acquire(blocking=False)
    except Timeout as error:
        raise ValueError(f"output={folder}: another video is written there just now; give another folder") from error
    with held:
        _empty(folder, {file.resolve() for file in read})
        yield


def _empty(folder: Path, read: set[Path]) -> None:
    masks = [path for path in sorted((folder / MASKS).glob("*.png")) if MASK.fullmatch(path.name)]
    old = [path for path in (*masks, *(folder / name for name in FILES)) if path.is_file()]
    for path in old:
        if path.resolve() in read:
            raise ValueError(f"output={folder}: {path} is read and would be replaced; give another folder")
    if old and not (folder / JOURNAL).is_file():
        raise ValueError(f"output={folder}: {old[0]} is there, and of no video looked at before; give another folder")
    for path in old:  # the journal, by which all are known, last
        path.unlink()
    with suppress(OSError):  # it holds other files, or is not there
        (folder / MASKS).rmdir()
