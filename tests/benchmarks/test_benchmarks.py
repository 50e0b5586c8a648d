"""That every benchmark runs and says what the README quotes; what it measures is for a quiet machine."""

import json

import pytest
from shell import command

SMALL = ["backbone=tiny", "data.size=[96,64]"]
FEW = ["scale.videos=4", "scale.objects=6", "scale.frames=4", "scale.pictures=2"]


@pytest.mark.parametrize(
    ("name", "arguments", "figures"),
    [
        ("feeding", [*SMALL, *FEW, "clips=1", "steps=2", "workers=1"], {"clips_per_second", "busy"}),
        ("inference", [*SMALL, "frames=3", "rounds=1"], {"ratio", "seconds", "peak_memory_gib"}),
        ("data", [*FEW, "repeats=1", "clips=4"], {"open_first_s", "clips_per_s", "worker_mb", "mask_iou_least"}),
        ("evaluation", [*FEW, "tubes=2", "rounds=1"], {"seconds", "their_seconds", "ratio", "peak_memory_gib"}),
        ("masks", ["width=96", "height=64", "sides=[4,40]", "frames=2", "rounds=1"], {"their_seconds", "ratio"}),
        ("training", [*SMALL, "clips=1", "steps=1"], {"ratio", "clips_per_second", "peak_memory_gib"}),
        ("video", [*SMALL, "video_size=[96,64]", "frames=6", "model.labels.detections=2"], {"frames_per_second"}),
    ],
)
def test_speed_is_measured(name, arguments, figures, cache_of_its_own, tmp_path):
    said = command("scripts/benchmark.py", name, *arguments, f"hydra.run.dir={tmp_path}", cache=cache_of_its_own).stdout
    measured = json.loads(said.splitlines()[-1])
    assert all(measured[figure] > 0 for figure in figures)


def test_no_step_is_timed_for_which_there_are_no_clips(cache_of_its_own, tmp_path):
    call = ["feeding", *SMALL, *FEW, "clips=1", "steps=16", f"hydra.run.dir={tmp_path}"]
    failed = command("scripts/benchmark.py", *call, cache=cache_of_its_own, code=2)
    assert "an epoch has 16 batches" in failed.stderr


def test_one_number_grows_at_a_time(cache_of_its_own, tmp_path):
    sizes = ["lengths=[10,20]", "support_frames=[2]", "objects=[3]", "batch_sizes=[3]", "frames=3"]
    call = ["growth", *SMALL, *sizes, f"hydra.run.dir={tmp_path}"]
    measured = json.loads(command("scripts/benchmark.py", *call, cache=cache_of_its_own).stdout.splitlines()[-1])
    measured.pop("machine")
    assert {name: list(cases) for name, cases in measured.items()} == {
        "frames of a video": ["10", "20"],
        "support frames": ["2"],
        "frames at once": ["3"],
        "objects of a frame": ["3"],
        "remembered objects": ["3"],
    }
    for cases in measured.values():
        assert all(case.get("ms a frame", case.get("ms a match")) > 0 for case in cases.values())
    assert all(case["MiB more"] >= 0 for case in measured["frames of a video"].values())


def test_all_figures_of_a_machine_are_taken_in_one_go(cache_of_its_own, tmp_path):
    few = "data.generator.train_videos=2 data.generator.valid_videos=2 data.generator.length=4 data.batch_size=2"
    masks = "scripts/benchmark.py masks width=96 height=64 sides=[4,40] frames=2 rounds=1"
    good = f"train.py {few} trainer.max_epochs=1 callbacks.overlays=null trainer.accelerator=cpu"
    parts = [
        *("~benchmarks", "~trainings"),
        f"+benchmarks={{masks: '{masks}'}}",
        f"+trainings={{good: '{good}', bad: 'train.py trainer.max_epoch=1'}}",
    ]
    few_frames = ["frames=2", "steps=2", f"hydra.run.dir={tmp_path}"]
    said = command("scripts/benchmark.py", "device", *SMALL, *few_frames, *parts, cache=cache_of_its_own)
    figures = json.loads(said.stdout.splitlines()[-1])
    tubes, losses, masks, good, bad = list(figures.values())[:5]
    assert tubes["with_equal_identity"] == tubes["boxes"] > 0 and tubes["most_pixels_moved"] == 0
    assert losses["first_loss"] > 0 and losses["most_relative_difference"] < 1e-5
    assert masks["ratio"] > 0 and good["steps"] == 1 and "max_epoch" in bad["failed"]


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
