"""Measures a checkpoint, or the results of any other system."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate

from compfeat.commands.console import console, print_table
from compfeat.commands.loading import find_devices, predictor_maker, require_classes
from compfeat.commands.resolvers import changed
from compfeat.data.datamodule import VISDataModule
from compfeat.evaluation.breakdown import KINDS
from compfeat.evaluation.results import read_results
from compfeat.evaluation.tube_ap import METRICS, Results, Truth
from compfeat.experiments.dashboard import Dashboard
from compfeat.experiments.measurement import Measurement, Predict, measure, score
from compfeat.experiments.record import Run
from compfeat.experiments.run_folder import run_folder
from compfeat.files import write_json
from compfeat.inference.shares import predict_in_shares
from compfeat.quantities import Count, PathName, Seed

UNTOLD = ("ckpt", "device", "devices", "output", "tracking")  # say nothing of what is measured of which videos


class EvaluateConfig(Protocol):
    """The keys of ``conf/evaluate.yaml``."""

    ckpt: PathName | None
    results: PathName | None
    tracking: bool
    device: str
    devices: Count | None
    bf16: bool
    output: PathName
    seed: Seed
    data: Any
    tracker: Any
    support: Any
    labels: Any


def evaluate(cfg: EvaluateConfig) -> None:
    """Prints how good a checkpoint, or a results.json, is as ``conf/evaluate.yaml`` describes, and writes it.

    Raises:
        FileNotFoundError: there are no such results.
        ValueError: neither or both are given, the checkpoint is of other classes than the data, or the package that
            computes what ``tracking`` asks for is not installed.
        AnnotationError: the ground truth is not in the YouTube-VIS format.
        ResultsError: the results do not fit the ground truth.
    """
    if cfg.ckpt is None and cfg.results is None:
        raise ValueError("what is to be measured must be given: add ckpt=PATH or results=PATH")
    if cfg.ckpt is not None and cfg.results is not None:
        raise ValueError("ckpt= and results= are both given: leave one of them out")
    tracking_metrics = _tracking_metrics() if cfg.tracking else None  # what is missing is told first
    output = Path(cfg.output)
    if cfg.results is not None:
        results = read_results(cfg.results)
        truth = _truth(instantiate(cfg.data))
        _tell(score(truth, results, output), output)
        if tracking_metrics:
            _tell_tracking(tracking_metrics(truth, results), output)
        return
    make, devices = predictor_maker(cfg), find_devices(cfg.device, cfg.devices)
    predictor = make(devices[0])
    data: VISDataModule = instantiate(cfg.data)
    data.prepare_data("validate")
    data.setup("validate")
    require_classes(predictor, str(cfg.ckpt), data.categories)
    predict: Predict = partial(map, predictor.predict)  # in this process
    if len(devices) > 1:
        predict = partial(predict_in_shares, make, devices=devices)
    measured = measure(predict, data, output, "evaluating")
    if measured is None:
        console.print("no ground truth in this split: nothing can be scored", style="bold red")
        console.print(f"results in {output}", soft_wrap=True)
        return
    _tell(measured, output)
    if tracking_metrics and (ground_truth := data.ground_truth):
        _tell_tracking(tracking_metrics(ground_truth, output / "results.json"), output)
    console.print(f"results: {output / 'results.json'} and results.zip", soft_wrap=True)
    _tell_dashboard(cfg, data, measured)  # last: whatever the run's folder holds, the numbers have been told


def _truth(data: VISDataModule) -> dict:
    """The annotations of the videos to validate on, whether or not their frames are on disk."""
    data.prepare_data("validate")
    data.choose_validation()
    truth = data.ground_truth
    if truth is None:
        raise ValueError(
            f"there is no ground truth in {data.val_annotations.path}: nothing can be scored; "
            "data.val_split=NAME takes another split"
        )
    return truth


def _tell(measured: Measurement, output: Path) -> None:
    scores, errors = measured
    print_table("tube AP and AR", {name: scores.metrics[name] for name in METRICS})
    print_table("AP by class", scores.per_class)
    print_table("AP to be gained if one kind of error were repaired", {kind: errors.overall[kind] for kind in KINDS})
    console.print(f"by class, size and length: {output / 'breakdown.json'}", soft_wrap=True)


def _tracking_metrics() -> Callable[[Truth, Results], dict[str, float]]:
    try:
        from compfeat.evaluation.tracking import tracking_metrics
    except ImportError as error:
        raise ValueError("HOTA, IDF1 and track mAP need a package more: pip install -e '.[metrics]'") from error
    return tracking_metrics


def _tell_tracking(metrics: Mapping[str, float], output: Path) -> None:
    """Prints metrics of tracking, and writes them to tracking.json in ``output``."""
    write_json(output / "tracking.json", metrics)
    print_table("tracking, mean over classes", metrics)


def _tell_dashboard(cfg: EvaluateConfig, data: VISDataModule, measured: Measurement) -> None:
    """Adds what was measured to the page of the run that the checkpoint is of, where it has one."""
    folder = run_folder(Path(str(cfg.ckpt)).resolve())
    run = Run.read(folder)
    dashboard = run and Dashboard.of(run, folder)
    if dashboard:
        dashboard.log_evaluation(_named(data), *measured)
        dashboard.close(failed=False)


def _named(data: VISDataModule) -> str:
    """Which videos were measured on, and in which way: "ytvis-valid+tracker-cues"."""
    given = HydraConfig.get()
    videos = given.runtime.choices["data"] if data.generator else data.folder.resolve().name
    ways = [override for override in given.overrides.task if override.partition("=")[0] not in UNTOLD]
    return changed(f"{videos}-{data.val_split}", ways)
