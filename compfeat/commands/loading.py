"""The network of a checkpoint, as the commands that use one are told."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from hydra.utils import instantiate

from compfeat.inference.predictor import VideoPredictor
from compfeat.machine import best_device
from compfeat.structures import Category


class CheckpointConfig(Protocol):
    """The keys of every command that uses a checkpoint."""

    ckpt: Any
    device: str
    bf16: bool
    tracker: Any
    support: Any
    labels: Any


def predictor_maker(cfg: CheckpointConfig) -> Callable[[torch.device], VideoPredictor]:
    """Builds the predictor of a checkpoint on a device, with the tracker, support policy and labels of the call."""
    parts = {name: getattr(cfg, name, None) for name in ("tracker", "support", "labels")}
    changes = {name: instantiate(part) for name, part in parts.items() if part is not None}
    return partial(VideoPredictor.from_checkpoint, cfg.ckpt, bf16=cfg.bf16, **changes)


def require_classes(predictor: VideoPredictor, ckpt: str, categories: Sequence[Category]) -> None:
    """Raises ValueError where a checkpoint was trained for other classes than those of the data."""
    if predictor.categories != categories:
        names = _names([category.name for category in categories])
        raise ValueError(
            f"{ckpt} was trained for other classes ({_names(predictor.class_names)}) than the data has ({names}): "
            "choose the data set it was trained on with data=..."
        )


def find_devices(name: str, count: int | None) -> list[torch.device]:
    """Devices to share work among: as many of the kind of ``name``; without a count all GPUs, or one CPU.

    Raises:
        ValueError: there are not so many.
    """
    first = find_device(name)
    if first.type == "cpu":
        return [first] * (count or 1)
    every = [torch.device(first.type, index) for index in range(torch.accelerator.device_count())]
    there = [first] if ":" in name else every
    if (count or 1) > len(there):
        raise ValueError(f"devices={count}: device={name} is {len(there)}")
    return there[:count]


def find_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU where there is one, else the CPU.

    Raises:
        ValueError: there is no such device.
    """
    if name == "auto":
        return best_device()
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0].split(". ")[0]
        raise ValueError(f"device={name} cannot be used: {reason}; device=auto takes what there is") from error


def _names(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
