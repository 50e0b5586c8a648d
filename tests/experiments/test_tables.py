"""That the paper's tables are the paper's, and that each row and evaluation of them is one of ours."""

import re

import pytest
from composed import composed

from compfeat.commands.launch import CONF
from compfeat.experiments.tables import paper_tables

PAPER = CONF.parents[1] / "shared" / "paper.txt"
TABLES = paper_tables()


def cells(line):
    return tuple(map(float, re.findall(r"(?<![\d.])\d+\.\d(?![\d.])", line)))


def printed():
    """The numbers of the lines of the paper's tables."""
    lines = [cells(line) for line in PAPER.read_text().splitlines() if "\t" in line]
    return [numbers for numbers in lines if len(numbers) > 2]


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not at hand")
def test_every_row_is_a_line_of_the_paper():
    lines = printed()
    rows = [row for table in TABLES for row in table.rows if any(row.paper)]
    assert [row for row in rows if not any(row.paper[: len(line)] == line for line in lines)] == []


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not at hand")
def test_every_line_of_the_papers_tables_is_a_row():
    ours = [row.paper for table in TABLES for row in table.rows]
    lines = printed()
    assert len(lines) == 25 and [line for line in lines if not any(row[: len(line)] == line for row in ours)] == []


def test_a_column_of_its_own_stands_beside_the_papers_number_of_the_same_metric():
    (table,) = (table for table in TABLES if table.key == "table5")
    compfeat = dict(zip(table.columns, table.rows[-1].paper, strict=True))
    assert compfeat["letter_cues", "AP"] == compfeat["cues", "AP"] == 35.3


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.key)
def test_a_sweep_trains_and_measures_what_its_table_shows(table):
    cfg = composed("train", f"sweep={table.key}")
    assert cfg.hydra.sweeper.params.experiment.split(",") == [row.row for row in table.rows if row.row]
    assert list(cfg.evaluations) == list(dict.fromkeys(column.evaluation for column in table.columns))
    assert all(len(row.paper) == len(table.columns) for row in table.rows)
