"""That an interrupted run goes on as if nothing had happened."""

import csv
import math
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from generated import HEIGHT, WIDTH, write_data_set
from pytorch_lightning.callbacks import ModelCheckpoint
from shell import ROOT

from compfeat.data.datamodule import VISDataModule
from compfeat.training.callbacks import BestOfFolder, CheckpointAfterStep, WholeCheckpoints
from compfeat.training.module import VISModule
from compfeat.training.schedules import warmup_multistep

STEPS, EPOCHS = 3, 4
RUN = [
    "data.workers=2",  # the default of all data sets but the built-in ones
    "data.generator.train_videos=6",
    "data.generator.valid_videos=1",
    "data.generator.length=4",
    "data.batch_size=2",
    f"trainer.max_epochs={EPOCHS}",
    "trainer.log_every_n_steps=1",
    "callbacks.meanwhile.train_time_interval.seconds=0.0",  # after every step
]


def losses(folder):
    """The losses of each step, as they were written."""
    path = folder / "metrics.csv"
    rows = csv.DictReader(path.open()) if path.exists() else ()
    names = ("train/loss", "train/loss_classifier", "train/loss_track")
    return {int(row["step"]): [row[name] for name in names] for row in rows if row.get("train/loss")}


def train(folder, cache, *arguments):
    """Starts a run; one thread each, because the threads of several processes on the same cores wait for each other."""
    environment = os.environ | {"COMPFEAT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    script = ["env", "--default-signal=INT", sys.executable, str(ROOT / "train.py")]  # also in the background
    arguments = [*script, *RUN, f"hydra.run.dir={folder}", *arguments]
    with folder.with_suffix(".txt").open("w") as output:
        return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=output, stderr=output)


def test_a_run_that_was_interrupted_is_resumed_with_the_same_losses_to_the_last_digit(tmp_path):
    cache, whole, part, resumed = (tmp_path / name for name in ("cache", "whole", "part", "resumed"))
    assert train(whole, cache).wait() == 0, whole.with_suffix(".txt").read_text()

    process = train(part, cache)
    while process.poll() is None and len(losses(part)) <= STEPS + 1:  # until the second epoch is under way
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    last = part / "checkpoints" / "last.ckpt"
    *_, how, said = part.with_suffix(".txt").read_text().splitlines()
    assert f"resume={last} goes on" in how and said == "interrupted"

    assert train(resumed, cache, f"resume={last}").wait() == 0, resumed.with_suffix(".txt").read_text()
    expected, done = losses(whole), torch.load(last, weights_only=True)["global_step"]
    assert STEPS < done <= len(losses(part)) < len(expected) == STEPS * EPOCHS
    assert losses(part) == {step: expected[step] for step in losses(part)}
    assert losses(resumed) == {step: expected[step] for step in range(done, STEPS * EPOCHS)}


class Recorder(torch.nn.Module):
    """Stands in for the network, and remembers the clips it was trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.clips = []

    def forward(self, batch):
        self.clips += zip(batch.names, batch.current.sum((1, 2, 3)).tolist(), strict=True)
        return {"loss_mask": self.weight * 1.0, "match_accuracy": torch.tensor(math.nan)}


class Predictor:
    categories = ()

    def __init__(self, detector):
        self.detector = detector

    def predict(self, frames):
        return []


def clips_of(root, folder, epochs, resume=None, kept=None, checkpoint=ModelCheckpoint, **options):
    """The clips that a run of so many epochs trains on, checkpoints being ``kept`` at the end of each or otherwise."""
    data = VISDataModule(str(root), val_split="train", size=(WIDTH, HEIGHT), batch_size=2)
    data.setup()
    module = VISModule(
        Predictor(Recorder()),
        recipe={},
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        scheduler=warmup_multistep,
        batch_size=2,
        reference_batch=2,
        ground_truth=data.ground_truth,
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[checkpoint(folder, filename="last", **(kept or {"save_on_train_epoch_end": True}))],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(module, data, ckpt_path=resume)
    return module.detector.clips


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 2},
        {"val_check_interval": 0.5},
        {"check_val_every_n_epoch": 2},
        {"reload_dataloaders_every_n_epochs": 1},
    ],
    ids=lambda options: next(iter(options), "defaults"),
)
def test_each_epoch_has_clips_of_its_own_and_a_resumed_run_goes_on_with_them(options, tmp_path):
    root = write_data_set(tmp_path / "data", lengths=(4,) * 8)
    whole = clips_of(root, tmp_path / "whole", 4, **options)
    part = clips_of(root, tmp_path / "part", 2, **options)
    resumed = clips_of(root, tmp_path / "resumed", 4, resume=tmp_path / "part" / "last.ckpt", **options)
    assert part + resumed == whole
    epochs = [whole[start : start + 8] for start in range(0, 32, 8)]
    assert [len({name.split("/")[0] for name, _ in epoch}) for epoch in epochs] == [8] * 4
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("options", [{}, {"reload_dataloaders_every_n_epochs": 1}, {"val_check_interval": 0.5}])
@pytest.mark.parametrize("steps", [5, 7, 8])  # of four an epoch
def test_a_run_goes_on_in_the_middle_of_an_epoch(steps, options, tmp_path):
    root = write_data_set(tmp_path / "data", lengths=(4,) * 8)
    whole = clips_of(root, tmp_path / "whole", 4, **options)
    part = clips_of(root, tmp_path / "part", 3, kept={"every_n_train_steps": steps}, **options)
    resumed = clips_of(root, tmp_path / "resumed", 4, resume=tmp_path / "part" / "last.ckpt", **options)
    assert part == whole[:24]
    assert resumed == whole[(12 // steps) * steps * 2 :]


class Due(CheckpointAfterStep):
    """Due when so many batches are over, as by the clock."""

    def __init__(self, *arguments, batches, **options):
        super().__init__(*arguments, train_time_interval=timedelta(days=1), **options)
        self.batches = batches

    def on_train_batch_end(self, trainer, *batch):
        if trainer.fit_loop.total_batch_idx + 1 == self.batches:
            self._last_time_checked = -math.inf
        super().on_train_batch_end(trainer, *batch)


@pytest.mark.parametrize(("due", "kept"), [(2, 2), (3, 4)])
def test_a_checkpoint_that_is_due_between_two_steps_waits_for_the_second(due, kept, tmp_path):
    root = write_data_set(tmp_path / "data", lengths=(4,) * 12)
    clips_of(root, tmp_path, 1, kept={"batches": due}, checkpoint=Due, accumulate_grad_batches=2)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == kept


@pytest.mark.parametrize("place", ["before", "now"])
@pytest.mark.parametrize("lies", [True, False])
def test_the_best_checkpoint_is_the_one_that_lies_in_the_folder_wherever_that_was_before(place, lies, tmp_path):
    before, now = (ModelCheckpoint(tmp_path / name, "best", monitor="val/AP", mode="max") for name in ("before", place))
    before.best_model_path, before.best_model_score = f"{before.dirpath}/best.ckpt", torch.tensor(0.5)
    if lies:
        (tmp_path / place).mkdir()
        (tmp_path / place / "best.ckpt").touch()
    checkpoint = {"callbacks": {before.state_key: before.state_dict()}}
    BestOfFolder().on_load_checkpoint(SimpleNamespace(checkpoint_callbacks=[now]), None, checkpoint)
    for state in checkpoint["callbacks"].values():
        now.load_state_dict(state)
    known = (now.best_model_path, now.best_model_score)
    assert known == ((f"{now.dirpath}/best.ckpt", 0.5) if lies else ("", None))


def test_a_checkpoint_for_which_there_is_no_room_leaves_the_older_one_wherever_temporary_files_go(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            WholeCheckpoints().save_checkpoint({"step": 2, "weights": torch.zeros(1000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(path.parent.iterdir()) == [path] and torch.load(path) == {"step": 1}
