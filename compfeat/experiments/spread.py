"""Mean and spread over seeds."""

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

CLEAR = 3.0  # standard errors beyond which a mean is told from zero
ROUNDING = 1e-9  # by which equal differences of points differ in floating point, with room to spare


@dataclass(frozen=True)
class Spread:
    """What a number is over seeds.

    Attributes:
        mean: of the values.
        deviation: their sample standard deviation; None where there is one value.
        n: how many there are.
    """

    mean: float
    deviation: float | None
    n: int

    @classmethod
    def of(cls, values: Collection[float]) -> "Spread":
        """The spread of one or more values."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    @property
    def error(self) -> float | None:
        """The standard error of the mean; None where there is one value."""
        return None if self.deviation is None else self.deviation / math.sqrt(self.n)

    @property
    def clear(self) -> bool:
        """Whether the mean is more than three standard errors from zero, which by chance alone one in ten is of three
        values, one in 25 of five. It never is of one or two (one pair in five), nor of equal ones, whose error nobody
        knows."""
        return self.n > 2 and self.error is not None and ROUNDING < CLEAR * self.error < abs(self.mean)


def spread(values: Sequence[float]) -> str:
    """``mean ± sample standard deviation`` to three places; the mean alone where there is one value."""
    found = Spread.of(values)
    return f"{found.mean:.3f}" + ("" if found.deviation is None else f" ± {found.deviation:.3f}")


def gain(values: Sequence[float], baseline: Sequence[float]) -> str:
    """Mean and standard error of the differences of runs of the same seeds, ``+mean ± error``, to three places."""
    found = Spread.of([value - base for value, base in zip(values, baseline, strict=True)])
    return f"{found.mean:+.3f}" + ("" if found.error is None else f" ± {found.error:.3f}")
