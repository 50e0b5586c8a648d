"""All that is to be known of a machine with a GPU, in one go."""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Protocol

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from compfeat.benchmarks.inference import moving_noise, sure_predictor
from compfeat.benchmarks.training import losses_of, noise
from compfeat.inference.predictor import VideoPredictor
from compfeat.machine import best_device, description
from compfeat.models.detector import CompFeat
from compfeat.progress import progress
from compfeat.quantities import Count

ROOT = Path(__file__).resolve().parents[2]


class DeviceConfig(Protocol):
    """The keys of ``conf/benchmark/device.yaml``."""

    frames: Count
    steps: Count
    benchmarks: Mapping[str, str]
    trainings: Mapping[str, str]
    optimizer: Any
    data: Any
    model: Any


def device(cfg: DeviceConfig) -> None:
    """Compares what the GPU computes with what the CPU does, and runs what ``conf/benchmark/device.yaml`` names.

    Each part is told as soon as it is done: who stops it keeps the others. What fails is told too, and stops nothing.
    Without a GPU the CPU takes its place.
    """
    figures: dict[str, Any] = {}

    def done(name: str, what: Mapping[str, Any], began: float) -> None:
        figures[name] = what
        print(f"{name} ({perf_counter() - began:.0f} s): {_words(what)}", flush=True)
        advance(1)

    with progress("measuring", 2 + len(cfg.benchmarks) + len(cfg.trainings), "parts") as advance:
        began = perf_counter()
        done("GPU and CPU, tubes of one video", same_tubes(cfg), began)
        began = perf_counter()
        done("GPU and CPU, losses of the same steps", same_losses(cfg), began)
        for name, line in cfg.benchmarks.items():
            began = perf_counter()
            done(name, _benchmark(line), began)
        began = perf_counter()
        with TemporaryDirectory() as folder:
            runs = {name: _start(line, Path(folder, str(i))) for i, (name, line) in enumerate(cfg.trainings.items())}
            for name, (process, output) in runs.items():
                done(name, _trained(process, output), began)
    print(json.dumps(figures | {"machine": description()}))


def same_tubes(cfg: DeviceConfig) -> dict[str, Any]:
    """How far the tubes that the GPU finds, in float32, are from those of the CPU."""
    here = sure_predictor(cfg.model, False, torch.device("cpu"))
    there = deepcopy(here)
    there.detector.to(best_device())
    frames = list(moving_noise(cfg.frames, *cfg.model.size))
    torch.backends.cudnn.allow_tf32 = False  # whose ten bits would be all that differs
    before, after = _boxes(here, frames), _boxes(there, frames)
    common = before.keys() & after.keys()
    moved = max((abs(a - b) for key in common for a, b in zip(before[key], after[key], strict=True)), default=0.0)
    return {"boxes": len(before), "with_equal_identity": len(common), "most_pixels_moved": moved}


def same_losses(cfg: DeviceConfig) -> dict[str, Any]:
    """The losses of a few steps on CPU and GPU, from one network on one batch; all RoIs are taken: none is drawn."""
    torch.manual_seed(0)
    model: Any = OmegaConf.to_container(cfg.model, resolve=True)
    model["detector"] |= {"rpn_batch_size": 10**6, "roi_batch_size": 10**6}
    here: CompFeat = instantiate(model, _convert_="all").detector
    there = deepcopy(here).to(best_device())
    batch = noise(2, 2, 2, *cfg.model.size)
    losses = [_losses(cfg, detector, batch.to(detector.mean.device)) for detector in (here, there)]
    differences = [abs(a - b) / abs(a) for a, b in zip(*losses, strict=True)]
    return {"steps": cfg.steps, "first_loss": losses[0][0], "most_relative_difference": max(differences)}


def _losses(cfg: DeviceConfig, detector: CompFeat, batch: Any) -> list[float]:
    optimizer = instantiate(cfg.optimizer)(detector.parameters())
    totals = []
    for _ in range(cfg.steps):
        total = torch.stack(losses_of(detector, batch)).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    return totals


def _boxes(predictor: VideoPredictor, frames: list) -> dict[tuple[int, int], tuple]:
    tubes = predictor.predict(frames)
    return {(t.track_id, frame): box for t in tubes for frame, box in zip(t.frames, t.boxes, strict=True)}


def _benchmark(line: str) -> dict[str, Any]:
    ended = subprocess.run([sys.executable, *shlex.split(line)], cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        return {"failed": _last_line(ended.stderr)}
    figures: dict[str, Any] = json.loads(_last_line(ended.stdout))
    figures.pop("machine")  # known
    return figures


def _start(line: str, folder: Path) -> tuple[subprocess.Popen, Path]:
    folder.mkdir()
    arguments = [*shlex.split(line), f"hydra.run.dir={folder}", "callbacks.progress=null"]
    with open(folder / "said", "w") as said:
        return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=said, stderr=said), folder


def _trained(process: subprocess.Popen, folder: Path) -> dict[str, Any]:
    if process.wait():
        return {"failed": _last_line((folder / "said").read_text())}
    run = json.loads((folder / "run.json").read_text())
    return {"AP": run["best"]} | {key: run[key] for key in ("steps", "seconds", "peak_memory_gib")}


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _words(figures: Mapping[str, Any]) -> str:
    words = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in figures.items()}
    return ", ".join(f"{name} {value}" for name, value in words.items())
