"""The runs in a folder, with what was measured of them."""

import csv
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from compfeat.evaluation.breakdown import Breakdown
from compfeat.experiments.record import Run
from compfeat.files import read_json

log = logging.getLogger(__name__)

Curve = list[tuple[int, float]]  # (step, value)


@dataclass(frozen=True)
class MeasuredRun:
    """A run and what it was measured at.

    Attributes:
        folder: of the run.
        run: its record.
        metrics: by evaluation the numbers of ``compfeat.evaluation``, fractions.
        errors: by evaluation the AP to be gained by each kind of error, fractions.
        ways: by evaluation the config of the way in which it was measured; runs of earlier versions have none.
    """

    folder: Path
    run: Run
    metrics: Mapping[str, Mapping[str, float]]
    errors: Mapping[str, Mapping[str, float]]
    ways: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> "MeasuredRun | None":
        """The run of a folder; None where there is none. Says which measurements cannot be read.

        Raises:
            ValueError: as ``Run.read``.
        """
        run = Run.read(folder)
        if run is None:
            return None
        errors = {way: content.overall for way, content in _measured(folder, "breakdown", Breakdown).items()}
        metrics, ways = _measured(folder, "metrics", dict[str, float]), _measured(folder, "evaluation", dict[str, Any])
        return cls(folder, run, metrics, errors, ways)

    @property
    def unmeasured(self) -> list[str]:
        """The evaluations that a run was trained for and that were not measured, though it finished."""
        wanted = self.run.config.get("evaluations") or {}
        return [name for name in wanted if name not in self.metrics] if self.run.status == "finished" else []

    def curves(self) -> dict[str, Curve]:
        """What was logged, by name, also before the run was interrupted; says which files cannot be read."""
        aside = sorted(filter(_steps, self.folder.glob("metrics-*.csv")), key=_steps)
        starts = [0, *map(_steps, aside)]
        ends = [*map(_steps, aside), None]
        found: dict[str, Curve] = {}
        for path, start, end in zip([*aside, self.folder / "metrics.csv"], starts, ends, strict=True):
            for step, name, value in _logged(path):
                if start <= step and (end is None or step < end):  # what came after the last checkpoint is undone
                    found.setdefault(name, []).append((step, value))
        return found

    def classes(self) -> list[str]:
        """The names of the classes that were measured."""
        found = _measured(self.folder, "breakdown", Breakdown).values()
        return list(dict.fromkeys(name for content in found for name in content.per_class))

    def videos(self) -> dict[str, Path]:
        """Overlays of validation videos, by name."""
        return {path.stem: path for path in sorted((self.folder / "overlays").glob("*.mp4"))}


def measured_runs(folder: Path) -> list[MeasuredRun]:
    """The runs in a folder, those of one row together, by ascending seed; says which records cannot be read."""
    found = []
    for path in sorted(folder.glob("*/run.json")):
        try:
            one = MeasuredRun.read(path.parent)
        except ValueError as error:
            log.warning(f"left out: {error}")
        else:
            found += [one] if one else []
    return sorted(found, key=lambda measured: (measured.run.name, measured.run.seed))


def _logged(path: Path) -> list[tuple[int, str, float]]:
    """The (step, name, value) of all that a file of curves holds; of one that cannot be read, or is not there, none."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            lines = [*csv.DictReader(line for line in file if line.endswith("\n"))]  # one without was cut off
        found = [(int(line.pop("step")), line) for line in lines]
        return [(step, name, float(value)) for step, line in found for name, value in line.items() if value]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        log.warning(f"left out: {path} holds no curves ({type(error).__name__}: {error})")
        return []


def _measured(folder: Path, name: str, kind: Any) -> dict[str, Any]:
    """What a file of each evaluation holds, by evaluation; of that ``kind`` it must be."""
    found = {}
    for path in sorted(folder.glob(f"*/{name}.json")):
        try:
            found[path.parent.name] = TypeAdapter(kind).validate_python(read_json(path))
        except ValidationError:
            log.warning(f"left out: {path} is no {name} of this version")
        except ValueError as error:
            log.warning(f"left out: {error}")
    return found


def _steps(path: Path) -> int:
    """Up to which step what was set aside goes; 0 of a file that somebody has put there."""
    steps = path.stem.removeprefix("metrics-")
    return int(steps) if steps.isdecimal() else 0
