"""Trains a network and measures it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import LearningRateMonitor, ProgressBar
from pytorch_lightning.loggers import Logger

from compfeat.categories import coco_class_map
from compfeat.commands.console import console
from compfeat.commands.starting_weights import ROOT, make_weights, maker_of
from compfeat.data.datamodule import VISDataModule
from compfeat.data.holdout import write_ids
from compfeat.experiments.dashboard import Dashboard, told
from compfeat.experiments.measurement import begin, measure, measured_before
from compfeat.experiments.record import Run, RunRecorder, commit_of, differences
from compfeat.experiments.run_folder import alone_in, clear, set_curves_aside
from compfeat.inference.checkpoint import read_run_state, strange
from compfeat.inference.predictor import VideoPredictor
from compfeat.machine import rank
from compfeat.models.weights import digest, load_pretrained, of_coco, require_weights
from compfeat.quantities import PathName, Seed
from compfeat.structures import Category
from compfeat.training.callbacks import BestOfFolder, WholeCheckpoints


class TrainConfig(Protocol):
    """The keys of ``conf/train.yaml``."""

    name: str
    seed: Seed
    weights: PathName | None
    weights_from: Mapping[str, str] | None
    resume: PathName | None
    rerun: bool
    data: Any
    model: Any
    module: Any
    trainer: Any
    callbacks: Any
    logger: Any
    evaluations: Any


def train(cfg: TrainConfig) -> float | None:
    """Trains and measures a network as ``conf/train.yaml`` describes; returns the best validation AP, for sweeps.

    Raises:
        OtherRun: the folder holds a run with another config, and is not to be trained in anew.
        ValueError: what the network starts from is not there and cannot be made; its checkpoints would be refused.
    """
    _require_one_model()
    _require_rebuildable(cfg.model)
    folder = Path(cfg.trainer.default_root_dir)
    loggers = _each(cfg, "logger")
    with alone_in(folder):
        run = _run(cfg, folder)
        with told(run, loggers) as dashboards:
            if run.status == "finished":
                run.note_data(instantiate(cfg.data).digests(run.data), folder)
                console.print(f"{run.name}-{run.seed}: trained before, see {folder}", soft_wrap=True)
            else:
                with run.recorded(folder):
                    run.best = _fit(cfg, run, folder, loggers)
            if not cfg.trainer.fast_dev_run:
                run.write(folder)  # which tells what it is to be measured at
                for name, parts in cfg.evaluations.items():
                    _evaluate(cfg, run, parts, folder, name, dashboards)
    return run.best


def _require_one_model() -> None:
    """Raises ValueError where a row is asked for by its name, and to be another network than its name says."""
    given = HydraConfig.get()
    row = given.runtime.choices.get("experiment")
    if row and any(override.startswith("model=") for override in given.overrides.task):
        raise ValueError(f"experiment={row} says which model it is: give model= without it, or change keys of model")


def _require_rebuildable(model: Any) -> None:
    """Raises ValueError where the checkpoints of a model would be refused: now, not when it has been trained."""
    for fault in strange(OmegaConf.to_container(model, resolve=True)):
        raise ValueError(f"model: {fault}; what is your own is added to PARTS of compfeat/inference/checkpoint.py")


def _run(cfg: TrainConfig, folder: Path) -> Run:
    """The run that the folder holds, if it is to go on, else a new one."""
    config: Any = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[arg-type]
    before = None if cfg.rerun else Run.read(folder)
    if before is None:
        return Run(name=cfg.name, seed=cfg.seed, config=config)
    before.require_same(config, folder, cfg.weights and digest(cfg.weights))
    before.note_evaluations(config)
    return before


def _fit(cfg: TrainConfig, run: Run, folder: Path, loggers: list[Logger]) -> float | None:
    pl.seed_everything(cfg.seed, workers=True)
    last = folder / "checkpoints" / "last.ckpt"
    goes_on = run.steps > 0 and last.is_file()
    resume = str(last) if goes_on else cfg.resume
    state = None if resume is None else read_run_state(resume)  # Lightning would unpickle whatever is in the file
    run.note_commit(commit_of(ROOT), goes_on)
    callbacks = _each(cfg, "callbacks")
    shows_progress = any(isinstance(callback, ProgressBar) for callback in callbacks)
    if not loggers:  # whom it would tell
        callbacks = [callback for callback in callbacks if not isinstance(callback, LearningRateMonitor)]
    callbacks.append(BestOfFolder())
    if not cfg.trainer.fast_dev_run:
        callbacks.append(RunRecorder(run, folder))
    trainer = instantiate(
        cfg.trainer,
        callbacks=callbacks,
        logger=loggers,
        plugins=[WholeCheckpoints()],
        enable_progress_bar=shows_progress,
        _convert_="all",
    )
    if state is not None and not goes_on and 0 < (trainer.max_epochs or 0) <= _epochs(state):
        raise ValueError(f"{resume} has finished its {trainer.max_epochs} epochs: raise trainer.max_epochs to go on")
    weights = None if state is not None else cfg.weights  # a checkpoint holds all of them
    maker = maker_of(weights, cfg.weights_from)
    if weights is not None and maker is None:
        require_weights(weights)
    data: VISDataModule = instantiate(cfg.data)
    data.prepare_data()
    data.setup()
    run.note_data(data.fingerprint, folder)
    if data.held_out is not None:
        write_ids(data.held_out, folder / "holdout.txt")

    recipe = recipe_for(cfg.model, data.categories)
    if state is not None:
        _require_same_network(state["predictor"], recipe, f"{resume} cannot be gone on from")
    predictor = instantiate(recipe, _convert_="all")
    if not predictor.detector.uses_support:
        data.sampler.support_frames = 0  # not decoded in vain
    elif not data.sampler.support_frames:
        raise ValueError("data.sampler.support_frames=0: attention looks at support frames, and would have none")
    if weights is not None:
        if maker is not None:
            make_weights(maker, Path(weights))
        class_map = coco_class_map(data.categories) if of_coco(weights) else None
        names = [category.name for category in data.categories]
        console.print(str(load_pretrained(predictor.detector, weights, class_map, names)), soft_wrap=True)
    if state is None:
        run.weights = digest(weights) if weights else ""

    ground_truth = data.ground_truth
    if ground_truth is None:
        trainer.limit_val_batches = 0
    module = instantiate(cfg.module, _convert_="all")(predictor=predictor, recipe=recipe, ground_truth=ground_truth)
    if goes_on and state:
        set_curves_aside(folder, state["global_step"])
    elif not trainer.fast_dev_run:  # only now: a call that is wrong, or keeps none, costs nobody a network
        clear(folder, kept=resume)
        run.write(folder)
    del state  # as large as the network and its optimizer
    try:
        trainer.fit(module, data, ckpt_path=resume)
    except SystemExit:  # into which Lightning turns Ctrl-C
        if not trainer.interrupted:
            raise
        if last.is_file():
            again = f"resume={last}" if cfg.rerun else "the same line"
            console.print(f"kept up to step {run.steps}: {again} goes on", soft_wrap=True)
        raise KeyboardInterrupt from None

    if trainer.fast_dev_run:
        console.print("everything ran; no network is kept", soft_wrap=True)
    checkpoint = trainer.checkpoint_callback
    if trainer.fast_dev_run or checkpoint is None or checkpoint.best_model_score is None:
        return None
    console.print(f"best AP {checkpoint.best_model_score:.4f}: {checkpoint.best_model_path}", soft_wrap=True)
    return float(checkpoint.best_model_score)


def _evaluate(
    cfg: TrainConfig,
    run: Run,
    parts: Mapping[str, Any],
    folder: Path,
    name: str,
    dashboards: Sequence[Dashboard],
) -> None:
    """Measures the trained network in one way, on the videos that are for final numbers; once."""
    output, ckpt = folder / name, folder / "checkpoints" / "last.ckpt"
    way: Any = OmegaConf.to_container(parts, resolve=True)
    if rank() or measured_before(output, way, ckpt):
        return
    changes = {part: instantiate(value) for part, value in parts.items()}
    predictor = VideoPredictor.from_checkpoint(ckpt, _device(cfg.trainer), **changes)
    data: VISDataModule = instantiate(cfg.data)
    data.use_test_split()
    data.prepare_data()
    data.setup("validate")
    run.note_data(data.fingerprint, folder)
    run.write(folder)
    begin(output, way)
    measured = measure(partial(map, predictor.predict), data, output, f"{cfg.name}-{cfg.seed}, {name}")
    if measured is None:
        console.print(f"{cfg.name}-{cfg.seed}, {name}: no ground truth to measure by", soft_wrap=True)
        return
    for dashboard in dashboards:
        dashboard.log_evaluation(name, *measured)
    console.print(
        f"{cfg.name}-{cfg.seed}, {name}: AP {measured.scores.metrics['AP']:.4f}, see {output}", soft_wrap=True
    )


def _device(trainer: Any) -> torch.device:
    """The one on which a network is measured: where it was trained, also if that was another process."""
    if trainer.accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    numbered = isinstance(trainer.devices, Sequence) and not isinstance(trainer.devices, str)
    return torch.device("cuda", trainer.devices[0] if numbered else torch.cuda.current_device())


def _epochs(state: Mapping[str, Any]) -> int:
    """How many epochs were trained to their end when a checkpoint was written."""
    count: int = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    return count


def _require_same_network(before: Mapping[str, Any], recipe: Mapping[str, Any], refused: str) -> None:
    """Raises ValueError where the network of a checkpoint is not that of a recipe; how it is used may have changed."""
    if before.get("categories") != recipe["categories"]:
        raise ValueError(f"{refused}: it was trained for other classes than the data has")
    changes = differences(*({"model": {"detector": dict(each["detector"])}} for each in (before, recipe)))
    if changes:
        raise ValueError(f"{refused}: {changes}. Give the keys of that run again, or weights= in the place of resume=")


def recipe_for(model: Any, categories: Sequence[Category]) -> dict[str, Any]:
    """The config of a model completed by the classes of the data: what ``hydra.utils.instantiate`` builds it from."""
    recipe: Any = OmegaConf.to_container(model, resolve=True)
    recipe["categories"] = [asdict(category) for category in categories]
    recipe["detector"]["num_classes"] = len(categories)
    return recipe


def _each(cfg: TrainConfig, group: str) -> list[Any]:
    entries = getattr(cfg, group, None) or {}  # ~GROUP leaves it out
    return [instantiate(entry) for entry in entries.values() if entry is not None]  # name=null drops one
