"""What it took to train rows, and on what."""

from collections.abc import Sequence
from dataclasses import dataclass

from compfeat.experiments.report import words
from compfeat.experiments.runs import MeasuredRun
from compfeat.experiments.spread import Spread


@dataclass(frozen=True)
class RowCost:
    """What the runs of a row took that finished.

    Attributes:
        row: the experiment.
        steps, minutes: of training, interruptions not counted.
        memory: its peak, GiB.
        trained, parameters: of the network that are trained, and all of them; None where nobody counted.
        machines: what they ran on.
        commits: of the code, seven digits, with ``+`` behind them where files had been changed.
    """

    row: str
    steps: Spread
    minutes: Spread
    memory: Spread
    trained: int | None
    parameters: int | None
    machines: Sequence[str]
    commits: Sequence[str]


def row_costs(runs: Sequence[MeasuredRun]) -> list[RowCost]:
    """The costs of all rows of which runs finished."""
    finished = [one.run for one in runs if one.run.status == "finished"]
    costs = []
    for row in dict.fromkeys(run.name for run in finished):
        of_row = [run for run in finished if run.name == row]
        counted = of_row[-1].parameters
        costs.append(
            RowCost(
                row,
                Spread.of([run.steps for run in of_row]),
                Spread.of([run.seconds / 60 for run in of_row]),
                Spread.of([run.peak_memory_gib for run in of_row]),
                counted.get("trained"),
                counted.get("all"),
                list(dict.fromkeys(words.machine(run.machine) for run in of_row)),
                list(dict.fromkeys(words.commit(run.commit) for run in of_row if run.commit)),
            )
        )
    return costs
