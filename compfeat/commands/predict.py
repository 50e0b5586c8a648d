"""Finds the objects of a video."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from compfeat.commands.console import console
from compfeat.commands.loading import find_device, predictor_maker
from compfeat.evaluation.results import to_results, write_results
from compfeat.inference.predictor import VideoPredictor
from compfeat.inference.read_ahead import read_ahead
from compfeat.media.overlays import draw_tubes, overlay
from compfeat.media.scenes import SceneCuts
from compfeat.media.sinks import write_video
from compfeat.media.sources import Recording, open_frames
from compfeat.progress import progress
from compfeat.quantities import Count, Positive, Seconds, Share


class PredictConfig(Protocol):
    """The keys of ``conf/predict.yaml``."""

    ckpt: str
    video: str
    start: Seconds | None
    end: Seconds | None
    every: Count
    cuts: bool
    forget: Positive | None
    score: Share
    device: str
    bf16: bool
    output: str
    tracker: Any
    support: Any
    labels: Any


def predict(cfg: PredictConfig) -> None:
    """Writes overlay.mp4 and results.json of one video as ``conf/predict.yaml`` describes."""
    predictor = predictor_maker(cfg)(find_device(cfg.device))
    frames = open_frames(cfg.video, cfg.start, cfg.end, cfg.every)
    predictor.scenes = SceneCuts() if cfg.cuts else None
    predictor.tracker.keep_unseen = None if cfg.forget is None else round(cfg.forget * frames.fps)
    output = Path(cfg.output)
    if not isinstance(frames, Recording):  # cameras and streams cannot be read a second time, to be drawn on
        console.print(f"recording {output / 'overlay.mp4'} until it ends, or until Ctrl-C", soft_wrap=True)
        write_video(output / "overlay.mp4", _live(predictor, frames, cfg.score), frames.fps)
        return
    with progress(frames.name, frames.length, "frames") as advance:
        tubes = predictor.predict(frames, advance)
    length = len(frames.times)  # of the frames read, for a container may state a wrong one
    ids = [category.id for category in predictor.categories]
    write_results(to_results(1, length, tubes, ids), output / "results.json")
    drawn = [tube for tube in tubes if tube.score >= cfg.score]
    pictures = read_ahead(overlay(frames, drawn, predictor.class_names))
    write_video(output / "overlay.mp4", pictures, frames.fps, frames.times, frames.sound)
    console.print(f"drawn: {len(drawn)} of {len(tubes)} objects found, {output / 'overlay.mp4'}", soft_wrap=True)


def _live(predictor: VideoPredictor, frames: Iterable[np.ndarray], score: float) -> Iterator[np.ndarray]:
    """Draws on the frames of an endless source as they come; ends at Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        for index, frame in enumerate(frames):
            seen = [tube for tube in predictor.step(frame) if tube.score >= score]
            yield draw_tubes(frame, index, seen, predictor.class_names)
