"""Compares evaluated runs over seeds."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table


def report(cfg: DictConfig) -> None:
    """Prints mean and standard deviation over seeds as ``conf/report.yaml`` describes.

    Raises:
        FileNotFoundError: no evaluation is found.
    """
    groups = collect(Path(cfg.runs))
    if not groups:
        raise FileNotFoundError(f"no RUN-SEED/EVALUATION/metrics.json under {cfg.runs}: run scripts/evaluate.py first")
    table = Table(title=f"mean ± standard deviation over seeds, {cfg.runs}", title_justify="left")
    for column in ("run", "evaluation", "n", *cfg.metrics):
        table.add_column(column, justify="left" if column in ("run", "evaluation") else "right", no_wrap=True)
    for (run, evaluation), measured in groups.items():
        cells = [spread([metrics[name] for metrics in measured]) for name in cfg.metrics]
        table.add_row(run, evaluation, str(len(measured)), *cells)
    Console().print(table)


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
