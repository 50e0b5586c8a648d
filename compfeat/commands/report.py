"""Compares evaluated runs over seeds."""

from pathlib import Path
from typing import Protocol

from rich.table import Table

from compfeat.commands.console import console
from compfeat.evaluation.tube_ap import Metric
from compfeat.experiments.spread import collect, spread


class ReportConfig(Protocol):
    """The keys of ``conf/report.yaml``."""

    runs: str
    metrics: list[Metric]


def report(cfg: ReportConfig) -> None:
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
    console.print(table)
