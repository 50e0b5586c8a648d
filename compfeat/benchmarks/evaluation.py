"""What the evaluation of a whole split costs in time and memory, against the YouTube-VIS reference evaluator."""

from typing import Any, Protocol

import numpy as np
import torch
from pycocotools import mask as rle

from compfeat.benchmarks.figures import report
from compfeat.benchmarks.paired import compare
from compfeat.benchmarks.synthetic import Scale, outlines, run_lengths
from compfeat.benchmarks.ytvis_reference import reference_metrics
from compfeat.evaluation.tube_ap import METRICS, TubeEvaluation
from compfeat.machine import peak_memory_gib
from compfeat.masks import json_rle
from compfeat.progress import tracked
from compfeat.quantities import Count


class EvaluationConfig(Protocol):
    """The keys of ``conf/benchmark/evaluation.yaml``."""

    scale: Scale
    classes: Count
    results: Count
    tubes: Count
    rounds: Count


def evaluation(cfg: EvaluationConfig) -> None:
    """Times the metrics of loaded json, ground truth and results, as ``conf/benchmark/evaluation.yaml`` describes.

    The memory is that of ours alone.

    Raises:
        RuntimeError: one of the twelve numbers is not that of the reference evaluator.
    """
    truth, results = synthesise(Scale(**cfg.scale), cfg.results, cfg.tubes, cfg.classes)  # type: ignore[arg-type]
    metrics = TubeEvaluation(truth, results).metrics
    memory = peak_memory_gib(torch.device("cpu"))
    expected = dict(zip(METRICS, reference_metrics(truth, results), strict=True))
    if metrics != expected:
        raise RuntimeError(f"the metrics are {metrics}, those of the reference evaluator {expected}")
    seconds = compare(lambda: TubeEvaluation(truth, results), lambda: reference_metrics(truth, results), cfg.rounds)
    ours, theirs = seconds.figures["seconds"], seconds.figures["their_seconds"]
    figures = {
        **seconds.figures,
        "results_per_second": len(results) / ours,
        "peak_memory_gib": memory,
        "equal_to_the_reference": metrics,
    }
    rows = [
        ["reference", theirs, len(results) / theirs, ""],
        ["ours", ours, len(results) / ours, memory],
        ["ratio", seconds.ratio, 1 / seconds.ratio, ""],
    ]
    title = f"evaluation of {len(results)} tubes in {cfg.scale.videos} videos, median of {cfg.rounds} rounds"
    report(title, ["", "s", "tubes / s", "peak memory, GiB"], rows, figures)


def synthesise(scale: Scale, results: int, tubes: int, classes: int) -> tuple[dict[str, Any], list[dict]]:
    """Ground truth and as many results a video, which show so many different tubes.

    Objects are found, a little too large or too small, under their classes; the other tubes are of nothing. Where
    there are more results than tubes, each tube is listed under several classes. Pictures of tubes are drawn from
    ``scale.pictures`` ones.

    Raises:
        ValueError: there are not so many different pictures.
    """
    if tubes > scale.pictures:
        raise ValueError(f"{tubes} different tubes cannot be drawn from {scale.pictures} pictures")
    rng = np.random.default_rng(0)
    pool = [
        _true_and_found(rng, scale) for _ in tracked(range(scale.pictures), "synthesising", scale.pictures, "tubes")
    ]
    annotations: list[dict] = []
    entries: list[dict] = []
    for video in range(scale.videos):
        objects = len(range(video, scale.objects, scale.videos))
        pictures = rng.permutation(scale.pictures)
        shown = [int(pictures[i % len(pictures)]) for i in range(max(objects, tubes))]
        likeliest = rng.integers(classes, size=len(shown)).tolist()
        for i in range(objects):
            true, _ = pool[shown[i]]
            areas = [sum(mask["counts"][1::2]) for mask in true]
            annotation = {"id": len(annotations) + 1, "iscrowd": 0, "segmentations": true, "areas": areas}
            annotations.append(annotation | {"video_id": video, "category_id": likeliest[i] + 1})
        for i in range(results):
            tube, further = i % tubes, i // tubes
            _, found = pool[shown[tube]]
            listed = {"category_id": (likeliest[tube] + further) % classes + 1, "score": float(rng.random())}
            entries.append({"video_id": video, "segmentations": found} | listed)
    size = {"width": scale.width, "height": scale.height, "file_names": [""] * scale.frames}
    truth = {
        "videos": [{"id": video} | size for video in range(scale.videos)],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, classes + 1)],
        "annotations": annotations,
    }
    return truth, entries


def _true_and_found(rng: np.random.Generator, scale: Scale) -> tuple[list[dict], list[dict]]:
    """An object's masks, uncompressed as YouTube-VIS ships them, and the compressed ones of a tube that is of it."""
    size, growth = [scale.height, scale.width], rng.uniform(0.75, 1.25)
    true, found = [], []
    for outline in outlines(rng, scale):
        centre = outline.mean(0)
        true.append({"size": size, "counts": run_lengths(outline, scale).tolist()})
        counts = run_lengths(centre + growth * (outline - centre), scale).tolist()
        found.append(json_rle(rle.frPyObjects({"size": size, "counts": counts}, *size)))
    return true, found
