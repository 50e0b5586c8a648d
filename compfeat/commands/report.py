"""Sets the runs of a folder beside the paper's tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from rich.table import Table

from compfeat.commands.console import console
from compfeat.experiments.comparison import Comparison, Line
from compfeat.experiments.report import words
from compfeat.experiments.report.contents import Contents
from compfeat.experiments.report.markdown import markdown
from compfeat.experiments.report.page import write_page
from compfeat.files import written_whole
from compfeat.quantities import PathName


class ReportConfig(Protocol):
    """The keys of ``conf/report.yaml``."""

    runs: PathName
    output: PathName | None


def report(cfg: ReportConfig) -> None:
    """Writes report.md and report.html as ``conf/report.yaml`` describes, and prints the APs of the tables.

    Raises:
        FileNotFoundError: there are no runs.
        ValueError: two runs are of the same row and seed.
    """
    contents = Contents.of(Path(cfg.runs))
    output = Path(cfg.output or cfg.runs)
    write_page(contents, output / "report.html")
    with written_whole(output / "report.md") as partial:
        partial.write_text(markdown(contents), encoding="utf-8")
    for table in contents.comparisons:
        _print(table, f"Table {table.key.removeprefix('table')}. {table.title}: AP", lambda line: line.row or "")
    if contents.other is not None:
        _print(contents.other, f"{contents.other.title}: AP", lambda line: f"{line.row}, {line.name}")
    for one in contents.unfinished:
        said = f": {one.run.error}" if one.run.error else ""
        console.print(f"{one.folder.name}: {one.run.status}{said}", soft_wrap=True)
    for one in contents.unmeasured:
        console.print(f"{one.folder.name}: finished, not measured by {', '.join(one.unmeasured)}", soft_wrap=True)
    for told in contents.different:
        console.print(f"{words.DIFFERENT}: {told}", soft_wrap=True)
    console.print(
        f"ours: mean ± standard deviation; gain: mean ± standard error, {words.CLEARLY} more than three of them from "
        f"zero over three seeds or more, {words.SAME} of the paper's sign, {words.UNLIKE} not",
        soft_wrap=True,
    )
    console.print(words.WAYS, soft_wrap=True)
    console.print(f"see {output / 'report.html'}, {output / 'report.md'}", soft_wrap=True)


def _print(comparison: Comparison, title: str, name: Callable[[Line], str]) -> None:
    """A line for each of the table's APs of each row that is an experiment."""
    table = Table(title=title, title_justify="left")
    table.add_column("", overflow="fold")
    for column in ("seeds", "ours", "paper", "gain", "paper's", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for line in comparison.lines:
        for column, cell in zip(comparison.columns, line.cells, strict=True):
            metric, _, evaluation = column.partition(", ")
            if line.row is not None and metric == "AP":
                ours = [str(len(cell.values) or words.NOTHING), words.level(cell.ours), words.number(cell.paper)]
                gains = [words.gained(cell.gain), words.signed(cell.paper_gain), words.sign(cell)]
                table.add_row(", ".join(filter(None, (name(line), evaluation))), *ours, *gains)
    console.print(table)
