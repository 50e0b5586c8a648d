"""What the evaluation of a whole split costs in time and memory."""

import statistics
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from pycocotools import mask as rle

from compfeat.benchmarks import report
from compfeat.benchmarks.synthetic import Scale, outlines, run_lengths
from compfeat.evaluation.tube_ap import TubeEvaluation
from compfeat.machine import peak_memory_gib
from compfeat.progress import tracked
from compfeat.quantities import Count


class EvaluationConfig(Protocol):
    """The keys of ``conf/benchmark/evaluation.yaml``."""

    scale: Scale
    classes: Count
    results: Count
    rounds: Count


def evaluation(cfg: EvaluationConfig) -> None:
    """Times the metrics of loaded json, ground truth and results, as ``conf/benchmark/evaluation.yaml`` describes."""
    truth, results = synthesise(Scale(**cfg.scale), cfg.results, cfg.classes)  # type: ignore[arg-type]
    seconds = []
    for _ in tracked(range(cfg.rounds), "evaluating", cfg.rounds, "rounds"):
        began = perf_counter()
        TubeEvaluation(truth, results)
        seconds.append(perf_counter() - began)
    median = statistics.median(seconds)
    figures = {
        "seconds": median,
        "results_per_second": len(results) / median,
        "peak_memory_gib": peak_memory_gib(torch.device("cpu")),
    }
    title = f"evaluation of {len(results)} tubes in {cfg.scale.videos} videos, median of {cfg.rounds}"
    report(title, ["s", "tubes / s", "peak memory, GiB"], [list(figures.values())], figures)


def synthesise(scale: Scale, results: int, classes: int) -> tuple[dict[str, Any], list[dict]]:
    """Ground truth and as many results a video, of random classes; tubes are drawn from ``scale.pictures`` ones."""
    rng = np.random.default_rng(0)
    size = [scale.height, scale.width]
    pool = [
        [{"size": size, "counts": run_lengths(outline, scale).tolist()} for outline in outlines(rng, scale)]
        for _ in tracked(range(scale.pictures), "synthesising", scale.pictures, "tubes")
    ]
    packed = [[_compressed(mask) for mask in tube] for tube in pool]

    def entry(video: int, tube: list[dict]) -> dict[str, Any]:
        return {"video_id": video, "category_id": int(rng.integers(1, classes + 1)), "segmentations": tube}

    def chosen() -> int:
        return int(rng.integers(scale.pictures))

    owners = [number % scale.videos for number in range(scale.objects)]
    truth = {
        "videos": [
            {"id": i, "width": scale.width, "height": scale.height, "file_names": [""] * scale.frames}
            for i in range(scale.videos)
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, classes + 1)],
        "annotations": [{"id": i, "iscrowd": 0} | entry(v, pool[chosen()]) for i, v in enumerate(owners, start=1)],
    }
    found = [
        entry(video, packed[chosen()]) | {"score": float(rng.random())}
        for video in range(scale.videos)
        for _ in range(results)
    ]
    return truth, found


def _compressed(mask: dict[str, Any]) -> dict[str, Any]:
    encoded = rle.frPyObjects(mask, *mask["size"])
    return {"size": mask["size"], "counts": encoded["counts"].decode("ascii")}
