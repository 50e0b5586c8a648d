"""Our rows beside the paper's: levels, gains over the baseline row, and whether their signs and order agree."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations
from operator import itemgetter

from compfeat.evaluation.tube_ap import Metric
from compfeat.experiments.record import Run
from compfeat.experiments.runs import MeasuredRun
from compfeat.experiments.spread import Spread
from compfeat.experiments.tables import Column, Table

BASELINE = "baseline"  # the experiment from which gains are measured outside the paper's tables
OTHER_METRICS: tuple[Metric, ...] = ("AP", "AP50", "AP75", "AR1", "AR10")  # those that the paper reports

Points = Mapping[int, float]  # by seed, 0 to 100


@dataclass(frozen=True)
class Cell:
    """One number of one row, in points.

    Attributes:
        values: ours, by seed.
        differences: ours from the baseline row's of the same seed, by seed; none for the baseline row itself.
        paper: what the paper has; None where it has nothing.
        paper_gain: what the paper has over its baseline row; None for that and for rows that one of us has not.
    """

    values: Points
    differences: Points
    paper: float | None = None
    paper_gain: float | None = None

    @property
    def ours(self) -> Spread | None:
        """None where nothing was measured."""
        return Spread.of(self.values.values()) if self.values else None

    @property
    def gain(self) -> Spread | None:
        """Over the seeds that both rows have; None where there is none."""
        return Spread.of(self.differences.values()) if self.differences else None

    @property
    def same_sign(self) -> bool | None:
        """Whether our gain has the sign of the paper's; None where one of them is missing or the paper's is zero."""
        if self.gain is None or not self.paper_gain:
            return None
        return self.gain.mean * self.paper_gain > 0


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        name: in words.
        row: the experiment; None where it is the paper's alone.
        cells: one a column.
        unfinished: its runs that failed, or are not done yet.
        unmeasured: those that finished and were not measured as they were to be.
    """

    name: str
    row: str | None
    cells: Sequence[Cell]
    unfinished: Sequence[Run]
    unmeasured: Sequence[Run]

    @property
    def measured(self) -> bool:
        return any(cell.values for cell in self.cells)


@dataclass(frozen=True)
class Agreement:
    """How many differences have the sign that they have in the paper.

    Attributes:
        same, of: so many of so many.
        clear_same, clear: the same of those of ours that are clear (``Spread.clear``).
    """

    same: int
    of: int
    clear_same: int
    clear: int

    @classmethod
    def among(cls, pairs: Iterable[tuple[Spread, float]]) -> "Agreement":
        """The agreement of our differences with the paper's, which are not zero."""
        found = [(ours.mean * paper > 0, ours.clear) for ours, paper in pairs]
        clear = [same for same, is_clear in found if is_clear]
        return cls(sum(same for same, _ in found), len(found), sum(clear), len(clear))


@dataclass(frozen=True)
class Comparison:
    """A table with our numbers in it.

    Attributes:
        key: "table2".
        title: in words.
        columns: their names.
        lines: the rows.
        orders: for each column, how many of the pairs of rows are ordered as in the paper.
        baseline: the row that gains are measured from.
    """

    key: str
    title: str
    columns: Sequence[str]
    lines: Sequence[Line]
    orders: Sequence[Agreement]
    baseline: str

    @property
    def signs(self) -> Agreement:
        """How many of our gains have the sign of the paper's."""
        cells = [cell for line in self.lines for cell in line.cells]
        return Agreement.among((c.gain, c.paper_gain) for c in cells if c.gain is not None and c.paper_gain)

    @property
    def order(self) -> Agreement:
        """How many pairs of rows are ordered as in the paper, of all columns."""
        return Agreement(*(sum(counts) for counts in zip(*map(astuple, self.orders), strict=True)))


def compare(table: Table, runs: Sequence[MeasuredRun]) -> Comparison:
    """A table of the paper with ours beside it; only what was measured of finished runs counts."""
    lines = []
    evaluations = {column.evaluation for column in table.columns}
    for row in table.rows:
        cells = []
        for column, paper, paper_base in zip(table.columns, row.paper, table.baseline.paper, strict=True):
            differs = row.row is not None and row is not table.baseline
            values = _points(runs, row.row, column)
            differences = _differences(values, _points(runs, table.baseline.row, column)) if differs else {}
            counted = None if paper is None or paper_base is None else round(paper - paper_base, 1)
            cells.append(Cell(values, differences, paper, counted if differs else None))
        lines.append(_line(row.name, row.row, cells, runs, evaluations))
    return Comparison(
        table.key,
        table.title,
        [
            f"{column.metric}, {column.evaluation}" if len(evaluations) > 1 else column.metric
            for column in table.columns
        ],
        lines,
        [_order([line.cells[index] for line in lines]) for index in range(len(table.columns))],
        str(table.baseline.row),
    )


def paper_comparisons(tables: Sequence[Table], runs: Sequence[MeasuredRun]) -> list[Comparison]:
    """The tables for which something was run: measured as they ask, or meant to be and not finished."""

    def concerned(table: Table) -> bool:
        rows = {row.row for row in table.rows}
        evaluations = {column.evaluation for column in table.columns}
        return any(measured.run.name in rows and evaluations & _asked(measured) for measured in runs)

    return [compare(table, runs) for table in tables if concerned(table)]


def other_measurements(tables: Sequence[Table], runs: Sequence[MeasuredRun]) -> Comparison | None:
    """What was measured of rows, or by evaluations, that are in none of the tables; None where nothing was."""
    shown = {(row.row, column.evaluation) for table in tables for row in table.rows for column in table.columns}
    measured = dict.fromkeys((one.run.name, evaluation) for one in runs for evaluation in _measured(one))
    lines = []
    for row, evaluation in sorted(measured, key=itemgetter(1)):
        if (row, evaluation) not in shown:
            cells = []
            for metric in OTHER_METRICS:
                values = _points(runs, row, Column(evaluation, metric))
                base = {} if row == BASELINE else _points(runs, BASELINE, Column(evaluation, metric))
                cells.append(Cell(values, _differences(values, base)))
            lines.append(_line(evaluation, row, cells, runs, {evaluation}))
    if not lines:
        return None
    return Comparison("other", "Other measurements", OTHER_METRICS, lines, [], BASELINE)


def _points(runs: Sequence[MeasuredRun], row: str | None, column: Column) -> dict[int, float]:
    values = {one.run.seed: _measured(one).get(column.evaluation, {}) for one in runs if one.run.name == row}
    return {
        seed: 100 * metrics[column.metric]
        for seed, metrics in values.items()
        if metrics.get(column.metric, -1) >= 0  # -1 where nothing counts
    }


def _differences(values: Points, baseline: Points) -> dict[int, float]:
    return {seed: value - baseline[seed] for seed, value in values.items() if seed in baseline}


def _order(cells: Sequence[Cell]) -> Agreement:
    pairs = []
    for one, other in combinations(cells, 2):
        differences = _differences(one.values, other.values)
        if differences and one.paper is not None and other.paper is not None and one.paper != other.paper:
            pairs.append((Spread.of(differences.values()), one.paper - other.paper))
    return Agreement.among(pairs)


def _measured(one: MeasuredRun) -> Mapping[str, Mapping[str, float]]:
    return one.metrics if one.run.status == "finished" else {}


def _asked(one: MeasuredRun) -> set[str]:
    return set(one.run.config.get("evaluations") or {}) | set(_measured(one))


def _line(
    name: str, row: str | None, cells: Sequence[Cell], runs: Sequence[MeasuredRun], evaluations: set[str]
) -> Line:
    of_row = [one for one in runs if one.run.name == row]
    unfinished = [one.run for one in of_row if one.run.status != "finished"]
    return Line(name, row, cells, unfinished, [one.run for one in of_row if evaluations & set(one.unmeasured)])
