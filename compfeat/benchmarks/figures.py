"""What a benchmark prints: a table for people, and the figures as one json object on the last line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from compfeat.machine import description


def report(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], figures: Mapping[str, Any]) -> None:
    """Prints a table of ``rows`` and then ``figures`` as one line of json, with the machine they belong to."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(table)
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    print(json.dumps(rounded | {"machine": description()}))
