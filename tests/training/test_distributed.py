"""That several processes do what one does. Run as a script, this file is what the processes of these tests do."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pycocotools import mask as rle
from pytorch_lightning.callbacks import ModelCheckpoint

from compfeat.commands.launch import CONF
from compfeat.data.datamodule import VISDataModule
from compfeat.data.shapes import ShapesGenerator
from compfeat.evaluation.tube_ap import METRICS
from compfeat.structures import Tube
from compfeat.training.module import VISModule
from compfeat.training.schedules import warmup_multistep


class Recorder(torch.nn.Module):
    """Stands in for the network, and remembers the clips it was trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("mean", torch.zeros(3))  # which makes DDP wait for the other ranks in validation too
        self.clips = []

    def forward(self, batch):
        self.clips += batch.names
        return {"loss_mask": self.weight * 1.0, "match_accuracy": torch.tensor(math.nan)}


class NearlyRight:
    """Finds the true objects with errors that depend on the video alone; many of its scores are equal."""

    def __init__(self, detector, data):
        self.detector = detector
        self.categories = data.categories
        self.truth = data.ground_truth

    def predict(self, frames):
        name = frames.paths[0].parent.name
        identity = next(v["id"] for v in self.truth["videos"] if Path(v["file_names"][0]).parent.name == name)
        rng = np.random.default_rng(identity)
        labels = {category.id: label for label, category in enumerate(self.categories, start=1)}
        tubes = []
        for entry in self.truth["annotations"]:
            if entry["video_id"] != identity:
                continue
            seen = [frame for frame, mask in enumerate(entry["segmentations"]) if mask]
            masks = [np.roll(rle.decode(entry["segmentations"][frame]), rng.integers(6), axis=1) for frame in seen]
            label = labels[entry["category_id"]] if rng.random() < 0.8 else 1
            tubes.append(
                Tube(
                    len(tubes),
                    seen,
                    [(0.0, 0.0, 1.0, 1.0)] * len(seen),
                    [rle.encode(np.asfortranarray(mask)) for mask in masks],
                    [(rng.choice([0.25, 0.5, 0.75]) * np.eye(len(labels))[label - 1]).tolist()] * len(seen),
                )
            )
        return tubes


def fit(devices, root, folder, resume=None):
    """Three epochs; each rank writes the clips it was trained on and the metrics it knows."""
    data = VISDataModule(root, size=(96, 64), batch_size=2, cache=folder)
    data.setup()
    module = VISModule(
        NearlyRight(Recorder(), data),
        recipe={},
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        scheduler=warmup_multistep,
        batch_size=2,
        reference_batch=2,
        ground_truth=data.ground_truth,
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=int(devices),
        strategy="auto" if devices == "1" else "ddp",
        max_epochs=3,
        callbacks=[ModelCheckpoint(folder, "{epoch}", monitor="val/AP", save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data, ckpt_path=resume)
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    written = {"clips": module.detector.clips, "metrics": metrics}
    (Path(folder) / f"rank{trainer.global_rank}.json").write_text(json.dumps(written))


def run(script, *arguments, **environment):
    """What a script prints; each process has one thread, because those of several would wait for each other."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=CONF.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def fitted(devices, root, folder, *resume):
    """What each rank wrote."""
    folder.mkdir()
    run(__file__, str(devices), str(root), str(folder), *resume)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(devices)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    # So large that some objects are of medium size
    generator = ShapesGenerator(train_videos=8, valid_videos=5, length=3, width=640, height=384)
    return generator.write(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def two(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "two"
    return folder, fitted(2, root, folder)


def test_every_rank_knows_the_metrics_that_one_process_measures(root, two, tmp_path):
    (one,) = fitted(1, root, tmp_path / "one")
    assert list(one["metrics"]) == [f"val/{name}" for name in METRICS]
    assert 0.1 < one["metrics"]["val/AP"] < 0.9 and one["metrics"]["val/APm"] > 0
    assert [rank["metrics"] for rank in two[1]] == [one["metrics"]] * 2


def test_resumed_ranks_go_on_with_the_clips_of_their_own(root, two, tmp_path):
    folder, whole = two
    resumed = fitted(2, root, tmp_path / "resumed", str(folder / "epoch=0.ckpt"))
    for before, after in zip(whole, resumed, strict=True):
        assert len(before["clips"]) == 3 * 4 and before["clips"][4:] == after["clips"]
    epochs = [{clip.split("/")[0] for rank in whole for clip in rank["clips"][i : i + 4]} for i in (0, 4, 8)]
    assert [len(epoch) for epoch in epochs] == [8] * 3  # every video once, by one of the ranks


@pytest.mark.parametrize(("ranks", "told"), [(6, "5 validation videos"), (9, "8 training clips")])
def test_too_few_videos_for_all_ranks_are_told_before_any_waits(ranks, told, root, monkeypatch):
    data = VISDataModule(str(root))
    data.setup()
    monkeypatch.setattr(data, "_rank", lambda: (0, ranks))
    with pytest.raises(ValueError, match=f"{told} are too few for {ranks} processes"):
        data.val_dataloader() if "validation" in told else data.train_dataloader()


def test_two_processes_train_without_a_warning_and_write_once(tmp_path):
    data = [f"data.generator.{knob}" for knob in ("train_videos=8", "valid_videos=3", "length=3")]
    folder = tmp_path / "run"
    arguments = [*data, "data.batch_size=2", "trainer=ddp_cpu", "trainer.max_epochs=1", "trainer.log_every_n_steps=1"]
    shown = run("train.py", *arguments, f"hydra.run.dir={folder}", COMPFEAT_CACHE=str(tmp_path / "cache"))
    assert "warning" not in shown.lower() and "site-packages" not in shown, shown  # a warning names its file
    assert sorted(path.name for path in folder.rglob("*.ckpt")) == ["best.ckpt", "last.ckpt"]
    assert list(folder.rglob("*.csv")) == [folder / "metrics.csv"]
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["step"] for row in rows if row["train/loss"]] == ["0", "1"]
    assert [row["step"] for row in rows if row["val/AP"]] == ["1"]


if __name__ == "__main__":
    fit(*sys.argv[1:])
