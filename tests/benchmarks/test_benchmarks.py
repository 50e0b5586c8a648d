"""That every benchmark runs and says what the README quotes; what it measures is for a quiet machine."""

import json

import pytest
from shell import command

SMALL = ["backbone=tiny", "data.size=[96,64]"]
FEW = ["scale.videos=4", "scale.objects=6", "scale.frames=4", "scale.pictures=2"]


@pytest.mark.parametrize(
    ("name", "arguments", "figures"),
    [
        ("inference", [*SMALL, "frames=3", "rounds=1"], {"ratio", "seconds", "peak_memory_gib"}),
        ("data", [*FEW, "repeats=1", "clips=4"], {"open_first_s", "clips_per_s", "worker_mb", "mask_iou_least"}),
        ("evaluation", [*FEW, "tubes=2", "rounds=1"], {"seconds", "their_seconds", "ratio", "peak_memory_gib"}),
        ("masks", ["width=96", "height=64", "sides=[4,40]", "frames=2", "rounds=1"], {"their_seconds", "ratio"}),
        ("training", [*SMALL, "clips=1", "steps=1"], {"ratio", "clips_per_second", "peak_memory_gib"}),
    ],
)
def test_speed_is_measured(name, arguments, figures, cache_of_its_own, tmp_path):
    said = command("scripts/benchmark.py", name, *arguments, f"hydra.run.dir={tmp_path}", cache=cache_of_its_own).stdout
    measured = json.loads(said.splitlines()[-1])
    assert all(measured[figure] > 0 for figure in figures)


@pytest.mark.parametrize("name", [["training", "clips=1"], ["inference", "frames=3"]])
def test_a_trace_says_where_time_goes(name, cache_of_its_own, tmp_path):
    trace = tmp_path / "new" / "trace.json"
    paths = [f"trace={trace}", f"hydra.run.dir={tmp_path}"]
    said = command("scripts/benchmark.py", *name, *SMALL, *paths, cache=cache_of_its_own).stdout
    assert "aten::" in said and str(trace) in said
    assert json.loads(trace.read_text())["traceEvents"]


def test_attention_never_holds_the_similarities(cache_of_its_own, tmp_path):
    size = ["height=32", "width=32", "channels=64", "support_frames=[8]", f"hydra.run.dir={tmp_path}"]
    said = command("scripts/benchmark.py", "attention", *size, cache=cache_of_its_own).stdout
    used = json.loads(said.splitlines()[-1])[str(8 * 32 * 32)]
    similarities = 32 * 32 * 8 * 32 * 32 * 4 / 2**20
    assert used["scaled_dot_product_mib"] < similarities / 2 < used["dense_mib"]
