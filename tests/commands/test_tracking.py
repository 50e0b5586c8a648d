"""Metrics of tracking, which need a package that is not always installed."""

import json
import os

import pytest
from generated import write_data_set
from shell import command

TRACKING = {"HOTA", "DetA", "AssA", "IDF1", "TrackmAP"}


@pytest.fixture
def call(tmp_path):
    """Arguments that measure perfect results."""
    root = write_data_set(tmp_path / "data", split="valid")
    objects = [entry for entry in json.loads((root / "valid.json").read_text())["annotations"] if not entry["iscrowd"]]
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{**entry, "score": 0.9} for entry in objects]))
    return [f"results={results}", "data=ytvis", f"data.root={root}", f"output={tmp_path / 'out'}"]


def test_metrics_of_tracking_are_told_and_written_where_they_are_asked_for(call, tmp_path):
    pytest.importorskip("trackeval")
    written = tmp_path / "out" / "tracking.json"
    assert "HOTA" not in command("scripts/evaluate.py", *call, cache=tmp_path / "cache").stdout
    assert not written.exists()
    done = command("scripts/evaluate.py", *call, "tracking=true", cache=tmp_path / "cache")
    assert "HOTA" in done.stdout and "AP50" in done.stdout
    assert json.loads(written.read_text()) == pytest.approx(dict.fromkeys(TRACKING, 1))
    assert (tmp_path / "out" / "metrics.json").is_file()


def test_a_missing_package_is_told_before_anything_is_measured(call, tmp_path, monkeypatch):
    (tmp_path / "trackeval.py").write_text("raise ModuleNotFoundError('trackeval')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    done = command("scripts/evaluate.py", *call, "tracking=true", cache=tmp_path / "cache", code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "pip install -e '.[metrics]'" in line
    assert not (tmp_path / "out").exists()
