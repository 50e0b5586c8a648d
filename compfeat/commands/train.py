"""Trains a network and measures it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ProgressBar

from compfeat.categories import coco_class_map
from compfeat.commands.console import console
from compfeat.data.holdout import write_ids
from compfeat.inference.checkpoint import read_run_state
from compfeat.models.weights import load_pretrained, require_weights
from compfeat.quantities import Seed
from compfeat.structures import Category


class TrainConfig(Protocol):
    """The keys of ``conf/train.yaml``."""

    name: str
    seed: Seed
    weights: str | None
    resume: str | None
    data: Any
    model: Any
    module: Any
    trainer: Any
    callbacks: Any
    logger: Any


def train(cfg: TrainConfig) -> float | None:
    """Trains a network as ``conf/train.yaml`` describes; returns the best validation AP, for sweeps."""
    pl.seed_everything(cfg.seed, workers=True)
    weights = cfg.weights and cfg.weights.removeprefix("coco:")
    if weights is not None:
        require_weights(weights)
    if cfg.resume is not None:
        read_run_state(cfg.resume)  # Lightning would unpickle whatever is in the file
    callbacks, loggers = _each(cfg.callbacks), _each(cfg.logger)
    shows_progress = any(isinstance(callback, ProgressBar) for callback in callbacks)
    trainer = instantiate(
        cfg.trainer, callbacks=callbacks, logger=loggers, enable_progress_bar=shows_progress, _convert_="all"
    )
    data = instantiate(cfg.data)
    data.prepare_data()
    data.setup()
    if data.held_out is not None:
        write_ids(data.held_out, Path(cfg.trainer.default_root_dir) / "holdout.txt")

    recipe = recipe_for(cfg.model, data.categories)
    predictor = instantiate(recipe, _convert_="all")
    if weights is not None:
        class_map = coco_class_map(data.categories) if str(cfg.weights).split(":")[0] == "coco" else None
        console.print(str(load_pretrained(predictor.detector, weights, class_map)), soft_wrap=True)
    if not predictor.detector.uses_support:
        data.sampler.support_frames = 0  # not decoded in vain

    ground_truth = data.ground_truth
    if ground_truth is None:
        trainer.limit_val_batches = 0
    module = instantiate(cfg.module, _convert_="all")(predictor=predictor, recipe=recipe, ground_truth=ground_truth)
    trainer.fit(module, data, ckpt_path=cfg.resume)

    checkpoint = trainer.checkpoint_callback
    if trainer.fast_dev_run or checkpoint is None or checkpoint.best_model_score is None:
        return None
    console.print(f"best AP {checkpoint.best_model_score:.4f}: {checkpoint.best_model_path}", soft_wrap=True)
    return float(checkpoint.best_model_score)


def recipe_for(model: Any, categories: Sequence[Category]) -> dict[str, Any]:
    """The config of a model completed by the classes of the data: what ``hydra.utils.instantiate`` builds it from."""
    recipe: Any = OmegaConf.to_container(model, resolve=True)
    recipe["categories"] = [{"id": c.id, "name": c.name} for c in categories]
    recipe["detector"]["num_classes"] = len(categories)
    return recipe


def _each(group: DictConfig | None) -> list[Any]:
    return [instantiate(entry) for entry in (group or {}).values() if entry is not None]  # name=null drops one
