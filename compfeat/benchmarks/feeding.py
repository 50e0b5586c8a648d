"""Whether the loader keeps up: how long training waits for clips from JPEG files."""

from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from compfeat.benchmarks.figures import report
from compfeat.benchmarks.synthetic import SPLIT, Scale, synthesise
from compfeat.benchmarks.training import StepsConfig, losses_of, stepper
from compfeat.data.clips.sampler import ClipSampler
from compfeat.data.datamodule import VISDataModule
from compfeat.machine import best_device
from compfeat.progress import tracked
from compfeat.quantities import Workers


class FeedingConfig(StepsConfig, Protocol):
    """The keys of ``conf/benchmark/feeding.yaml``."""

    root: str
    scale: Scale
    workers: Workers


def feeding(cfg: FeedingConfig) -> None:
    """Times steps and waits between them, as ``conf/benchmark/feeding.yaml`` describes; the first does not count."""
    torch.manual_seed(0)
    device = best_device()
    root = synthesise(Scale(**cfg.scale), Path(cfg.root))  # type: ignore[arg-type]  # a mapping there
    data = VISDataModule(
        str(root),
        train_split=SPLIT,
        val_split=SPLIT,
        size=tuple(cfg.model.size),
        sampler=ClipSampler(cfg.support_frames),
        batch_size=cfg.clips,
        one_clip_per="frame",
        workers=cfg.workers,
        cache=cfg.root,
    )
    data.setup("fit")
    loader = data.train_dataloader()
    if len(loader) <= cfg.steps:
        raise ValueError(f"steps={cfg.steps}: an epoch has {len(loader)} batches; more scale.videos, or fewer steps")
    recipe: Any = OmegaConf.to_container(cfg.model, resolve=True)
    detector = instantiate(recipe, _convert_="all").detector.to(device)
    step = stepper(cfg, detector)

    waiting = stepping = 0.0
    began = perf_counter()
    for number, batch in enumerate(tracked(islice(loader, cfg.steps + 1), "training", cfg.steps + 1, "steps")):
        came = perf_counter()
        step(partial(losses_of, detector, batch.to(device, non_blocking=True)))
        if device.type == "cuda":
            torch.cuda.synchronize()
        ended = perf_counter()
        if number:  # at the first workers start, and libraries do what they do once
            waiting, stepping = waiting + came - began, stepping + ended - came
        began = ended
    figures = {
        "device": device.type,
        "workers": cfg.workers,
        "seconds": (waiting + stepping) / cfg.steps,
        "clips_per_second": cfg.clips * cfg.steps / (waiting + stepping),
        "busy": stepping / (waiting + stepping),
    }
    rows = [["waiting for clips", waiting / cfg.steps], ["stepping", stepping / cfg.steps]]
    report(f"{cfg.clips} clips a step on {device.type}, {cfg.workers} workers", ["", "s / step"], rows, figures)
