"""Finds the objects of a video."""

import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from compfeat.commands.console import console
from compfeat.commands.loading import CheckpointConfig, find_device, predictor_maker
from compfeat.data.annotations.reader import Track, Video
from compfeat.data.convert.coco_video import to_coco_video
from compfeat.evaluation.results import to_whole_results
from compfeat.files import write_json
from compfeat.findings.folder import JOURNAL, MASKS, dated_folder, emptied
from compfeat.findings.identity_masks import write_identity_masks
from compfeat.findings.journal import Findings, Journal
from compfeat.findings.overlays import draw_tubes
from compfeat.findings.page import write_page
from compfeat.findings.table import write_table
from compfeat.inference.predictor import VideoPredictor
from compfeat.media.recording import recorded
from compfeat.media.scenes import SceneCuts
from compfeat.media.sinks import write_video
from compfeat.media.sources import FrameSource, open_frames
from compfeat.media.times import VideoError
from compfeat.progress import progress
from compfeat.quantities import Count, PathName, Positive, Seconds, Share
from compfeat.read_ahead import read_ahead
from compfeat.structures import Tube

Output = Literal["tracks", "overlay", "page", "results", "masks", "coco_video"]
ShowProgress = Callable[[str, int | None, str], AbstractContextManager[Callable[[int], None]]]
DATED = Path("outputs/predict")  # here folders are made where none is given
AT_ONCE = ("page", "results", "coco_video")  # outputs that hold all masks at once
HELD = 200_000  # masks: with more no browser opens a page, and no program reads a json
LISTS = ("results", "coco_video")  # outputs whose making takes a cell for each object in each frame of the video
CELLS = 20_000_000
NAMED = 5  # objects at most


class LookConfig(CheckpointConfig, Protocol):
    """The keys of ``conf/_predict.yaml``: how a video is looked at, and which of its objects are drawn."""

    ckpt: PathName
    every: Count
    cuts: bool
    forget: Positive | None
    score: Share
    classes: str | list[str] | None


class PredictConfig(LookConfig, Protocol):
    """The keys of ``conf/predict.yaml``."""

    video: PathName
    start: Seconds | None
    end: Seconds | None
    write: Output | list[Output]
    output: PathName | None


def predict(cfg: PredictConfig) -> None:
    """Writes what is found in one video as ``conf/predict.yaml`` describes. Ctrl-C ends the video, not the command.

    Raises:
        VideoError: the video cannot be read, or not further: what was found until there is written all the same.
        ValueError: the folder is not to be written to, or a class is none that the network knows.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends services ends a video as Ctrl-C does
    frames = open_frames(cfg.video, cfg.start, cfg.end, cfg.every)  # before a network is downloaded for nothing
    predictor = predictor_maker(cfg)(find_device(cfg.device))
    classes = known(cfg.classes, predictor.class_names)
    predictor.scenes = SceneCuts() if cfg.cuts else None
    predictor.tracker.keep_unseen = cfg.forget
    outputs: list[Output] = [cfg.write] if isinstance(cfg.write, str) else cfg.write
    folder = dated_folder(DATED) if cfg.output is None else Path(cfg.output)
    with emptied(folder, frames.files):
        try:
            find_objects(predictor, frames, folder, outputs, progress)
        finally:  # whatever ended the video
            if (folder / JOURNAL).is_file():
                findings = _findings(predictor, folder)
                kept = chosen(findings, cfg.score, classes)
                write_outputs(predictor, frames, findings, kept, folder, outputs, progress)
                console.print(_told(findings, kept, cfg.score, classes, folder), soft_wrap=True, markup=False)


def _told(findings: Findings, kept: set[int], score: float, classes: Sequence[str], folder: Path) -> str:
    """What was found, and where it is to be seen; where nothing of it is drawn, what it is."""
    tracks = list(findings.tracks.values())
    line = f"objects found in {len(findings.times)} frames: {len(tracks)}; drawn, with score={score:g}: {len(kept)}"
    if tracks and not kept:
        likeliest = ", ".join(f"{track.name} {track.score:.2f}" for track in tracks[:NAMED])
        more = ", ..." if len(tracks) > NAMED else ""
        line += f"; found: {likeliest}{more}; lower score={' or leave out classes=' if classes else ''}"
    page = folder / "page.html"
    return f"{line}; see {page if kept and page.is_file() else folder}"


def known(classes: str | Sequence[str] | None, class_names: Sequence[str]) -> list[str]:
    """The classes asked for, in a list or as one text, ``"dog,cat"``; none of None.

    Raises:
        ValueError: one of them is none that the network knows.
    """
    names = classes.split(",") if isinstance(classes, str) else list(classes or [])
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
    return _findings(predictor, folder)


def write_outputs(
    predictor: VideoPredictor,
    frames: FrameSource,
    findings: Findings,
    kept: set[int],
    folder: Path,
    outputs: Sequence[Output],
    show: ShowProgress,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Writes what was found in the forms asked for: of the objects ``kept``, but to ``results.json`` of all.

    What holds all masks at once is left out where there are too many, and a line says so. The overlay, which takes
    longest, comes last; ``stopped`` is asked after each frame that is drawn on whether to give up the rest.
    """
    length, size = len(findings.times), predictor.frame_size
    assert size is not None
    if "tracks" in outputs:
        write_table(folder / "tracks.csv", findings, kept)
    at_once = [output for output in AT_ONCE if output in outputs]
    cells = len(findings.tracks) * length
    for large, number, most, what in [
        (AT_ONCE, findings.masks, HELD, "masks"),
        (LISTS, cells, CELLS, "objects times frames"),
    ]:
        left_out = [output for output in at_once if output in large and number > most]
        if left_out:
            console.print(
                f"not written: {', '.join(left_out)}; {number} {what} are more than the {most} they may hold. "
                "All are in frames.jsonl; start=, end= and every= take a part of a video",
                soft_wrap=True,
            )
        at_once = [output for output in at_once if output not in left_out]
    if "page" in at_once:
        tubes = findings.tubes(kept)
        video, page = folder / "video.mp4", folder / "page.html"
        write_page(page, video, tubes, predictor.class_names, findings.times, size, frames.name)
    if "results" in at_once:
        ids = [category.id for category in predictor.categories]
        write_json(folder / "results.json", to_whole_results(1, length, findings.tubes(findings.tracks), ids))
    if "coco_video" in at_once:
        content = _as_coco_video(frames.name, length, size, findings.tubes(kept), predictor)
        write_json(folder / "coco_video.json", content)
    if "masks" in outputs:
        write_identity_masks(folder / MASKS, findings, kept, size)
    if "overlay" in outputs:
        with show(f"{frames.name}: overlay", length, "frames") as advance:
            source = open_frames(folder / "video.mp4") if frames.live else frames
            pictures = read_ahead(_drawn(source, findings.frames(kept), predictor.class_names, advance, stopped))
            write_video(folder / "overlay.mp4", pictures, frames.fps, findings.times, frames.sound)


def _findings(predictor: VideoPredictor, folder: Path) -> Findings:
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


def _drawn(
    frames: Iterable[np.ndarray],
    found: Iterable[Sequence[Tube]],
    class_names: Sequence[str],
    advance: Callable[[int], None],
    stopped: Callable[[], bool],
) -> Iterator[np.ndarray]:
    """The frames that were looked at, which may be fewer than there are; at least the first."""
    for index, (seen, frame) in enumerate(zip(found, frames, strict=False)):
        yield draw_tubes(frame, index, seen, class_names)
        advance(1)
        if stopped():
            return


def _as_coco_video(
    name: str, length: int, size: tuple[int, int], tubes: Sequence[Tube], predictor: VideoPredictor
) -> dict[str, Any]:
    """COCO json of one video, identities as they are everywhere, each annotation with the score of its object."""
    names = [f"{name}/{index:05d}.jpg" for index in range(length)]
    tracks = []
    for tube in tubes:
        masks = dict(zip(tube.frames, tube.masks, strict=True))
        tracks.append(Track(tube.track_id, tube.label, False, [masks.get(index) for index in range(length)]))
    content = to_coco_video([Video(1, *size, names, tracks)], predictor.categories)
    scores = {tube.track_id: tube.score for tube in tubes}
    for annotation in content["annotations"]:
        annotation["score"] = scores[annotation["instance_id"]]
    return content
