"""Builds the page on which the rows of a table are compared on Weights & Biases."""

from pathlib import Path
from typing import Protocol

from compfeat.commands.console import console
from compfeat.experiments.runs import measured_runs
from compfeat.quantities import PathName


class DashboardConfig(Protocol):
    """The keys of ``conf/dashboard.yaml``."""

    runs: PathName
    entity: str
    project: str


def dashboard(cfg: DashboardConfig) -> None:
    """Saves the workspace that ``conf/dashboard.yaml`` describes, and prints where it is.

    Raises:
        FileNotFoundError: there are no runs.
        ValueError: the package that builds workspaces is not installed, or Weights & Biases refuses it.
    """
    runs = measured_runs(Path(cfg.runs))
    if not runs:
        raise FileNotFoundError(f"no runs under {cfg.runs}: run a table first, with logger=wandb")
    try:
        from compfeat.experiments.workspace import comparison_workspace
    except ImportError as error:
        raise ValueError("workspaces need a package more: pip install -e '.[dashboard]'") from error
    try:
        saved = comparison_workspace(cfg.entity, cfg.project, runs).save()
    except Exception as error:  # of the service or on the way to it
        raise ValueError(f"Weights & Biases did not take the workspace: {error}") from error
    console.print(f"compared at {saved.url}", soft_wrap=True)
