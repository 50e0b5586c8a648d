"""What rows lose by errors: the AP that the repair of each kind would gain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compfeat.evaluation.breakdown import KINDS, Kind
from compfeat.experiments.runs import MeasuredRun
from compfeat.experiments.spread import Spread


@dataclass(frozen=True)
class RowErrors:
    """The errors of one row.

    Attributes:
        row: the experiment.
        gains: of AP, in points, by kind of error, in the order of ``KINDS``.
    """

    row: str
    gains: Mapping[Kind, Spread]

    @property
    def n(self) -> int:
        """Of how many seeds."""
        return next(iter(self.gains.values())).n


def errors_by_evaluation(runs: Sequence[MeasuredRun]) -> dict[str, list[RowErrors]]:
    """The errors of all rows of which runs finished, by evaluation."""
    finished = [one for one in runs if one.run.status == "finished"]
    found: dict[str, list[RowErrors]] = {}
    for evaluation in dict.fromkeys(name for one in finished for name in one.errors):
        for row in dict.fromkeys(one.run.name for one in finished if evaluation in one.errors):
            of_row = [one.errors[evaluation] for one in finished if one.run.name == row and evaluation in one.errors]
            gains = {kind: Spread.of([100 * errors[kind] for errors in of_row]) for kind in KINDS}
            found.setdefault(evaluation, []).append(RowErrors(row, gains))
    return found
