"""Measures a checkpoint."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from hydra.utils import instantiate

from compfeat.commands.console import console, print_table
from compfeat.commands.loading import load_predictor
from compfeat.data.holdout import write_ids
from compfeat.evaluation.results import to_results, write_results, zip_results
from compfeat.evaluation.tube_ap import METRICS, TubeEvaluation
from compfeat.progress import tracked
from compfeat.quantities import Seed


class EvaluateConfig(Protocol):
    """The keys of ``conf/evaluate.yaml``."""

    ckpt: str
    device: str
    output: str
    seed: Seed
    data: Any
    tracker: Any
    support: Any
    labels: Any


def evaluate(cfg: EvaluateConfig) -> None:
    """Prints the metrics of a checkpoint as ``conf/evaluate.yaml`` describes; writes them and results.json."""
    predictor = load_predictor(cfg)
    data = instantiate(cfg.data)
    data.prepare_data()
    data.setup("validate")
    if data.held_out is not None:
        write_ids(data.held_out, Path(cfg.output) / "holdout.txt")
    if predictor.categories != data.categories:
        raise ValueError(
            f"{cfg.ckpt} was trained for other classes ({_names(predictor.class_names)}) than the data has "
            f"({_names([c.name for c in data.categories])}): choose the data set it was trained on with data=..."
        )
    videos = data.val_dataloader()
    ids = [category.id for category in predictor.categories]
    results: list[dict] = []
    for video in tracked(videos, "evaluating", len(videos), "videos"):
        results += to_results(video.id, len(video.frames), predictor.predict(video.frames), ids)
    path = Path(cfg.output) / "results.json"
    write_results(results, path)
    zip_results(path)
    if data.ground_truth is None:
        console.print(f"[bold red]no ground truth in this split: nothing can be scored[/]; results in {path}")
        return
    scores = TubeEvaluation(data.ground_truth, results)
    (path.parent / "metrics.json").write_text(json.dumps(scores.metrics))
    print_table("tube AP and AR", {name: scores.metrics[name] for name in METRICS})
    print_table("AP by class", scores.per_class)
    console.print(f"results: {path} and {path.with_suffix('.zip').name}", soft_wrap=True)


def _names(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
