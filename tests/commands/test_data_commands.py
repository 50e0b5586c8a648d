"""Training on what users have: no ground truth to validate on, videos held out, videos and images mixed."""

import csv

from generated import write_data_set
from shell import command

from compfeat.data.holdout import read_ids

SMALL = ["model=masktrack_rcnn", "recipe=small", "trainer.max_epochs=1", "trainer.accelerator=cpu", "data.workers=0"]


def metrics(folder):
    """The names of all metrics that a run has logged."""
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    return {name for row in rows for name, value in row.items() if value}


def test_a_split_without_ground_truth_is_told_and_not_scored(tmp_path):
    root = write_data_set(tmp_path / "data")
    write_data_set(root, split="valid", annotations=False)
    arguments = [
        *SMALL,
        "trainer.log_every_n_steps=1",
        "data=ovis",
        f"data.root={root}",
        "data.holdout=null",
        "data.size=[128,64]",
    ]
    run = tmp_path / "run"
    done = command("train.py", *arguments, f"hydra.run.dir={run}", cache=tmp_path / "cache")
    assert "NO GROUND TRUTH" in done.stdout + done.stderr
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert "train/loss" in metrics(run) and "val/AP" not in metrics(run)
    assert not (run / "holdout.txt").exists()

    other = write_data_set(tmp_path / "other", change=lambda content: content.update(info="another"))
    write_data_set(other, split="valid", annotations=False)
    elsewhere = [*arguments, f"data.root={other}", f"hydra.run.dir={run}", "rerun=false"]
    done = command("train.py", *elsewhere, cache=tmp_path / "cache", code=2)  # it has finished: on other videos
    assert "holds a run on other annotations of train. Move it away" in done.stderr


def test_an_epoch_of_videos_and_images_validated_on_held_out_videos(shared_data, tmp_path):
    run = tmp_path / "run"
    command(
        "train.py",
        *SMALL,
        "data=ytvis_coco",
        f"data.root={shared_data / 'davis_mini'}",
        f"data.coco.root={shared_data / 'coco_mini'}",
        "data.val_split=null",
        "data.holdout=2",
        "data.size=[96,64]",
        "trainer.log_every_n_steps=1",
        f"hydra.run.dir={run}",
        cache=tmp_path / "cache",
    )
    assert len(read_ids(run / "holdout.txt")) == 2
    assert {"train/loss_mask", "val/AP"} <= metrics(run)
    steps = [row["step"] for row in csv.DictReader((run / "metrics.csv").open()) if row["train/loss"]]
    assert len(steps) == 3  # 7 videos and as many images, 4 clips a step
