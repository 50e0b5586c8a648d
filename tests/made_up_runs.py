"""Folders of runs that nobody has trained."""

import json

import numpy as np

from compfeat.evaluation.breakdown import KINDS
from compfeat.evaluation.tube_ap import METRICS
from compfeat.experiments.record import Run
from compfeat.media.sinks import write_video

GENERATOR = {"_target_": "compfeat.data.shapes.ShapesGenerator", "length": 12, "train_videos": 600, "test_videos": 240}
DATA = {"val_split": "valid", "test_split": "test", "size": [160, 96], "generator": {**GENERATOR, "degraded": 0.7}}
MACHINE = {"processor": "Some Processor", "cores": "2", "torch": "2.14.1"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_run(folder, row, seed, measured=None, curves=None, videos=(), errors=None, **facts):
    """Writes a run as training and measuring do it.

    Args:
        measured: by evaluation, by metric: fractions.
        curves: by name, the values of steps 1, 2, ...
        videos: the names of overlays, or frames by name.
        errors: by evaluation, by kind: fractions.
        facts: what differs from a run that finished.
    """
    defaults = {
        "config": {"data": DATA, "evaluations": dict.fromkeys(measured or (), {})},
        "commit": COMMIT,
        "data": {"train": "a" * 64, "valid": "b" * 64},
        "status": "finished",
        "began": "2026-11-20T10:00:00+00:00",
        "steps": 2400,
        "seconds": 1500.0,
        "peak_memory_gib": 1.5,
        "parameters": {"trained": 1_000_000, "all": 1_250_000},
        "machine": MACHINE,
    }
    place = folder / f"{row}-{seed}"
    Run(name=row, seed=seed, **defaults | facts).write(place)
    for evaluation, metrics in (measured or {}).items():
        (place / evaluation).mkdir()
        (place / evaluation / "metrics.json").write_text(json.dumps(dict.fromkeys(METRICS, -1.0) | metrics))
    for evaluation, gains in (errors or {}).items():
        content = {"overall": dict.fromkeys(KINDS, 0.0) | gains, "per_class": {}, "per_size": {}, "per_length": {}}
        (place / evaluation).mkdir(exist_ok=True)
        (place / evaluation / "breakdown.json").write_text(json.dumps(content))
    if curves:
        lines = zip(*curves.values(), strict=True)
        rows = [",".join(map(str, (step, *values))) for step, values in enumerate(lines, start=1)]
        (place / "metrics.csv").write_text("\n".join([",".join(("step", *curves)), *rows, ""]))
    for name in videos:
        grey = [np.full((32, 48, 3), 20 * i, np.uint8) for i in range(12)]
        write_video(place / "overlays" / f"{name}.mp4", videos[name] if isinstance(videos, dict) else grey, 6.0)
    return place
