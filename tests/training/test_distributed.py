"""Several processes do together what one does alone."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from shell import command

from compfeat.data.shapes import ShapesGenerator
from compfeat.evaluation.tube_ap import METRICS


def validated(root, processes):
    """All numbers of a validation in so many processes."""
    script = Path(__file__).with_name("sharded_validation.py")
    done = subprocess.run(
        [sys.executable, str(script), str(root), str(processes)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    knobs = dict(train_videos=1, valid_videos=5, length=4, width=160, height=96)  # five: two processes have 3 and 2
    return ShapesGenerator(**knobs).write(tmp_path_factory.mktemp("data"), ["train", "valid"])


def test_sharded_validation_gives_the_numbers_of_one_process_to_the_last_bit(shapes):
    alone, together = validated(shapes, 1), validated(shapes, 2)
    assert set(alone) == {f"val/{name}" for name in METRICS}
    assert 0 < alone["val/AP"] < 1
    assert together == alone


def test_two_processes_train_validate_and_write_once_without_a_warning(cache_of_its_own, tmp_path):
    done = command(
        "train.py",
        "trainer=ddp_cpu",
        "data.generator.train_videos=8",
        "data.generator.valid_videos=3",
        "data.generator.length=4",
        "data.batch_size=2",
        "trainer.max_epochs=2",
        "trainer.log_every_n_steps=1",
        f"hydra.run.dir={tmp_path}",
        cache=cache_of_its_own,
    )
    assert "arning" not in done.stdout + done.stderr, done.stderr
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["step"] for row in rows if row.get("train/loss")] == ["0", "1", "2", "3"]
    assert len([row for row in rows if row["val/AP"]]) == 2
