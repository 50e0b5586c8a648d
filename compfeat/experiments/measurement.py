"""What is measured of results, and the files it is written to."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from compfeat.data.datamodule import VISDataModule
from compfeat.data.holdout import write_ids
from compfeat.evaluation.breakdown import Breakdown, breakdown
from compfeat.evaluation.results import to_results, zip_results
from compfeat.evaluation.tube_ap import TubeEvaluation
from compfeat.files import read_json, write_json
from compfeat.progress import tracked
from compfeat.structures import Tube

WAY = "evaluation.json"  # beside the numbers: how they were measured
Predict = Callable[[Iterable[Sequence[np.ndarray]]], Iterator[list[Tube]]]


class Measurement(NamedTuple):
    """How good results are, and what they would gain without errors of each kind."""

    scores: TubeEvaluation
    errors: Breakdown


def measure(predict: Predict, data: VISDataModule, output: Path, told: str) -> Measurement | None:
    """Predicts the validation videos of ``data``; writes results.json and its zip into ``output``, and what ``score``
    writes.

    Args:
        predict: gives the tubes of one video after the other.
        data: of the classes of the network.
        told: what its progress is called.

    Returns:
        None where there is no ground truth.
    """
    if data.held_out is not None:
        write_ids(data.held_out, output / "holdout.txt")
    videos = list(data.val_dataloader())
    ids = [category.id for category in data.categories]
    results: list[dict] = []
    found = predict(video.frames for video in videos)
    for video, tubes in zip(videos, tracked(found, told, len(videos), "videos"), strict=True):
        results += to_results(video.id, len(video.frames), tubes, ids)
    path = output / "results.json"
    write_json(path, results)
    zip_results(path)
    return None if data.ground_truth is None else score(data.ground_truth, results, output)


def score(truth: Mapping[str, Any], results: Sequence[dict], output: Path) -> Measurement:
    """Holds results against the ground truth; writes metrics.json and breakdown.json into ``output``.

    Raises:
        ResultsError: the results do not fit the ground truth.
    """
    measured = Measurement(TubeEvaluation(truth, results), breakdown(truth, results))
    write_json(output / "breakdown.json", asdict(measured.errors))
    write_json(output / "metrics.json", measured.scores.metrics)  # last: what has it was measured
    return measured


def begin(output: Path, way: Mapping[str, Any]) -> None:
    """Removes the numbers in ``output``, and writes there the config of the way in which those to come are measured."""
    for numbers in ("metrics.json", "breakdown.json"):
        (output / numbers).unlink(missing_ok=True)
    write_json(output / WAY, way, indent=1)


def measured_before(output: Path, way: Mapping[str, Any], checkpoint: Path) -> bool:
    """Whether ``output`` holds numbers of a checkpoint as it is, or was, measured in a way that has this config.

    Numbers that cannot be read are none. Those beside which no way was written are of an earlier version, and taken as
    they are.
    """
    metrics = output / "metrics.json"
    if not metrics.is_file() or (checkpoint.is_file() and metrics.stat().st_mtime <= checkpoint.stat().st_mtime):
        return False
    try:
        read_json(metrics)
        return not (output / WAY).is_file() or read_json(output / WAY) == way
    except ValueError:
        return False
