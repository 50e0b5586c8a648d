"""Looks at a video, frame by frame, whatever is to come of it."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

import numpy as np

from compfeat.commands.loading import CheckpointConfig
from compfeat.commands.outputs import Output
from compfeat.findings.folder import JOURNAL
from compfeat.findings.journal import Findings, Journal
from compfeat.inference.predictor import VideoPredictor
from compfeat.media.recording import recorded
from compfeat.media.sources import FrameSource
from compfeat.media.times import VideoError
from compfeat.progress import ShowProgress
from compfeat.quantities import Count, PathName, Positive, Share
from compfeat.structures import Tube


class LookConfig(CheckpointConfig, Protocol):
    """The keys of ``conf/_predict.yaml``: how a video is looked at, and which of its objects are drawn."""

    ckpt: PathName
    every: Count
    cuts: bool
    forget: Positive | None
    score: Share
    classes: str | list[str] | None


def known(classes: str | Sequence[str] | None, class_names: Sequence[str]) -> list[str]:
    """The classes asked for, in a list or as one text, ``"dog,cat"``; none of None.

    Raises:
        ValueError: one of them is none that the network knows.
    """
    names = [name.strip() for name in classes.split(",")] if isinstance(classes, str) else list(classes or [])
    for name in names:
        if name not in class_names:
            near = get_close_matches(name, class_names, n=1)
            others = f"did you mean {near[0]}?" if near else f"it knows {', '.join(class_names)}"
            raise ValueError(f"classes: the network knows no {name!r}; {others}")
    return names


def chosen(findings: Findings, score: float, classes: Sequence[str]) -> set[int]:
    """The identities of the objects that are scored at least ``score`` and of one of the classes; of none: of any."""
    return {
        identity
        for identity, track in findings.tracks.items()
        if track.score >= score and (not classes or track.name in classes)
    }


def find_objects(
    predictor: VideoPredictor,
    frames: FrameSource,
    folder: Path,
    outputs: Sequence[Output],
    show: ShowProgress,
    stopped: Callable[[], bool] = lambda: False,
) -> Findings:
    """Looks at a video and writes ``frames.jsonl`` meanwhile, and ``video.mp4`` where other outputs will need it.

    A stream is looked at frame by frame, with no other frames than those before. Ctrl-C ends the video, once there is a
    frame of it.

    Args:
        predictor: new to the video.
        frames: of it.
        folder: made if need be.
        outputs: that are to be written afterwards.
        show: makes the progress that is shown, as ``compfeat.progress.progress`` does.
        stopped: asked after each frame whether the video ends there.

    Raises:
        VideoError: the video cannot be read on, after all frames before were looked at; or there is none.
    """
    faults: list[VideoError] = []
    with ExitStack() as stack:
        advance = stack.enter_context(show(frames.name, frames.length, "frames"))
        journal = stack.enter_context(Journal(folder / JOURNAL, predictor.class_names))
        shown: Iterable[np.ndarray] = frames
        if "page" in outputs or (frames.live and "overlay" in outputs):
            shown = stack.enter_context(recorded(frames, folder / "video.mp4", lambda: journal.frames))
        shown = _as_far_as_readable(shown, faults)
        found = _step_by_step(predictor, shown, frames.times) if frames.live else predictor.track(shown, frames.times)
        try:
            with closing(found):
                for index, seen in enumerate(found):
                    journal.write(index, frames.times[index], seen)
                    advance(1)
                    if stopped():
                        break
        except KeyboardInterrupt:
            if not journal.frames:
                raise
    if faults:
        raise faults[0]
    if not journal.frames:
        raise VideoError(f"no frame of {frames.name} came")
    return findings_in(folder, predictor)


def findings_in(folder: Path, predictor: VideoPredictor) -> Findings:
    """What ``find_objects`` has written into a folder, as far as it came."""
    return Findings(folder / JOURNAL, predictor.class_names, predictor.labels.votes)


def _as_far_as_readable(frames: Iterable[np.ndarray], faults: list[VideoError]) -> Iterator[np.ndarray]:
    """The frames up to a fault, which is noted: those before it may not have been looked at yet."""
    try:
        yield from frames
    except VideoError as error:
        faults.append(error)


def _step_by_step(
    predictor: VideoPredictor, frames: Iterable[np.ndarray], times: Sequence[float]
) -> Generator[list[Tube], None, None]:
    predictor.reset()
    for index, frame in enumerate(frames):
        yield predictor.step(frame, times[index])
