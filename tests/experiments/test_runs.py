"""What is collected of runs."""

import json

import pytest

from compfeat.experiments.record import OtherRun, Run
from compfeat.experiments.runs import measured_runs


def test_curves_go_on_where_a_run_was_interrupted(tmp_path):
    folder = tmp_path / "row-0"
    Run(name="row", seed=0, config={}).write(folder)
    (folder / "metrics-20.csv").write_text("step,train/loss,val/AP\n9,3.0,\n19,2.0,\n29,9.0,\n")  # 29 was undone
    (folder / "metrics.csv").write_text("step,train/loss,lr\n29,1.0,\n39,0.5,0.1\n49,0.")  # cut off by a kill
    (run,) = measured_runs(tmp_path)
    assert run.curves() == {"train/loss": [(9, 3.0), (19, 2.0), (29, 1.0), (39, 0.5)], "lr": [(39, 0.1)]}


def test_runs_come_with_what_was_measured_of_them(tmp_path):
    for name, seed in (("b", 1), ("b", 0), ("a", 10)):
        folder = tmp_path / f"{name}-{seed}"
        Run(name=name, seed=seed, config={}).write(folder)
        (folder / "scores").mkdir()
        (folder / "scores/metrics.json").write_text(json.dumps({"AP": seed / 10}))
        (folder / "scores/breakdown.json").write_text(json.dumps({"overall": {"class": 0.1}}))
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


def test_a_file_of_numbers_that_cannot_be_read_is_told_and_not_measured(tmp_path, caplog):
    Run(name="a", seed=0, config={"evaluations": {"scores": {}}}, status="finished").write(tmp_path / "a-0")
    (tmp_path / "a-0/scores").mkdir()
    (tmp_path / "a-0/scores/metrics.json").touch()
    (found,) = measured_runs(tmp_path)
    assert not found.metrics and found.unmeasured == ["scores"]
    assert f"left out: {tmp_path / 'a-0/scores/metrics.json'} is not json" in caplog.text


def test_the_same_run_is_one_with_the_same_network_in_the_end(tmp_path):
    config = {"module": {"lr": 1.0, "weights": {"a": 1}}, "data": {"root": "here", "size": [1, 2]}, "logger": None}
    run = Run(name="row", seed=0, config=config)
    run.require_same({**config, "data": {"root": "there", "size": [1, 2]}, "logger": {"csv": 1}}, tmp_path)
    with pytest.raises(OtherRun, match="module.lr was 1.0 and is 2.0; module.weights.a was 1 and is None"):
        run.require_same({**config, "module": {"lr": 2.0, "weights": {"b": 1}}}, tmp_path)


def test_a_run_goes_on_under_its_name_and_begins_under_another():
    one = Run(name="row", seed=0, config={"a": 1})
    assert one.id == Run(name="row", seed=0, config={"a": 1}, began=one.began, steps=7, status="failed").id
    assert one.id != Run(name="row", seed=0, config={"a": 1}, began="2020-01-01T00:00:00+00:00").id
