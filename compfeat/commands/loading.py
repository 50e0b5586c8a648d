"""The network of a checkpoint, as the commands that use one are told."""

from typing import Any, Protocol

import torch
from hydra.utils import instantiate

from compfeat.inference.predictor import VideoPredictor
from compfeat.machine import best_device


class CheckpointConfig(Protocol):
    """The keys of every command that uses a checkpoint."""

    ckpt: Any
    device: str
    bf16: bool
    tracker: Any
    support: Any
    labels: Any


def load_predictor(cfg: CheckpointConfig) -> VideoPredictor:
    """The predictor of a checkpoint on its device, with the tracker, support policy and labels of the call, if any."""
    parts = {name: getattr(cfg, name, None) for name in ("tracker", "support", "labels")}
    changes = {name: instantiate(part) for name, part in parts.items() if part is not None}
    device = find_device(cfg.device)
    return VideoPredictor.from_checkpoint(cfg.ckpt, device, bf16=cfg.bf16, **changes)


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
