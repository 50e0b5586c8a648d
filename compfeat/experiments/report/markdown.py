"""The report as Markdown."""

from collections.abc import Iterable, Sequence

from compfeat.evaluation.breakdown import KINDS
from compfeat.experiments.comparison import Cell, Comparison, Line
from compfeat.experiments.report import words
from compfeat.experiments.report.contents import Contents


def markdown(contents: Contents) -> str:
    """All of the report that is numbers; charts and videos are on the page."""
    parts = [
        f"# CompFeat beside its paper: {contents.name}",
        words.caveat(contents.name, contents.built_in),
        "\n".join(f"- {what}: {told}" for what, told in contents.data.items()),
        *(f"**{words.DIFFERENT}:** {told}." for told in contents.different),
        "All numbers are points. Ours: mean ± sample standard deviation over seeds (gain over the baseline row, mean ± "
        "standard error of the differences of runs of the same seed). `*`: a gain of more than three standard errors, "
        "over three seeds or more (chance alone: one in ten of three, one in 25 of five); behind a count: of such "
        "differences alone. "
        f"{words.SAME}, {words.UNLIKE}: it has the sign of the paper's, or not; with `*` the paper's claim holds here "
        f"or is contradicted, without it neither can be told. {words.NOTHING}: not measured. {words.WAYS}",
    ]
    for table in contents.comparisons:
        parts += [f"## Table {table.key.removeprefix('table')}. {table.title}", _comparison(table)]
        parts += words.fewer_pairs(table)
    if contents.other is not None:
        parts += ["## Other measurements", _other(contents.other), *words.fewer_pairs(contents.other)]
    for evaluation, rows in contents.errors.items():
        lines = ([f"`{row.row}`", str(row.n), *map(words.level, row.gains.values())] for row in rows)
        parts += [f"## Errors, {evaluation}: AP to be gained", as_table(["row", "seeds", *KINDS], lines)]
    if contents.costs:
        parts += ["## Cost", _costs(contents)]
    parts += ["## Runs", _runs(contents)]
    return "\n\n".join(parts) + "\n"


def _comparison(table: Comparison) -> str:
    columns = [name for column in table.columns for name in (f"{column}, ours", f"{column}, paper")]
    lines = [[*_named(line), *(text for cell in line.cells for text in _pair(cell))] for line in table.lines]
    if any(order.of for order in table.orders):
        orders = (text for order in table.orders for text in (words.agreement(order), ""))
        lines.append(["pairs of rows in the paper's order", "", *orders])
    return as_table(["row", "seeds", *columns], lines)


def _other(table: Comparison) -> str:
    lines = ([*_named(line), *(_ours(cell) for cell in line.cells)] for line in table.lines)
    return as_table(["row", "seeds", *table.columns], lines)


def _named(line: Line) -> list[str]:
    left_out = words.left_out(line)
    seeds = words.seeds(line) + (f" ({left_out})" if left_out else "")
    return [line.name + (f" `{line.row}`" if line.row else ""), seeds]


def _pair(cell: Cell) -> tuple[str, str]:
    paper = words.number(cell.paper)
    return _ours(cell), paper if cell.paper_gain is None else f"{paper} ({words.signed(cell.paper_gain)})"


def _ours(cell: Cell) -> str:
    if cell.gain is None:
        return words.level(cell.ours)
    return f"{words.level(cell.ours)} ({words.gained(cell.gain)}) {words.sign(cell)}".strip()


def _costs(contents: Contents) -> str:
    columns = ["row", "seeds", "steps", "minutes", "peak memory, GiB", "parameters", "trained", "machine", "commit"]
    lines = (
        [
            f"`{cost.row}`",
            str(cost.steps.n),
            words.quantity(cost.steps),
            words.quantity(cost.minutes, 1),
            words.quantity(cost.memory, 2),
            *(words.NOTHING if count is None else f"{count:,}" for count in (cost.parameters, cost.trained)),
            "; ".join(cost.machines),
            ", ".join(cost.commits),
        ]
        for cost in contents.costs
    )
    return as_table(columns, lines)


def _runs(contents: Contents) -> str:
    columns = ["run", "status", "steps", "minutes", "best validation AP", "measured by", "commit"]
    lines = (
        [
            one.folder.name,
            one.run.status + (f": {words.error(one.run.error)}" if one.run.error else ""),
            f"{one.run.steps:,}",
            f"{one.run.seconds / 60:.1f}",
            words.number(None if one.run.best is None else 100 * one.run.best),
            ", ".join([*one.metrics, *(f"not {name}" for name in one.unmeasured)]) or words.NOTHING,
            words.commit(one.run.commit),
        ]
        for one in contents.runs
    )
    return as_table(columns, lines)


def as_table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of Markdown, whatever its cells hold."""
    cells = [columns, ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(_escaped(text) for text in line)} |" for line in cells)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
