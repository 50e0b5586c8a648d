"""What evaluated runs have in common: their metrics by run and evaluation, over seeds."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path


def collect(folder: Path) -> dict[tuple[str, str], list[Mapping[str, float]]]:
    """The metrics of every ``RUN-SEED/EVALUATION/metrics.json``, by run and evaluation."""
    groups: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for path in sorted(folder.glob("*-*/*/metrics.json")):
        run, _, _ = path.parent.parent.name.rpartition("-")
        groups.setdefault((run, path.parent.name), []).append(json.loads(path.read_text()))
    return groups


def spread(values: Sequence[float]) -> str:
    """``mean ± sample standard deviation`` to three places; the mean alone where there is one value."""
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def gain(values: Sequence[float], baseline: Sequence[float]) -> str:
    """Mean and standard error of the differences of runs of the same seeds, ``+mean ± error``, to three places."""
    differences = [value - base for value, base in zip(values, baseline, strict=True)]
    mean = f"{statistics.fmean(differences):+.3f}"
    if len(differences) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(differences) / math.sqrt(len(differences)):.3f}"
