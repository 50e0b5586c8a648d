"""The network of a checkpoint, as the commands that use one are told."""

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from compfeat.inference.predictor import VideoPredictor


def load_predictor(cfg: DictConfig) -> VideoPredictor:
    device = cfg.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    changes = {part: instantiate(cfg[part]) for part in ("tracker", "support") if cfg.get(part) is not None}
    return VideoPredictor.from_checkpoint(cfg.ckpt, device, **changes)
