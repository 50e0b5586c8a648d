"""Learning rates over the steps of a run."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from compfeat.quantities import Count, Natural, Share


def warmup_multistep(
    optimizer: Optimizer,
    steps_per_epoch: int,
    warmup_steps: Natural = 500,
    warmup_factor: Share = 1 / 3,
    milestones: tuple[Natural, ...] = (8, 11),
    gamma: Share = 0.1,
) -> LambdaLR:
    """Linear warm-up from ``warmup_factor`` over ``warmup_steps``; times ``gamma`` at each epoch of ``milestones``.

    The paper's schedule ("Implementation Details"); stepped after every optimizer step.
    """

    def factor(step: int) -> float:
        dropped = gamma ** sum(step >= epoch * steps_per_epoch for epoch in milestones)
        return dropped * warmup(step, warmup_steps, warmup_factor)

    return LambdaLR(optimizer, factor)


def warmup_cosine(
    optimizer: Optimizer,
    steps_per_epoch: int,
    epochs: Count,
    warmup_steps: Natural = 100,
    warmup_factor: Share = 1 / 3,
) -> LambdaLR:
    """Linear warm-up as in ``warmup_multistep``, and half a cosine down to zero over all ``epochs``."""

    def factor(step: int) -> float:
        passed = min(1.0, step / (epochs * steps_per_epoch))
        return 0.5 * (1 + math.cos(math.pi * passed)) * warmup(step, warmup_steps, warmup_factor)

    return LambdaLR(optimizer, factor)


def warmup(step: int, steps: int, start: float) -> float:
    """From ``start`` to 1 over so many steps, linearly; 1 ever after."""
    return 1.0 if step >= steps else start + (1 - start) * step / steps
