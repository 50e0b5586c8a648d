"""What is collected of runs."""

import errno
import json
import os

import pytest

from compfeat.experiments.record import OtherRun, Run
from compfeat.experiments.run_folder import clear, set_curves_aside
from compfeat.experiments.runs import measured_runs
from compfeat.models.weights import digest


def test_curves_go_on_where_a_run_was_interrupted(tmp_path):
    folder = tmp_path / "row-0"
    Run(name="row", seed=0, config={}).write(folder)
    (folder / "metrics-old.csv").write_text("somebody's own")
    (folder / "metrics-20.csv").write_text("step,train/loss,val/AP\n9,3.0,\n19,2.0,\n29,9.0,\n")  # 29 was undone
    (folder / "metrics.csv").write_text("step,train/loss,lr\n29,1.0,\n39,0.5,0.1\n49,0.4,2e-")  # cut off by a kill
    (run,) = measured_runs(tmp_path)
    assert run.curves() == {"train/loss": [(9, 3.0), (19, 2.0), (29, 1.0), (39, 0.5)], "lr": [(39, 0.1)]}


def test_curves_of_a_run_that_was_interrupted_twice_in_one_epoch_are_whole(tmp_path):
    Run(name="row", seed=0, config={}).write(tmp_path / "row-0")
    curves = tmp_path / "row-0/metrics.csv"
    curves.write_text("step,train/loss\n9,3.0\n19,2.0\n29,9.0\n")
    set_curves_aside(tmp_path / "row-0", 20)
    curves.write_text("step,train/loss\n24,8.0\n")
    set_curves_aside(tmp_path / "row-0", 20)
    curves.write_text("step,train/loss\n29,1.0\n39,0.5\n")
    (run,) = measured_runs(tmp_path)
    assert run.curves() == {"train/loss": [(9, 3.0), (19, 2.0), (29, 1.0), (39, 0.5)]}


@pytest.mark.parametrize("content", ["step,a,b\n1,2,3,4\n", "a,b\n1,2\n", "step,a\n1,\0\n", "step,a\n\n1"])
def test_curves_that_cannot_be_read_are_told_and_left_out(content, tmp_path, caplog):
    Run(name="row", seed=0, config={}).write(tmp_path / "row-0")
    (tmp_path / "row-0/metrics-20.csv").write_text("step,a\n9,3.0\n")
    (tmp_path / "row-0/metrics.csv").write_text(content)
    (run,) = measured_runs(tmp_path)
    assert run.curves() == {"a": [(9, 3.0)]}
    assert ("row-0/metrics.csv holds no curves" in caplog.text) == (content[-1] == "\n")  # else there is none


def test_what_an_earlier_run_left_is_not_taken_for_a_new_ones(tmp_path):
    left = ["metrics.csv", "metrics-3.csv", "checkpoints/best.ckpt", "overlays/video=1.mp4", "cues/metrics.json"]
    left += ["run.json"]
    stay = ["checkpoints/last.ckpt", "notes.txt", "video/results.json", "detector/run.json", "detector/metrics.json"]
    for name in [*left, *stay]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    clear(tmp_path, kept=str(tmp_path / "checkpoints/last.ckpt"))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(stay)


def test_runs_come_with_what_was_measured_of_them(tmp_path):
    for name, seed in (("b", 1), ("b", 0), ("a", 10)):
        folder = tmp_path / f"{name}-{seed}"
        Run(name=name, seed=seed, config={}).write(folder)
        (folder / "scores").mkdir()
        (folder / "scores/metrics.json").write_text(json.dumps({"AP": seed / 10}))
        groups = {"per_class": {}, "per_size": {}, "per_length": {}}
        (folder / "scores/breakdown.json").write_text(json.dumps({"overall": {"class": 0.1}, **groups}))
    found = measured_runs(tmp_path)
    assert [(m.run.name, m.run.seed, m.metrics["scores"]["AP"]) for m in found] == [
        ("a", 10, 1.0),
        ("b", 0, 0.0),
        ("b", 1, 0.1),
    ]
    assert found[0].errors == {"scores": {"class": 0.1}} and found[0].videos() == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"name": "b", "seed"', "is not json"),
        ("[]", "no record of this version: input should be a dictionary"),
        ('{"name": "b", "seed": 1}', "no record of this version: config: field required"),
        ('{"name": "b", "seed": 1, "config": {}, "loss": 2}', "no record of this version: loss: unexpected keyword"),
        ('{"name": "b", "seed": "one", "config": {}}', "no record of this version: seed: input should be a valid int"),
    ],
)
def test_a_record_that_cannot_be_read_is_told_by_its_path_and_the_others_are_collected(content, said, tmp_path, caplog):
    one = Run(name="a", seed=0, config={"a": [1, None]}, best=0.5, data={"train": "f"})
    one.write(tmp_path / "a-0")
    (tmp_path / "b-1").mkdir()
    (tmp_path / "b-1/run.json").write_text(content)
    (found,) = measured_runs(tmp_path)
    assert found.run == one and f"left out: {tmp_path / 'b-1/run.json'} " in caplog.text and said in caplog.text
    with pytest.raises(ValueError, match=said):
        Run.read(tmp_path / "b-1")


@pytest.mark.parametrize("content", ["", "[]", '{"AP": null}'])
def test_a_file_of_numbers_that_cannot_be_read_is_told_and_not_measured(content, tmp_path, caplog):
    Run(name="a", seed=0, config={"evaluations": {"scores": {}}}, status="finished").write(tmp_path / "a-0")
    (tmp_path / "a-0/scores").mkdir()
    (tmp_path / "a-0/scores/metrics.json").write_text(content)
    (tmp_path / "a-0/scores/breakdown.json").write_text(content)
    (found,) = measured_runs(tmp_path)
    assert not found.metrics and not found.errors and found.unmeasured == ["scores"]
    for name, fault in (("metrics", "no metrics of this version"), ("breakdown", "no breakdown of this version")):
        told = fault if content else "not json"
        assert f"left out: {tmp_path / 'a-0/scores' / name}.json is {told}" in caplog.text


def test_the_same_run_is_one_with_the_same_network_in_the_end(tmp_path):
    config = {"module": {"lr": 1.0, "weights": {"a": 1}}, "data": {"root": "here", "size": [1, 2]}, "logger": None}
    run = Run(name="row", seed=0, config=config)
    run.require_same({**config, "data": {"root": "there", "size": [1, 2]}, "logger": {"csv": 1}}, tmp_path)
    with pytest.raises(OtherRun, match="module.lr was 1.0 and is 2.0; module.weights.a was 1 and is None"):
        run.require_same({**config, "module": {"lr": 2.0, "weights": {"b": 1}}}, tmp_path)


def test_a_run_that_started_from_other_weights_is_another_one(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"first")
    run = Run(name="row", seed=0, config={}, weights=digest(tmp_path / "weights.pth"))
    run.require_same({}, tmp_path, digest(tmp_path / "weights.pth"))
    run.require_same({}, tmp_path, digest(tmp_path / "gone.pth"))
    moved = Run(name="row", seed=0, config={"weights": "here/weights.pth"}, weights=run.weights)
    moved.require_same({"weights": "there/weights.pth"}, tmp_path, run.weights)
    with pytest.raises(OtherRun, match="weights was here/weights.pth and is coco"):
        moved.require_same({"weights": "coco"}, tmp_path, None)
    (tmp_path / "weights.pth").write_bytes(b"second")
    with pytest.raises(OtherRun, match="sha256 of weights was a7937b64"):
        run.require_same({}, tmp_path, digest(tmp_path / "weights.pth"))
    Run(name="row", seed=0, config={}).require_same({}, tmp_path, digest(tmp_path / "weights.pth"))  # of before


def test_a_run_by_more_processes_is_another_one_by_other_devices_it_is_not(tmp_path):
    run = Run(name="row", seed=0, config={"trainer": {"devices": 1}})
    for same in ([3], -1, "auto"):
        run.require_same({"trainer": {"devices": same}}, tmp_path)
    for other in ({"devices": [0, 1]}, {"devices": 1, "num_nodes": 2}):
        with pytest.raises(OtherRun, match="processes was 1 and is 2"):
            run.require_same({"trainer": other}, tmp_path)


def test_a_run_whose_annotations_have_changed_does_not_go_on(tmp_path):
    run = Run(name="a", seed=0, config={}, data={"train": "1", "valid": "2"})
    run.note_data({"train": "1", "test": "3"}, tmp_path)  # drawn since, or not looked at before
    assert run.data == {"train": "1", "valid": "2", "test": "3"}
    with pytest.raises(OtherRun, match="on other annotations of valid, test"):
        run.note_data({"train": "1", "valid": "x", "test": "x"}, tmp_path)


def test_a_later_table_adds_its_ways_to_measure_and_the_run_stays_the_same(tmp_path):
    run = Run(name="a", seed=0, config={"evaluations": {"scores": {}}}, status="finished")
    before = run.id
    run.note_evaluations({"evaluations": {"cues": {}}})
    run.write(tmp_path / "a-0")
    (kept,) = measured_runs(tmp_path)
    assert kept.run.id == before and kept.unmeasured == ["scores", "cues"]


def test_the_commits_of_a_run_are_those_it_was_trained_under():
    run = Run(name="a", seed=0, config={})
    told = []
    for commit, goes_on in (("1", False), ("2+", False), ("2+", True), ("3", True), (None, True), (None, False)):
        run.note_commit(commit, goes_on)
        told.append(run.commit)
    assert told == ["1", "2+", "2+", "2+, 3", "2+, 3", None]


def test_a_disk_that_is_full_is_named_by_the_folder_of_the_run(tmp_path):
    run = Run(name="row", seed=0, config={})
    with pytest.raises(OSError, match=f"File too large: '{tmp_path}'"), run.recorded(tmp_path):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    assert str(tmp_path) in Run.read(tmp_path).error


@pytest.mark.parametrize("cleared", [False, True])
def test_a_call_that_is_wrong_leaves_the_record_of_what_was_trained_before(cleared, tmp_path):
    before = Run(name="row", seed=0, config={"a": 1}, steps=7, status="finished")
    before.write(tmp_path)
    now = Run(name="row", seed=0, config={"a": 2})
    with pytest.raises(ValueError, match="no such weights"), now.recorded(tmp_path):
        assert Run.read(tmp_path) == before
        if cleared:
            clear(tmp_path)
        raise ValueError("no such weights")
    assert Run.read(tmp_path) == (now if cleared else before)
    assert now.status == "failed"


def test_a_run_goes_on_under_its_name_and_begins_under_another():
    one = Run(name="row", seed=0, config={"a": 1})
    assert one.id == Run(name="row", seed=0, config={"a": 1}, began=one.began, steps=7, status="failed").id
    assert one.id != Run(name="row", seed=0, config={"a": 1}, began="2020-01-01T00:00:00+00:00").id
