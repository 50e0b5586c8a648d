"""Comparison of runs over seeds."""

import json

import pytest
from omegaconf import OmegaConf

from compfeat.commands.report import report
from compfeat.experiments.spread import collect, spread


def write(folder, name, **metrics):
    path = folder / name / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(metrics))


def test_runs_are_grouped_over_seeds(tmp_path, capsys):
    write(tmp_path, "frame-dual-0/cues", AP=0.2)
    write(tmp_path, "frame-dual-1/cues", AP=0.4)
    write(tmp_path, "frame-dual-0/scores", AP=0.1)
    assert collect(tmp_path) == {
        ("frame-dual", "cues"): [{"AP": 0.2}, {"AP": 0.4}],
        ("frame-dual", "scores"): [{"AP": 0.1}],
    }
    report(OmegaConf.create({"runs": str(tmp_path), "metrics": ["AP"]}))
    assert "0.300 ± 0.141" in capsys.readouterr().out


def test_one_seed_has_no_spread():
    assert spread([0.25]) == "0.250"


def test_nothing_evaluated_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="metrics.json"):
        report(OmegaConf.create({"runs": str(tmp_path), "metrics": ["AP"]}))
