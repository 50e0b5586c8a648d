"""Measures speed and memory."""

from collections.abc import Callable
from typing import Any

from compfeat.benchmarks.attention import attention
from compfeat.benchmarks.data import data
from compfeat.benchmarks.device import device
from compfeat.benchmarks.evaluation import evaluation
from compfeat.benchmarks.feeding import feeding
from compfeat.benchmarks.growth import growth
from compfeat.benchmarks.inference import inference
from compfeat.benchmarks.masks import masks
from compfeat.benchmarks.training import training
from compfeat.benchmarks.video import video
from compfeat.commands.launch import launch_named

BENCHMARKS: dict[str, Callable[[Any], None]] = {
    "attention": attention,
    "data": data,
    "device": device,
    "evaluation": evaluation,
    "feeding": feeding,
    "growth": growth,
    "inference": inference,
    "masks": masks,
    "training": training,
    "video": video,
}


def benchmark() -> None:
    """Launches the benchmark that the first argument names."""
    launch_named(BENCHMARKS, "benchmark")
