"""What CompFeat costs in inference: against torchvision's Mask R-CNN with the same backbone, frames and proposals."""

import statistics
from copy import deepcopy
from time import perf_counter
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

from compfeat.benchmarks import report
from compfeat.machine import peak_memory_gib
from compfeat.models.backbone import fold_norms
from compfeat.models.detector import CompFeat
from compfeat.progress import tracked
from compfeat.quantities import Count


class InferenceConfig(Protocol):
    """The keys of ``conf/benchmark/inference.yaml``."""

    frames: Count
    rounds: Count
    bf16: bool
    data: Any
    model: Any


def inference(cfg: InferenceConfig) -> None:
    """Times whole videos as ``conf/benchmark/inference.yaml`` describes: from decoded frames to full-size masks.

    Both networks have random weights and no score threshold, so that each frame has as many detections as it may have.
    Support frames are embedded for every video anew. Mask R-CNN is run as its users run it: frame by frame, in torch's
    own memory format, and on a CPU in float32 whatever CompFeat runs in. Rounds take turns, so that both see the same
    machine.
    """
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe: Any = OmegaConf.to_container(cfg.model, resolve=True)
    predictor = instantiate(recipe, bf16=cfg.bf16, _convert_="all")
    predictor.detector.to(device).eval()
    fold_norms(predictor.detector.backbone.body)  # as `VideoPredictor.from_checkpoint` does
    theirs = torchvision_twin(deepcopy(predictor.detector), instantiate(cfg.model.detector.backbone), cfg)
    theirs.to(device, memory_format=torch.contiguous_format).eval()
    frames = moving_noise(cfg.frames, *cfg.model.size)

    def ours() -> None:
        predictor.predict(frames)

    @torch.inference_mode()
    def reference() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=cfg.bf16 and device.type == "cuda"):
            for frame in frames:
                theirs([torch.from_numpy(frame).permute(2, 0, 1).to(device) / 255])

    seconds: dict[str, list[float]] = {"Mask R-CNN": [], "CompFeat": []}
    for warm_up in (reference, ours):
        warm_up()
    for _ in tracked(range(cfg.rounds), "timing", cfg.rounds, "rounds"):
        for name, run in (("Mask R-CNN", reference), ("CompFeat", ours)):
            began = perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append((perf_counter() - began) / len(frames))
    ratios = [ours / theirs for ours, theirs in zip(seconds["CompFeat"], seconds["Mask R-CNN"], strict=True)]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = statistics.median(ratios)
    figures = {
        "device": device.type,
        "mask_rcnn_seconds_per_frame": medians["Mask R-CNN"],
        "compfeat_seconds_per_frame": medians["CompFeat"],
        "ratio": ratio,
        "ratio_range": [min(ratios), max(ratios)],
        "peak_memory_gib": peak_memory_gib(device),
    }
    rows = [[name, value, 1 / value] for name, value in medians.items()] + [["ratio", ratio, 1 / ratio]]
    report(f"inference on {device.type}, median of {cfg.rounds} rounds", ["", "s / frame", "frames / s"], rows, figures)


def torchvision_twin(detector: CompFeat, backbone: nn.Module, cfg: InferenceConfig) -> MaskRCNN:
    """torchvision's Mask R-CNN with the same parts, sizes and limits."""
    heads = detector.roi_heads
    width, height = cfg.model.size
    proposals = cfg.model.detector.proposals
    box = heads.box_predictor
    assert isinstance(box, FastRCNNPredictor)
    return MaskRCNN(
        backbone,
        min_size=height,
        max_size=width,
        rpn_anchor_generator=detector.rpn.anchor_generator,
        rpn_head=detector.rpn.head,
        rpn_pre_nms_top_n_test=5 * proposals,
        rpn_post_nms_top_n_test=proposals,
        box_head=heads.box_head,
        box_predictor=box,
        mask_head=heads.mask_head,
        mask_predictor=heads.mask_predictor,
        box_score_thresh=heads.score_thresh,
        box_nms_thresh=heads.nms_thresh,
        box_detections_per_img=heads.detections_per_img,
    )


def moving_noise(count: int, width: int, height: int) -> list[np.ndarray]:
    """``count`` uint8 frames ``[height, width, 3]`` of a smooth random picture that moves."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 16 + 2, (width + 4 * count) // 16 + 2, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (width + 4 * count, height), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(picture[:, 4 * i : 4 * i + width]) for i in range(count)]
