"""The paper's tables, and which row of ours stands beside each of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from compfeat.evaluation.tube_ap import Metric

FILE = Path(__file__).with_suffix(".yaml")


class Column(NamedTuple):
    """What is measured: how (an evaluation, a folder of a run) and which number of it."""

    evaluation: str
    metric: Metric


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: in words.
        row: the experiment that is the same here; None where there is none.
        paper: what the paper reports in each column, in points; None where it has no such row.
    """

    name: str
    row: str | None
    paper: tuple[float | None, ...]


@dataclass(frozen=True)
class Table:
    """One table of the paper."""

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]

    @property
    def baseline(self) -> Row:
        """The row that gains are measured from."""
        return next(row for row in self.rows if row.row is not None)


def paper_tables() -> list[Table]:
    """The paper's Tables 1 to 5."""
    return [_table(str(key), table) for key, table in OmegaConf.load(FILE).items()]


def _table(key: str, table: Any) -> Table:
    columns = [Column(*column) for column in table.columns]
    metrics = [column.metric for column in columns]

    def paper(numbers: Sequence[float] | None) -> tuple[float | None, ...]:
        if numbers is None:
            return (None,) * len(metrics)
        return (*numbers, *(numbers[metrics.index(metric)] for metric in metrics[len(numbers) :]))

    return Table(key, table.title, columns, [Row(row.name, row.row, paper(row.paper)) for row in table.rows])
