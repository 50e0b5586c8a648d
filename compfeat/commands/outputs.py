"""What was found in a video, in every form that was asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compfeat.commands.console import console
from compfeat.data.annotations.reader import Track, Video
from compfeat.data.convert.coco_video import to_coco_video
from compfeat.evaluation.results import to_whole_results
from compfeat.files import write_json
from compfeat.findings.folder import MASKS
from compfeat.findings.identity_masks import write_identity_masks
from compfeat.findings.journal import Findings
from compfeat.findings.overlays import draw_tubes
from compfeat.findings.page import write_page
from compfeat.findings.table import write_table
from compfeat.inference.predictor import VideoPredictor
from compfeat.media.sinks import write_video
from compfeat.media.sources import FrameSource, open_frames
from compfeat.progress import ShowProgress
from compfeat.read_ahead import read_ahead
from compfeat.structures import Tube

Output = Literal["tracks", "overlay", "page", "results", "masks", "coco_video"]
AT_ONCE = ("page", "results", "coco_video")  # outputs that hold all masks at once
HELD = 200_000  # masks: with more no browser opens a page, and no program reads a json
LISTS = ("results", "coco_video")  # outputs whose making takes a cell for each object in each frame of the video
CELLS = 20_000_000


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
