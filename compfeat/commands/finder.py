"""Finds the objects of the videos of visitors, and keeps what it found for a while."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from shutil import rmtree
from threading import Lock, Timer
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from compfeat.commands.looking import chosen, find_objects
from compfeat.commands.outputs import Output, write_outputs
from compfeat.inference.predictor import VideoPredictor
from compfeat.media.sources import open_frames
from compfeat.media.times import VideoError
from compfeat.progress import ShowProgress

OUTPUTS: Sequence[Output] = ("tracks", "overlay", "page", "results")


@dataclass
class Visit:
    """One video of one visitor, a file, who may have pressed Stop, or have gone."""

    video: Path
    stopped: bool = False
    left: bool = False


class Found(NamedTuple):
    """What was found in a video: the files of ``folder``, all of them in ``archive`` too, how much it is, and what was
    warned of, such as that the video lacks its end."""

    folder: Path
    archive: Path
    name: str
    objects: int
    drawn: int
    frames: int
    warnings: list[str]


class Finder:
    """Finds the objects of one video after the other, as ``predict`` does; what is found is removed after a while.

    Args:
        predictor: of which nobody else makes use.
        folder: in which what is found gets a folder whose name nobody can guess.
        longest: seconds of a video at most.
        keep: seconds after which what was found is removed.
    """

    def __init__(self, predictor: VideoPredictor, folder: Path, longest: float, keep: float) -> None:
        self.predictor = predictor
        self.folder = folder
        self.folder.mkdir()
        self.longest = longest
        self.keep = keep
        self._one = Lock()
        self._closed = False

    def find(self, visit: Visit, score: float, classes: Sequence[str], every: int, show: ShowProgress) -> Found | None:
        """Looks at a video; one that is stopped ends there.

        Args:
            visit: looked at with each frame.
            score: objects scored at least this are drawn and listed.
            classes: only objects of these; of none means of any.
            every: every n-th frame is looked at.
            show: makes the progress that is shown.

        Returns:
            None where it was stopped before it began, or nobody waits for it any longer.

        Raises:
            VideoError: it cannot be read, or is too long.
        """
        folder = self.folder / token_urlsafe()
        with self._one:
            if visit.stopped or self._given_up(visit):  # while it waited
                return None
            found = None
            try:
                found = self._find(visit, folder, score, classes, every, show)
            finally:
                if found is None:
                    rmtree(folder, ignore_errors=True)
            return found

    def _find(
        self, visit: Visit, folder: Path, score: float, classes: Sequence[str], every: int, show: ShowProgress
    ) -> Found | None:
        frames = open_frames(visit.video, every=every)
        _require_shorter(visit.video, self.longest)
        with _warned() as warnings:
            findings = find_objects(
                self.predictor, frames, folder, OUTPUTS, show, lambda: visit.stopped or self._given_up(visit)
            )
            kept = chosen(findings, score, classes)
            write_outputs(self.predictor, frames, findings, kept, folder, OUTPUTS, show, lambda: self._given_up(visit))
        if self._given_up(visit):
            return None
        archive = _archived(folder, frames.name)
        timer = Timer(self.keep, rmtree, (folder,), {"ignore_errors": True})
        timer.daemon = True
        timer.start()
        objects, length = len(findings.tracks), len(findings.times)
        return Found(folder, archive, frames.name, objects, len(kept), length, warnings)

    def _given_up(self, visit: Visit) -> bool:
        return visit.left or self._closed

    def close(self) -> None:
        """Gives up the video that is looked at and those that wait; returns when that is done."""
        self._closed = True
        with self._one:
            pass


@contextmanager
def _warned() -> Iterator[list[str]]:
    """What is said of a video while it is read."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    media = logging.getLogger("compfeat.media")
    media.addHandler(handler)
    try:
        yield said
    finally:
        media.removeHandler(handler)


def _require_shorter(video: Path, longest: float) -> None:
    try:
        open_frames(video, start=longest)
    except VideoError:  # no frame is so late
        return
    raise VideoError(f"{video} is too long: at most {longest:g} seconds are taken here")


def _archived(folder: Path, name: str) -> Path:
    """A zip of all files of a folder, in it."""
    files = sorted(folder.iterdir())
    archive = folder / f"{name}.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as written:
        for file in files:
            written.write(file, f"{name}/{file.name}", ZIP_STORED if file.suffix == ".mp4" else ZIP_DEFLATED)
    return archive
