"""Trains a network and measures it."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from compfeat.categories import coco_class_map
from compfeat.commands.console import console
from compfeat.data.holdout import write_ids
from compfeat.models.weights import load_pretrained


def train(cfg: DictConfig) -> float | None:
    """Trains a network as ``conf/train.yaml`` describes; returns the best validation AP, for sweeps."""
    pl.seed_everything(cfg.seed, workers=True)
    data = instantiate(cfg.data)
    data.prepare_data()
    data.setup()
    if data.held_out is not None:
        write_ids(data.held_out, Path(cfg.trainer.default_root_dir) / "holdout.txt")
    ground_truth = data.ground_truth

    cfg.model.categories = [{"id": c.id, "name": c.name} for c in data.categories]
    cfg.model.detector.num_classes = len(data.categories)
    if cfg.model.detector.backbone.frozen is None:
        cfg.model.detector.backbone.frozen = cfg.weights is not None
    recipe = OmegaConf.to_container(cfg.model, resolve=True)
    predictor = instantiate(recipe, _convert_="all")
    if cfg.weights is not None:
        source = str(cfg.weights)
        class_map = coco_class_map(data.categories) if source == "coco" or source.startswith("coco:") else None
        console.print(str(load_pretrained(predictor.detector, source.removeprefix("coco:"), class_map)))

    if not predictor.detector.uses_support:
        data.sampler.support_frames = 0  # not decoded in vain

    module = instantiate(cfg.module, _convert_="all")(predictor=predictor, recipe=recipe, ground_truth=ground_truth)
    unscored = {} if ground_truth else {"limit_val_batches": 0}
    trainer = instantiate(
        cfg.trainer, callbacks=_each(cfg.callbacks), logger=_each(cfg.logger), _convert_="all", **unscored
    )
    trainer.fit(module, data, ckpt_path=cfg.resume)

    checkpoint = trainer.checkpoint_callback
    if trainer.fast_dev_run or checkpoint is None or checkpoint.best_model_score is None:
        return None
    console.print(f"best AP {checkpoint.best_model_score:.4f}: {checkpoint.best_model_path}", soft_wrap=True)
    return float(checkpoint.best_model_score)


def _each(group: DictConfig | None) -> list[Any]:
    return [instantiate(entry) for entry in (group or {}).values() if entry is not None]  # name=null drops one
