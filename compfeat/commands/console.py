"""What commands print: lines and tables for people."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from compfeat.machine import rank

# Paths and names are printed as they are: "run [v1]" is no markup, "a:car:b" no picture of a car.
console = Console(quiet=rank() > 0, markup=False, emoji=False)


def print_table(title: str, values: Mapping[str, float], form: str = "{:.4f}") -> None:
    """A line for each value; negative ones, which the metrics have for "nothing to measure", are dashes."""
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("")
    table.add_column("value", justify="right")
    for name, value in values.items():
        table.add_row(name, "-" if value < 0 else form.format(value))
    console.print(table)
