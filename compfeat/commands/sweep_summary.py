"""What a sweep says at its end."""

from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from compfeat.commands.console import console
from compfeat.experiments.runs import measured_runs


class SweepSummary(Callback):
    """Hydra calls this when all jobs of a sweep are done."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Prints how each run in the sweep's folders stands, and what to type next."""
        for folder in _folders(config):
            self._tell(folder)

    def _tell(self, folder: Path) -> None:
        found = measured_runs(folder)
        if not found:
            return
        table = Table(title=f"runs in {folder}", title_justify="left")
        for column in ("run", "status", "steps", "minutes"):
            table.add_column(column, justify="right" if column in ("steps", "minutes") else "left", no_wrap=True)
        table.add_column("AP")  # of however many ways to measure, in as many lines as a terminal needs
        for measured in found:
            run = measured.run
            scores = ", ".join(f"{way}={metrics['AP']:.3f}" for way, metrics in measured.metrics.items())
            table.add_row(
                f"{run.name}-{run.seed}", run.status, str(run.steps), f"{run.seconds / 60:.1f}", scores or "-"
            )
        console.print(table)
        console.print(f"beside the paper's: python scripts/report.py runs={folder}", soft_wrap=True)
        if any(folder.glob("*/wandb/offline-run-*")):
            console.print(f"to the dashboard: wandb sync {folder}/*/wandb/offline-run-*", soft_wrap=True)


def _folders(config: DictConfig) -> list[Path]:
    """Where the jobs of a sweep have their runs: in several where data, or a key that makes other runs, was swept."""
    config = config.copy()
    OmegaConf.set_readonly(config.hydra, False)
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # which glob(...) asks for options
    own = config.hydra.sweeper.get("params") or {}  # of the sweep, which what is typed replaces
    given = [*(f"{key}={value}" for key, value in own.items()), *config.hydra.overrides.task]
    swept = {override.get_key_element(): override for override in parser.parse_overrides(given)}
    choices, found = config.hydra.runtime.choices, []
    for job in product(*map(_values, swept.values())):
        config.hydra.overrides.task = list(job)
        choices.update({group: value for group, _, value in (line.partition("=") for line in job) if group in choices})
        found.append(Path(config.hydra.sweep.dir))
    return list(dict.fromkeys(found))


def _values(override: Override) -> list[str]:
    """The lines by which an override is given to the jobs of a sweep."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
