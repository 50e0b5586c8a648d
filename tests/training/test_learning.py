"""That the network learns, not only runs."""

import csv

import pytest
from shell import command


@pytest.mark.slow
def test_three_real_videos_are_learned_by_heart(shared_data, tmp_path):
    command(
        "train.py",
        "debug=overfit",
        "model=masktrack_rcnn",
        "data=ytvis",
        f"data.root={shared_data / 'davis_mini'}",
        f"hydra.run.dir={tmp_path}",
        cache=tmp_path / "cache",
    )
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert max(float(row["val/AP"]) for row in rows if row["val/AP"]) >= 0.6
