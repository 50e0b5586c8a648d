"""What CompFeat costs in inference: against torchvision's Mask R-CNN with the same backbone, frames and proposals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from compfeat.benchmarks.figures import report
from compfeat.benchmarks.paired import compare
from compfeat.benchmarks.trace import write_trace
from compfeat.benchmarks.twin import torchvision_twin
from compfeat.inference.predictor import VideoPredictor
from compfeat.machine import best_device, peak_memory_gib
from compfeat.models.speed import speed_up
from compfeat.quantities import Count


class InferenceConfig(Protocol):
    """The keys of ``conf/benchmark/inference.yaml``."""

    frames: Count
    rounds: Count
    bf16: bool
    trace: str | None
    data: Any
    model: Any


def inference(cfg: InferenceConfig) -> None:
    """Times whole videos as ``conf/benchmark/inference.yaml`` describes: from decoded frames to full-size masks.

    Both networks have the same random weights, and are sure that every proposal is an object, so that each frame has as
    many detections as it may have. Support frames are embedded for every video anew. Mask R-CNN is run as its users run
    it: frame by frame, in torch's own memory format, and on a CPU in float32 whatever CompFeat runs in.
    """
    device = best_device()
    predictor = sure_predictor(cfg.model, cfg.bf16, device)
    speed_up(predictor.detector, cfg.bf16)  # as `VideoPredictor.from_checkpoint` does
    frames = list(moving_noise(cfg.frames, *cfg.model.size))

    if cfg.trace is not None:
        return write_trace(lambda: predictor.predict(frames), Path(cfg.trace))
    predictor.predict(frames)
    memory = peak_memory_gib(device)  # before the other one needs any
    same = sure_predictor(cfg.model, cfg.bf16, device).detector
    theirs = torchvision_twin(same, cfg.model.size, cfg.model.labels.detections).eval()

    @torch.inference_mode()
    def reference() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=cfg.bf16 and device.type == "cuda"):
            for frame in frames:
                theirs([torch.from_numpy(frame).permute(2, 0, 1).to(device) / 255])

    seconds = compare(lambda: predictor.predict(frames), reference, cfg.rounds)
    figures = {
        "device": device.type,
        "frames": cfg.frames,
        **seconds.figures,
        "peak_memory_gib": memory,
    }
    rows = [
        ["Mask R-CNN", figures["their_seconds"] / cfg.frames, cfg.frames / figures["their_seconds"]],
        ["CompFeat", figures["seconds"] / cfg.frames, cfg.frames / figures["seconds"]],
        ["ratio", seconds.ratio, 1 / seconds.ratio],
    ]
    report(f"inference on {device.type}, median of {cfg.rounds} rounds", ["", "s / frame", "frames / s"], rows, figures)


def sure_predictor(model: Any, bf16: bool, device: torch.device) -> VideoPredictor:
    """A network of random weights that takes every proposal for an object: no frame has less to do than it may have."""
    torch.manual_seed(0)
    recipe: Any = OmegaConf.to_container(model, resolve=True)
    predictor: VideoPredictor = instantiate(recipe, bf16=bf16, _convert_="all")
    predictor.detector.roi_heads.box_predictor.cls_score.bias.data[1] = 5.0
    predictor.detector.to(device).eval()
    return predictor


def moving_noise(count: int, width: int, height: int) -> Iterator[np.ndarray]:
    """``count`` uint8 frames ``[height, width, 3]`` of a smooth random picture that moves."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 16 + 2, (width + 4 * count) // 16 + 2, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (width + 4 * count, height), interpolation=cv2.INTER_CUBIC)
    for i in range(count):
        yield np.ascontiguousarray(picture[:, 4 * i : 4 * i + width])
