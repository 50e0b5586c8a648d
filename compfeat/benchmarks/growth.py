"""What a frame costs in inference as videos, their support frames, their objects and batches grow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch

from compfeat.benchmarks.figures import report
from compfeat.benchmarks.inference import moving_noise, sure_predictor
from compfeat.inference.predictor import VideoPredictor
from compfeat.inference.support import SupportBank
from compfeat.machine import best_device, forget_peak_memory, peak_memory_gib
from compfeat.models.detector import embedded
from compfeat.models.roi_heads import FRAME_STRIDE
from compfeat.models.speed import speed_up
from compfeat.progress import tracked
from compfeat.quantities import Count
from compfeat.structures import Detections

DETECTIONS = 10
LOOP = 50  # frames, which come again and again
MATCHES = 5  # of which the median is told


class GrowthConfig(Protocol):
    """The keys of ``conf/benchmark/growth.yaml``."""

    support_frames: list[Count]
    lengths: list[Count]
    objects: list[Count]
    batch_sizes: list[Count]
    frames: Count
    bf16: bool
    data: Any
    model: Any


def growth(cfg: GrowthConfig) -> None:
    """Times frames, and matches, as ``conf/benchmark/growth.yaml`` describes."""
    device = best_device()
    predictor = sure_predictor(cfg.model, cfg.bf16, device)
    speed_up(predictor.detector, cfg.bf16)
    video = NoiseVideo(cfg.frames, *cfg.model.size)
    predictor.predict(NoiseVideo(8, *cfg.model.size))  # what libraries do once
    ways: list[tuple[str, list[Count], Callable[[int], dict[str, float]]]] = [
        ("frames of a video", cfg.lengths, lambda n: _of_length(predictor, NoiseVideo(n, *cfg.model.size))),
        ("support frames", cfg.support_frames, lambda n: _with(predictor, video, predictor, "support", SupportBank(n))),
        ("frames at once", cfg.batch_sizes, lambda n: _with(predictor, video, predictor, "batch_size", n)),
        ("objects of a frame", cfg.objects, lambda n: _with(predictor, video, predictor.labels, "detections", n)),
        ("remembered objects", cfg.objects, lambda n: _matching(predictor, n, cfg.bf16)),
    ]
    cases = [(name, count, measured) for name, counts, measured in ways for count in counts]
    found = [(name, count, measured(count)) for name, count, measured in tracked(cases, "growing", len(cases), "cases")]
    columns = ["", "how many", "ms a frame", "ms a match", "MiB more"]
    rows = [[name, str(count), *(values.get(key, "") for key in columns[2:])] for name, count, values in found]
    figures = {name: {count: values for other, count, values in found if other == name} for name, _, _ in ways}
    report(f"growth on {device.type}, {' x '.join(map(str, cfg.model.size))}", columns, rows, figures)


@dataclass(frozen=True)
class NoiseVideo:
    """A video of any length that can be read again, and is never held as a whole."""

    frames: int
    width: int
    height: int

    def __iter__(self) -> Iterator[np.ndarray]:
        loop = list(moving_noise(min(self.frames, LOOP), self.width, self.height))
        return (loop[i % len(loop)] for i in range(self.frames))


def _of_length(predictor: VideoPredictor, video: NoiseVideo) -> dict[str, float]:
    """Memory is the process's peak, or the GPU's: how far it still rises after the first tenth of the video."""
    device = predictor.detector.mean.device
    forget_peak_memory(device)  # that of the cases before
    peaks: list[float] = []
    taken = _timed(lambda: predictor.predict(video, lambda _: peaks.append(1024 * peak_memory_gib(device))))
    return {"ms a frame": taken / video.frames, "MiB more": peaks[-1] - peaks[len(peaks) // 10]}


def _with(predictor: VideoPredictor, video: NoiseVideo, part: Any, name: str, value: Any) -> dict[str, float]:
    usual = getattr(part, name)
    setattr(part, name, value)
    taken = _timed(lambda: predictor.predict(video))
    setattr(part, name, usual)
    return {"ms a frame": taken / video.frames}


@torch.inference_mode()
def _matching(predictor: VideoPredictor, count: int, bf16: bool) -> dict[str, float]:
    """Ten detections against so many remembered objects; all the values are random."""
    device, (width, height) = predictor.detector.mean.device, predictor.size
    channels = predictor.detector.backbone.out_channels
    corners = torch.rand(DETECTIONS, 2, device=device) * torch.tensor([width, height], device=device) / 2
    raw = Detections(
        boxes=torch.cat([corners, 1.5 * corners + 16], 1),
        classes=torch.ones(DETECTIONS, 1, device=device),
        masks=torch.ones(DETECTIONS, 1, 28, 28, device=device),
        features=torch.randn(DETECTIONS, channels, 7, 7, device=device),
        frame=torch.randn(channels, -(-height // FRAME_STRIDE), -(-width // FRAME_STRIDE), device=device),
    )
    head = predictor.detector.track_head
    assert head is not None  # of the full model
    (detections,), references = embedded(head, [raw]), head.embed(torch.randn(count, channels, 7, 7, device=device))

    def match() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            predictor.detector.match(detections, references).cpu()

    return {"ms a match": median(_timed(match) for _ in range(MATCHES))}


def _timed(call: Callable[[], Any]) -> float:
    """Milliseconds; what a GPU was given has ended by then, for both calls end on the CPU."""
    began = perf_counter()
    call()
    return 1000 * (perf_counter() - began)
