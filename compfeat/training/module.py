"""The training of the network as a LightningModule: sums and logs the losses, validates through VideoPredictor."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from compfeat.evaluation import evaluate
from compfeat.evaluation.results import to_results
from compfeat.inference.predictor import VideoPredictor
from compfeat.quantities import Count, Seed, Weight
from compfeat.structures import ClipBatch


class NonFiniteLoss(ArithmeticError):
    """A loss became infinite or NaN; the message names the step, the losses and the clips."""


class VISModule(pl.LightningModule):
    """Trains a detector on clips and measures its tube AP on videos.

    Args:
        predictor: holds the network that is trained, and validates it.
        recipe: the config from which ``hydra.utils.instantiate`` rebuilds ``predictor``; kept in every checkpoint.
        optimizer: makes the optimizer from parameters; its learning rate belongs to ``reference_batch`` clips.
        scheduler: makes a per-step scheduler from the optimizer and ``steps_per_epoch``.
        batch_size: clips per device and step.
        reference_batch: total batch the learning rate is stated for; for other totals it is scaled linearly.
        seed: of the sampling of anchors and RoIs.
        loss_weights: weight by loss name; 1 where a loss is not named.
        ground_truth: annotations of the validation videos in the YouTube-VIS layout; None to train without AP.
    """

    def __init__(
        self,
        predictor: VideoPredictor,
        recipe: Mapping[str, Any],
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LambdaLR],
        batch_size: Count,
        reference_batch: Count,
        seed: Seed = 0,
        loss_weights: Mapping[str, Weight] | None = None,
        ground_truth: dict | None = None,
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.detector = predictor.detector
        self.recipe = dict(recipe)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.batch_size = batch_size
        self.reference_batch = reference_batch
        self.seed = seed
        self.loss_weights = dict(loss_weights or {})
        self.ground_truth = ground_truth
        self._results: list[dict] = []
        self._batch_ended = math.nan  # the last one, or what came before the first
        self._resumed: dict[str, Any] = {}  # the checkpoint that training goes on from

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        # Videos are decoded lazily and stay where they are; the predictor moves their frames.
        return batch.to(device, non_blocking=True) if isinstance(batch, ClipBatch) else batch

    def _wait_for_a_batch(self) -> None:
        self._batch_ended = perf_counter()

    # Lightning leaves out the second where training goes on in the middle of an epoch.
    on_train_start = on_train_epoch_start = on_validation_end = _wait_for_a_batch

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:
        # torchvision samples from the global stream; seeded by step, a resumed run draws what a whole one would.
        torch.manual_seed(hash((self.seed, self.trainer.global_step, batch_idx, self.trainer.global_rank)))

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        outputs = self.detector(batch)
        losses = {name: value for name, value in outputs.items() if name.startswith("loss_")}
        self._require_finite(losses, batch)
        total = torch.stack([self.loss_weights.get(name, 1.0) * value for name, value in losses.items()]).sum()
        log = partial(self.log, batch_size=len(batch))
        for name, value in losses.items():
            log(f"train/{name}", value)
        log("train/loss", total, prog_bar=True)
        accuracy = outputs.get("match_accuracy")
        if accuracy is not None and accuracy.isfinite():
            log("train/match_accuracy", accuracy)
        return total

    def on_train_batch_end(self, outputs: Any, batch: ClipBatch, batch_idx: int) -> None:
        frames = len(batch) * (2 + batch.support.shape[1]) * self.trainer.world_size
        before, self._batch_ended = self._batch_ended, perf_counter()  # the wait for data is in it
        # Tensors of the CPU: of a number Lightning would make one on the GPU, and wait until that has done the step.
        self.log("train/frames_per_second", torch.tensor(frames / (self._batch_ended - before)))
        self.log("train/images_seen", torch.tensor(float(frames * (self.trainer.fit_loop.total_batch_idx + 1))))

    def _require_finite(self, losses: Mapping[str, Tensor], batch: ClipBatch) -> None:
        if bool(torch.stack([value.detach() for value in losses.values()]).isfinite().all()):
            return
        bad = ", ".join(f"{name}={value.item()}" for name, value in losses.items() if not value.isfinite())
        raise NonFiniteLoss(
            f"step {self.global_step}: {bad} on clips {', '.join(batch.names)}; "
            "a lower module.optimizer.lr usually helps"
        )

    def on_validation_epoch_start(self) -> None:
        self._results = []

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        tubes = self.predictor.predict(batch.frames)
        ids = [category.id for category in self.predictor.categories]
        self._results += to_results(batch.id, len(batch.frames), tubes, ids)
        return {"tubes": tubes}

    def on_validation_epoch_end(self) -> None:
        if self.ground_truth is None or self.trainer.sanity_checking:
            return
        results = self._results
        if self.trainer.world_size > 1:
            shares: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, results)
            results = [entry for share in shares for entry in share]
        for name, value in evaluate(self.ground_truth, results).items():
            # The same on every rank: their maximum is the value itself, which their mean need not be to the last bit.
            self.log(f"val/{name}", value, prog_bar=name == "AP", sync_dist=True, reduce_fx="max")

    def configure_optimizers(self) -> Any:
        total = self.batch_size * self.trainer.world_size * self.trainer.accumulate_grad_batches
        optimizer = self.make_optimizer([p for p in self.parameters() if p.requires_grad])
        for group in optimizer.param_groups:
            group["lr"] *= total / self.reference_batch
        self.trainer.fit_loop.setup_data()  # which counts the batches; a run that ends early has the same schedule
        steps = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        scheduler = self.make_scheduler(optimizer, steps_per_epoch=steps)
        if self._resumed:
            _require_same_optimizer(self._resumed, optimizer)
            self._resumed = {}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["predictor"] = self.recipe
        checkpoint["optimizer"] = type(self.optimizers(use_pl_optimizer=False)).__name__

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed = checkpoint


def _require_same_optimizer(checkpoint: Mapping[str, Any], optimizer: Optimizer) -> None:
    """Told before what was stated is replaced by what the checkpoint holds; versions may add settings of their own.

    Raises:
        ValueError: the optimizer or a setting of it differs, or the rate because of the total batch.
    """
    name = type(optimizer).__name__
    before, now = checkpoint["optimizer_states"][0]["param_groups"][0], optimizer.param_groups[0]
    settings = sorted((before.keys() & now.keys()) - {"params", "lr"})  # the rate at the start is initial_lr
    changes = [
        f"{key.removeprefix('initial_')} was {before[key]} and is {now[key]}"
        for key in settings
        if before[key] != now[key]
    ]
    if checkpoint.get("optimizer", name) != name:
        changes = [f"it was {checkpoint['optimizer']} and is {name}"]
    if changes:
        raise ValueError(f"resume: module.optimizer cannot change on the way: {'; '.join(changes)}")
