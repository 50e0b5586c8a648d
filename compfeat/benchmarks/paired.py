"""Two ways to do the same, timed in turns, so that both see the same machine."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from compfeat.progress import tracked


@dataclass(frozen=True)
class Comparison:
    """Seconds a call, of each round."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """The median over rounds of ours over theirs."""
        return statistics.median(self._ratios)

    @property
    def figures(self) -> dict[str, Any]:
        """Medians in seconds, and the ratio with its least and most over the rounds."""
        return {
            "seconds": statistics.median(self.ours),
            "their_seconds": statistics.median(self.theirs),
            "ratio": self.ratio,
            "ratio_range": [round(min(self._ratios), 4), round(max(self._ratios), 4)],
        }

    @property
    def _ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> Comparison:
    """Times both in turns, after one call of each that does not count."""
    theirs()
    ours()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = Comparison([], [])
    for _ in tracked(range(rounds), "timing", rounds, "rounds"):
        for way, taken in ((theirs, seconds.theirs), (ours, seconds.ours)):
            began = perf_counter()
            way()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken.append(perf_counter() - began)
    return seconds
