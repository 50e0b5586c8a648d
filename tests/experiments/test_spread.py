"""Mean and spread over seeds."""

import pytest

from compfeat.experiments.spread import Spread, gain, spread


def test_mean_deviation_and_standard_error():
    found = Spread.of([1.0, 2.0, 6.0])
    assert (found.mean, found.n) == (3.0, 3)
    assert found.deviation == pytest.approx(7**0.5) and found.error == pytest.approx((7 / 3) ** 0.5)
    assert spread([0.2, 0.4]) == "0.300 ± 0.141"
    assert gain([0.5, 0.9], [0.2, 0.4]) == "+0.400 ± 0.100"


def test_one_seed_has_no_spread():
    found = Spread.of([0.25])
    assert found.deviation is None and found.error is None and not found.clear
    assert spread([0.25]) == "0.250" and gain([0.25], [0.5]) == "-0.250"


@pytest.mark.parametrize(
    ("values", "clear"),
    [
        ([1.0, 1.4, 1.2], True),
        ([-1.0, -1.4, -1.2], True),
        ([0.2, 1.5, 1.0], False),
        ([1.0, 1.01], False),  # two are too few
        ([1.0, 1.0, 1.0], False),  # as are values that are equal by chance
        ([100 * ap - 100 * (ap - 0.1) for ap in (0.3, 0.4, 0.5)], False),  # but for rounding
    ],
)
def test_clear_is_what_is_more_than_three_standard_errors_from_zero(values, clear):
    assert Spread.of(values).clear == clear
