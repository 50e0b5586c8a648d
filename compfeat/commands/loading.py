"""The network of a checkpoint, as the commands that use one are told."""

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from compfeat.inference.predictor import VideoPredictor


def load_predictor(cfg: DictConfig) -> VideoPredictor:
    device = find_device(cfg.device)
    changes = {part: instantiate(cfg[part]) for part in ("tracker", "support") if cfg.get(part) is not None}
    return VideoPredictor.from_checkpoint(cfg.ckpt, device, **changes)


def find_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU where there is one, else the CPU.

    Raises:
        ValueError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0].split(". ")[0]
        raise ValueError(f"device={name} cannot be used: {reason}; device=auto takes what there is") from error
