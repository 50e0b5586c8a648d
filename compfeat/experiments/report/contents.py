"""What a report on the runs of a folder holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compfeat.experiments.comparison import Comparison, other_measurements, paper_comparisons
from compfeat.experiments.record import effective, processes
from compfeat.experiments.report import words
from compfeat.experiments.report.costs import RowCost, row_costs
from compfeat.experiments.report.curves import LOGGED, Logged, RowCurves, row_curves
from compfeat.experiments.report.errors import RowErrors, errors_by_evaluation
from compfeat.experiments.runs import MeasuredRun, measured_runs
from compfeat.experiments.tables import Table, paper_tables

SAID_OTHERWISE = {"_target_", "train_videos", "valid_videos", "test_videos", "length", "width", "height"}


@dataclass(frozen=True)
class Contents:
    """What a report says of the runs of a folder; rows come in the order of the paper's tables, then by name.

    Attributes:
        name: of the folder, which is that of the data set.
        built_in: whether the videos are drawn by the project itself.
        data: what the runs were trained and measured on, by what is said of it.
        comparisons: the paper's tables for which something was run.
        other: what was measured besides.
        errors: by evaluation.
        curves: by what was logged.
        videos: by their name, the runs that drew on them: of each row one, a finished one where there is one.
        costs: of rows of which runs finished.
        runs: all of them.
    """

    name: str
    built_in: bool
    data: Mapping[str, str]
    comparisons: Sequence[Comparison]
    other: Comparison | None
    errors: Mapping[str, Sequence[RowErrors]]
    curves: Mapping[Logged, Sequence[RowCurves]]
    videos: Mapping[str, Sequence[MeasuredRun]]
    costs: Sequence[RowCost]
    runs: Sequence[MeasuredRun]

    @classmethod
    def of(cls, folder: Path) -> "Contents":
        """What there is to say of the runs in a folder.

        Raises:
            FileNotFoundError: there are none.
            ValueError: two of them are of the same row and seed.
        """
        tables = paper_tables()
        runs = _in_order(measured_runs(folder), tables)
        if not runs:
            found = (path for at in ("run.json", "*/*/run.json") for path in folder.resolve().glob(at))
            near = sorted({path.parents[1] for path in found})
            there = "train rows first, python train.py sweep=table1" if folder.is_dir() else "there is no such folder"
            instead = " or ".join(f"runs={one}" for one in near) or there
            raise FileNotFoundError(f"no ROW-SEED/run.json in {folder}: {instead}")
        _require_apart(runs)
        logs = [(one, one.curves()) for one in runs]
        return cls(
            name=folder.resolve().name,
            built_in=any(_data_config(one).get("generator") for one in runs),
            data=_data(runs),
            comparisons=paper_comparisons(tables, runs),
            other=other_measurements(tables, runs),
            errors=errors_by_evaluation(runs),
            curves={logged: curves for logged in LOGGED if (curves := row_curves(logs, logged.name))},
            videos=_videos(runs),
            costs=row_costs(runs),
            runs=runs,
        )

    @property
    def unfinished(self) -> list[MeasuredRun]:
        return [one for one in self.runs if one.run.status != "finished"]

    @property
    def unmeasured(self) -> list[MeasuredRun]:
        return [one for one in self.runs if one.unmeasured]

    @property
    def different(self) -> list[str]:
        """What finished runs should have in common and have not, each with who has which: all of them the annotations,
        what they start from, how they are trained and measured, those of a row the code, the network and the data."""
        finished = [one for one in self.runs if one.run.status == "finished"]
        told = [_differing({one.folder.name: _training(one) for one in finished})]
        for row in dict.fromkeys(one.run.name for one in finished):
            told.append(_differing({one.folder.name: _made(one) for one in finished if one.run.name == row}))
        for split in dict.fromkeys(split for one in finished for split in one.run.data):  # a run need not tell of each
            having = [one for one in finished if split in one.run.data]
            told.append(_differing({o.folder.name: {"annotations": {split: o.run.data[split][:8]}} for o in having}))
        for evaluation in dict.fromkeys(evaluation for one in finished for evaluation in one.metrics):
            having = [one for one in finished if evaluation in one.metrics and evaluation in one.ways]
            told.append(_differing({o.folder.name: {evaluation: o.ways[evaluation]} for o in having}))
        return [line for lines in told for line in lines]


def _in_order(runs: Sequence[MeasuredRun], tables: Sequence[Table]) -> list[MeasuredRun]:
    rows = list(dict.fromkeys(row.row for table in tables for row in table.rows))
    return sorted(runs, key=lambda one: rows.index(one.run.name) if one.run.name in rows else len(rows))


def _require_apart(runs: Sequence[MeasuredRun]) -> None:
    seen: dict[tuple[str, int], Path] = {}
    for one in runs:
        other = seen.setdefault((one.run.name, one.run.seed), one.folder)
        if other != one.folder:
            raise ValueError(
                f"{other} and {one.folder} are both {one.run.name} with seed {one.run.seed}: a report compares rows "
                "over different seeds, so move one of them away"
            )


def _training(one: MeasuredRun) -> dict[str, Any]:
    """What says how a run was trained, whatever its row and seed are."""
    config = one.run.config
    return {
        "weights": one.run.weights[:8] if one.run.weights else config.get("weights"),
        "processes": processes(config),
        "steps": one.run.steps,
        "trainer": config.get("trainer", {}),
        "module": config.get("module", {}),
    }


def _made(one: MeasuredRun) -> dict[str, Any]:
    """What says which network it is, and of which data, whatever its seed is."""
    return {"commit": words.commit(one.run.commit)} | {key: one.run.config.get(key, {}) for key in ("model", "data")}


def _differing(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The keys of which configs, by run, have different values: "weights: 0a1b2c3d of a-0, a-1; coco of b-0"."""
    seeds = {"data.seed", "module.seed"}
    flat = {run: {k: v for k, v in effective(config) if k not in seeds} for run, config in configs.items()}
    told = []
    for key in dict.fromkeys(key for config in flat.values() for key in config):
        runs: dict[str, list[str]] = {}
        for run, config in flat.items():
            runs.setdefault(str(config.get(key)), []).append(run)
        if len(runs) > 1:
            told.append(f"{key}: " + "; ".join(f"{value} of {', '.join(names)}" for value, names in runs.items()))
    return told


def _videos(runs: Sequence[MeasuredRun]) -> dict[str, list[MeasuredRun]]:
    shown: dict[str, dict[str, MeasuredRun]] = {}
    for one in sorted(runs, key=lambda one: one.run.status != "finished"):
        for name in one.videos():
            shown.setdefault(name, {}).setdefault(one.run.name, one)
    return {name: sorted(of_video.values(), key=runs.index) for name, of_video in sorted(shown.items())}


def _data(runs: Sequence[MeasuredRun]) -> dict[str, str]:
    """Each thing that can be said of the data, once where it is the same for all runs."""
    said: dict[str, dict[str, None]] = {}
    for one in runs:
        for what, told in described(one).items():
            said.setdefault(what, {})[told] = None
    return {what: "; ".join(told) for what, told in said.items()} | _told_annotations(runs)


def described(one: MeasuredRun) -> dict[str, str]:
    """What can be said of the data of a run."""
    config = _data_config(one)
    split = config.get("test_split") or config.get("val_split")
    told = {}
    if (one.folder / "holdout.txt").is_file():
        told["Measured on"] = f"videos held out from {config.get('train_split')}, named in the runs' holdout.txt"
    elif split:
        reserved = "for final numbers, nothing is chosen on it" if config.get("test_split") else "that of validation"
        told["Measured on"] = f"split {split} ({reserved})"
    if knobs := config.get("generator"):
        measured_on, trained_on = knobs.get(f"{split}_videos"), knobs.get("train_videos")
        told["Videos"] = f"{measured_on} of {knobs['length']} frames, {trained_on} to train on"
        told["Setting"] = ", ".join(f"{knob} {value}" for knob, value in knobs.items() if knob not in SAID_OTHERWISE)
    if size := config.get("size"):
        told["Frames"] = f"within {size[0]} × {size[1]} pixels"
    return told | _told_annotations([one])


def _told_annotations(runs: Sequence[MeasuredRun]) -> dict[str, str]:
    splits: dict[str, dict[str, None]] = {}
    for one in runs:
        for split, digest in one.run.data.items():
            splits.setdefault(split, {})[digest[:8]] = None
    return {"Annotations": ", ".join(f"{split} {' or '.join(of)}" for split, of in splits.items())} if splits else {}


def _data_config(one: MeasuredRun) -> Mapping[str, Any]:
    return one.run.config.get("data", {})
