"""What a video costs: the whole way from an mp4 to results.json."""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Protocol

from compfeat.benchmarks.figures import report
from compfeat.benchmarks.inference import moving_noise, sure_predictor
from compfeat.evaluation.results import to_results
from compfeat.files import write_json
from compfeat.machine import best_device, peak_memory_gib
from compfeat.media.sinks import write_video
from compfeat.media.sources import open_frames
from compfeat.models.speed import speed_up
from compfeat.progress import progress
from compfeat.quantities import Count, Side


class VideoConfig(Protocol):
    """The keys of ``conf/benchmark/video.yaml``."""

    video_size: tuple[Side, Side]
    frames: Count
    bf16: bool
    data: Any
    model: Any


def video(cfg: VideoConfig) -> None:
    """Times decoding, detection, matching, masks and writing, as ``conf/benchmark/video.yaml`` describes."""
    device = best_device()
    predictor = sure_predictor(cfg.model, cfg.bf16, device)
    classes = range(1, cfg.model.detector.num_classes + 1)
    speed_up(predictor.detector, cfg.bf16)
    predictor.predict(list(moving_noise(4, *cfg.video_size)))  # what libraries do once
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, moving_noise(cfg.frames, *cfg.video_size), fps=30)
        began = perf_counter()
        for _ in open_frames(path):
            pass
        decoding = perf_counter() - began
        began = perf_counter()
        with progress("video", cfg.frames, "frames") as advance:
            tubes = predictor.predict(open_frames(path), advance)
        write_json(Path(folder) / "results.json", to_results(1, cfg.frames, tubes, classes))
        seconds = perf_counter() - began
    figures = {
        "device": device.type,
        "seconds": seconds,
        "frames_per_second": cfg.frames / seconds,
        "decoded_frames_per_second": cfg.frames / decoding,
        "peak_memory_gib": peak_memory_gib(device),
    }
    columns = ["", "s", "frames / s", "peak memory, GiB"]
    rows = [
        ["decoding alone", decoding, figures["decoded_frames_per_second"], ""],
        ["mp4 to results.json", seconds, figures["frames_per_second"], figures["peak_memory_gib"]],
    ]
    report(f"{cfg.frames} frames of {' x '.join(map(str, cfg.video_size))} on {device.type}", columns, rows, figures)
