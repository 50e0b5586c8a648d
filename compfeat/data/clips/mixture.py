"""Clips of two data sets in one epoch."""

import numpy as np
from torch.utils.data import Dataset

from compfeat.structures import Clip


class MixedClips(Dataset[Clip]):
    """Every clip of the first data set once an epoch, and so many of the second that they are a given share of all.

    An epoch stays one pass over the first, whatever the size of the second. Over the epochs all of the second
    are used once, in random order, before any is used again. An item's index is ``(epoch, index)``.

    Args:
        clips: the first data set, whose items have the same kind of index.
        others: the second.
        share: of the second among all clips of an epoch, at least 0 and below 1.
        seed: of the order of the second.
    """

    def __init__(self, clips: Dataset[Clip], others: Dataset[Clip], share: float, seed: int) -> None:
        if not 0 <= share < 1:
            raise ValueError(f"the share of pseudo-clips must be at least 0 and below 1, but is {share}")
        self.clips = clips
        self.others = others
        self.seed = seed
        self.first, self.second = len(clips), len(others)  # type: ignore[arg-type]
        self.drawn = round(self.first * share / (1 - share))
        self._order = -1, np.zeros(0, np.int64)  # of the cycle in use

    def __len__(self) -> int:
        return self.first + self.drawn

    def __getitem__(self, item: tuple[int, int]) -> Clip:
        epoch, index = item
        if index < self.first:
            return self.clips[item]
        cycle, slot = divmod(epoch * self.drawn + index - self.first, self.second)
        if self._order[0] != cycle:
            self._order = cycle, np.random.default_rng([self.seed, cycle]).permutation(self.second)
        # The cycle takes the place of the epoch: an image used twice in one epoch makes two clips.
        return self.others[cycle, int(self._order[1][slot])]
