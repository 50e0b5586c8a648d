"""In which order the clips of an epoch are trained on, also by several processes and after an interruption."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Sampler

from compfeat.structures import Clip, ClipBatch


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields ``(epoch, index)`` in an order that depends on seed and epoch alone, each rank its share.

    The epoch travels with the index because workers that live on would not see it otherwise. Every rank yields equally
    many: the order is cut to a multiple of ``ranks``. Of the epoch ``begun`` the first ``done`` of a rank were had by a
    run that was interrupted, and are left out.
    """

    def __init__(self, length: int, seed: int, rank: int, ranks: int, begun: int = 0, done: int = 0) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.begun = begun
        self.done = done
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the beginning of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.ranks

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator)
        first = self.done if self.epoch == self.begun else 0
        for index in order[self.rank :: self.ranks][first : len(self)].tolist():
            yield self.epoch, index


class ClipLoader(DataLoader[Clip]):
    """Sends its workers for clips when the first batch is asked for, not when it is iterated.

    Lightning makes the iterator early, to count the steps of an epoch, and only afterwards tells the sampler which
    epoch a resumed run goes on with; workers that were sent at once would bring clips of epoch 0.
    """

    def __iter__(self) -> Iterator[ClipBatch]:  # type: ignore[override]
        yield from super().__iter__()
