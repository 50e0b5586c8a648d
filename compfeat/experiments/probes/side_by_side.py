"""Variants of a network trained side by side: the same start, the same clips, the same steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compfeat.data.datamodule import VISDataModule
from compfeat.experiments.probes.clips import HeldOut, Maps, training_batches
from compfeat.models.detector import CompFeat
from compfeat.progress import tracked
from compfeat.structures import ClipBatch
from compfeat.training.schedules import warmup_cosine


class Probe(Protocol):
    """What is trained of a network, on what, and what is asked of it afterwards."""

    degraded: bool  # whether the current frames it is measured on are

    def trained(self, detector: CompFeat) -> list[nn.Module]:
        """The parts that learn; all else is frozen."""

    def losses(
        self, detector: CompFeat, maps: Maps, batch: ClipBatch, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """What they learn from a batch of clips: scalars by name, before they get their weights."""

    def measure(self, detector: CompFeat, held_out: Sequence[tuple[HeldOut, Maps]]) -> dict[str, float]:
        """What they have learned, by name."""


class Variant(NamedTuple):
    """A network to try, what makes its optimizer from parameters, and weight by loss name; 1 where one is not named."""

    detector: CompFeat
    optimizer: Callable[..., Optimizer]
    loss_weights: Mapping[str, float]


def train_side_by_side(
    probe: Probe, variants: Mapping[str, Variant], data: VISDataModule, steps: int, batch_size: int, seed: int
) -> None:
    """Trains what the probe trains of each detector, its learning rate a cosine, on the clips of ``seed``.

    Raises:
        ValueError: the detectors do not share their backbone, whose maps are made once for all.
    """
    first = next(iter(variants.values())).detector
    for name, variant in variants.items():
        if not _equal(variant.detector.backbone, first.backbone):
            raise ValueError(f"variant {name!r} has another backbone than the first: a probe tries what comes after it")
    if not any(variant.detector.uses_support for variant in variants.values()):
        data.sampler.support_frames = 0  # not decoded in vain
    learners = [_Learner(probe, variant, steps, seed) for variant in variants.values()]
    for batch in tracked(training_batches(data, steps, batch_size, seed), f"seed {seed}", steps, "steps"):
        maps = Maps.of(first, batch)
        for learner in learners:
            learner.learn(maps, batch)


class _Learner:
    def __init__(self, probe: Probe, variant: Variant, steps: int, seed: int) -> None:
        self.probe = probe
        self.detector = variant.detector.eval().requires_grad_(False)
        self.generator = torch.Generator().manual_seed(seed)
        self.parameters = [p for part in probe.trained(self.detector) for p in part.requires_grad_(True).parameters()]
        self.loss_weights = variant.loss_weights
        self.optimizer = variant.optimizer(self.parameters)
        self.scheduler = warmup_cosine(self.optimizer, steps_per_epoch=steps, epochs=1, warmup_steps=min(50, steps))

    def learn(self, maps: Maps, batch: ClipBatch) -> None:
        losses = self.probe.losses(self.detector, maps, batch, self.generator)
        self.optimizer.zero_grad()
        torch.stack([self.loss_weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum().backward()
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        self.scheduler.step()


def _equal(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return one.state_dict().keys() == theirs.keys() and all(
        value.shape == theirs[name].shape and torch.equal(value, theirs[name])
        for name, value in one.state_dict().items()
    )
