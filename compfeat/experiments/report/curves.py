"""What was logged while rows were trained, thinned to what a small chart can show."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from compfeat.experiments.runs import Curve, MeasuredRun

STRETCHES = 60  # of training, each of which becomes one point


class Logged(NamedTuple):
    """A number that training logs, what it is, and the factor by which it is shown."""

    name: str
    title: str
    factor: float


LOGGED = (
    Logged("train/loss", "Training loss, the weighted sum of all losses that a row has", 1.0),
    Logged("train/match_accuracy", "Objects matched rightly with the reference frame in training, percent", 100.0),
    Logged("val/AP", "AP on the validation videos, points", 100.0),
)


@dataclass(frozen=True)
class RowCurves:
    """One logged number of the runs of a row, by training step.

    Attributes:
        row: the experiment.
        runs: the curve of each run, by seed, also of those that did not finish.
        mean: over the runs that finished, where all of them have a point.
    """

    row: str
    runs: Mapping[int, Curve]
    mean: Curve


def row_curves(logs: Sequence[tuple[MeasuredRun, Mapping[str, Curve]]], name: str) -> list[RowCurves]:
    """The curves of one logged number, row by row; rows without one that has two points are left out.

    Args:
        logs: the runs, each with all that it logged.
        name: of what is wanted.
    """
    logged = [(one, [point for point in log.get(name, []) if math.isfinite(point[1])]) for one, log in logs]
    last = max((curve[-1][0] for _, curve in logged if curve), default=0)
    rows: dict[str, dict[int, dict[int, tuple[int, float]]]] = defaultdict(dict)
    finished: dict[str, list[int]] = defaultdict(list)
    for one, curve in logged:
        if len(curve) > 1:
            rows[one.run.name][one.run.seed] = _thinned(curve, last)
            if one.run.status == "finished":
                finished[one.run.name].append(one.run.seed)
    return [
        RowCurves(row, {seed: list(points.values()) for seed, points in seeds.items()}, _mean(seeds, finished[row]))
        for row, seeds in rows.items()
    ]


def _thinned(curve: Curve, last: int) -> dict[int, tuple[int, float]]:
    """The mean step and value in each stretch in which there is something, by its number."""
    stretches: dict[int, Curve] = defaultdict(list)
    for step, value in curve:
        stretches[min(STRETCHES - 1, STRETCHES * step // max(1, last))].append((step, value))
    return {
        number: (round(fmean(step for step, _ in points)), fmean(value for _, value in points))
        for number, points in stretches.items()
    }


def _mean(seeds: Mapping[int, Mapping[int, tuple[int, float]]], finished: Sequence[int]) -> Curve:
    if not finished:
        return []
    common = set.intersection(*(set(seeds[seed]) for seed in finished))
    return [
        (
            round(fmean(seeds[seed][number][0] for seed in finished)),
            fmean(seeds[seed][number][1] for seed in finished),
        )
        for number in sorted(common)
    ]
