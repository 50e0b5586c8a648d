"""Finds the objects of a video."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from compfeat.commands.console import console
from compfeat.commands.loading import find_device, predictor_maker
from compfeat.commands.looking import LookConfig, chosen, find_objects, findings_in, known
from compfeat.commands.outputs import Output, write_outputs
from compfeat.findings.folder import JOURNAL, dated_folder, emptied
from compfeat.findings.journal import Findings
from compfeat.media.scenes import SceneCuts
from compfeat.media.sources import open_frames
from compfeat.progress import progress
from compfeat.quantities import PathName, Seconds

DATED = Path("outputs/predict")  # here folders are made where none is given
NAMED = 5  # objects at most
written: set[Path] = set()  # by the videos of this call, of which -m takes several


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
    if folder in written and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ValueError(f"output={folder} has another video of this call, which would be lost: leave output= out")
    written.add(folder)
    with emptied(folder, frames.files):
        try:
            find_objects(predictor, frames, folder, outputs, progress)
        finally:  # whatever ended the video
            if (folder / JOURNAL).is_file():
                findings = findings_in(folder, predictor)
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
