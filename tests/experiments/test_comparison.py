"""Our rows beside the paper's, against numbers worked out by hand."""

import math
import statistics

import pytest
from made_up_runs import write_run

from compfeat.experiments.comparison import compare, other_measurements, paper_comparisons
from compfeat.experiments.runs import measured_runs
from compfeat.experiments.tables import Column, Row, Table, paper_tables

TABLE = Table(
    "table9",
    "Three rows",
    [Column("scores", "AP"), Column("scores", "AP50")],
    [
        Row("the paper's alone", None, (50.0, 60.0)),
        Row("base", "baseline", (24.1, 42.6)),
        Row("one", "frame_dual", (25.8, 44.5)),
        Row("other", "object_dual", (26.1, 42.6)),
    ],
)


def write(folder, row, values, evaluation="scores", **facts):
    """A run for each seed, AP50 being AP + 0.2."""
    for seed, value in values.items():
        write_run(folder, row, seed, {evaluation: {"AP": value, "AP50": value + 0.2}}, **facts)


def line(comparison, row):
    return next(line for line in comparison.lines if line.row == row)


def test_levels_and_gains_are_those_of_the_seeds(tmp_path):
    base, one = {0: 0.30, 1: 0.34, 2: 0.29}, {0: 0.33, 1: 0.36, 2: 0.35, 3: 0.9}
    write(tmp_path, "baseline", base)
    write(tmp_path, "frame_dual", one)
    cell = line(compare(TABLE, measured_runs(tmp_path)), "frame_dual").cells[0]
    assert cell.ours.mean == pytest.approx(100 * statistics.fmean(one.values()))
    assert cell.ours.deviation == pytest.approx(100 * statistics.stdev(one.values())) and cell.ours.n == 4
    differences = [3.0, 2.0, 6.0]  # of the seeds that both have
    assert cell.gain.mean == pytest.approx(statistics.fmean(differences)) and cell.gain.n == 3
    assert cell.gain.error == pytest.approx(statistics.stdev(differences) / math.sqrt(3))
    assert (cell.paper, cell.paper_gain, cell.same_sign) == (25.8, 1.7, True)


def test_a_row_of_which_the_paper_has_nothing_stands_beside_its_rows(tmp_path):
    own = Table("table9", "Two rows", TABLE.columns, [TABLE.rows[1], Row("own", "own", (None, None))])
    write(tmp_path, "baseline", {0: 0.30, 1: 0.32})
    write(tmp_path, "own", {0: 0.33, 1: 0.36})
    compared = compare(own, measured_runs(tmp_path))
    cell = line(compared, "own").cells[0]
    assert cell.gain.mean == pytest.approx(3.5) and (cell.paper, cell.paper_gain, cell.same_sign) == (None, None, None)
    assert compared.signs.of == compared.order.of == 0


def test_one_seed_has_a_level_and_a_gain_but_no_spread(tmp_path):
    write(tmp_path, "baseline", {0: 0.3})
    write(tmp_path, "frame_dual", {0: 0.2})
    cell = line(compare(TABLE, measured_runs(tmp_path)), "frame_dual").cells[0]
    assert cell.ours.mean == pytest.approx(20) and cell.ours.deviation is None
    assert cell.gain.mean == pytest.approx(-10) and cell.gain.error is None and not cell.gain.clear
    assert cell.same_sign is False


def test_without_seeds_in_common_there_is_no_gain(tmp_path):
    write(tmp_path, "baseline", {0: 0.3})
    write(tmp_path, "frame_dual", {1: 0.2})
    comparison = compare(TABLE, measured_runs(tmp_path))
    cell = line(comparison, "frame_dual").cells[0]
    assert cell.gain is None and cell.same_sign is None and cell.ours.n == 1
    assert comparison.signs.of == comparison.order.of == 0


def test_rows_that_are_not_run_are_the_papers_alone(tmp_path):
    write(tmp_path, "baseline", {0: 0.3, 1: 0.4})
    comparison = compare(TABLE, measured_runs(tmp_path))
    alone, base, *others = comparison.lines
    assert not alone.measured and alone.cells[0].paper == 50 and alone.cells[0].paper_gain is None
    assert base.measured and base.cells[0].gain is None and base.cells[0].paper_gain is None
    assert all(not line.measured and line.cells[0].paper_gain > 0 for line in others)


def test_only_what_was_measured_of_finished_runs_counts(tmp_path):
    write(tmp_path, "baseline", {0: 0.3})
    write(tmp_path, "baseline", {1: 0.9}, status="failed", error="no")
    write(tmp_path, "baseline", {2: 0.9}, status="running")
    write_run(tmp_path, "baseline", 3, {"scores": {"AP": -1.0, "AP50": 0.5}})  # -1: nothing counts
    found = line(compare(TABLE, measured_runs(tmp_path)), "baseline")
    assert list(found.cells[0].values) == [0] and list(found.cells[1].values) == [0, 3]
    assert [(run.seed, run.status) for run in found.unfinished] == [(1, "failed"), (2, "running")]


def test_signs_and_order_are_counted(tmp_path):
    write(tmp_path, "baseline", {0: 0.300, 1: 0.310, 2: 0.305})
    write(tmp_path, "frame_dual", {0: 0.350, 1: 0.361, 2: 0.3555})  # a clear gain, as in the paper
    write(tmp_path, "object_dual", {0: 0.310, 1: 0.290, 2: 0.300})  # neither
    comparison = compare(TABLE, measured_runs(tmp_path))
    signs = comparison.signs  # of object_dual's AP50 the paper's gain is zero
    assert (signs.same, signs.of, signs.clear_same, signs.clear) == (2, 3, 2, 2)
    ap, ap50 = comparison.orders  # base < one is right and clear, one < other is wrong, base < other is wrong
    assert (ap.same, ap.of, ap.clear_same, ap.clear) == (1, 3, 1, 2)
    assert (ap50.same, ap50.of) == (2, 2)  # base and other are equal in the paper
    assert (comparison.order.same, comparison.order.of) == (3, 5)


def test_tables_are_shown_for_which_something_was_run(tmp_path):
    def shown():
        return [comparison.key for comparison in paper_comparisons(paper_tables(), measured_runs(tmp_path))]

    assert shown() == []
    write(tmp_path, "correlation", {0: 0.3})
    assert shown() == ["table3"]
    write(tmp_path, "baseline", {0: 0.3}, evaluation="cues")
    assert shown() == ["table3", "table5"]
    write(tmp_path, "uniform2", {0: 0.3}, evaluation="frames2", status="failed", error="no")
    assert shown() == ["table3", "table4", "table5"]


def test_columns_of_several_evaluations_name_them(tmp_path):
    write(tmp_path, "uniform2", {0: 0.3}, evaluation="frames2")
    (table4,) = paper_comparisons(paper_tables(), measured_runs(tmp_path))
    assert list(table4.columns) == ["AP, frames2", "AP, frames3", "AP, frames4", "AP, frames5"]


def test_what_is_in_no_table_is_compared_with_the_baseline(tmp_path):
    write_run(tmp_path, "baseline", 0, {"scores": {"AP": 0.3}, "mine": {"AP": 0.2}})
    write_run(tmp_path, "compfeat", 0, {"scores": {"AP": 0.4}, "mine": {"AP": 0.25}})
    write_run(tmp_path, "mine", 0, {"scores": {"AP": 0.45}})
    other = other_measurements(paper_tables(), measured_runs(tmp_path))
    assert [(line.row, line.name) for line in other.lines] == [
        ("baseline", "mine"),
        ("compfeat", "mine"),
        ("mine", "scores"),
    ]
    gains = [line.cells[0].gain for line in other.lines]
    assert gains[0] is None and gains[1].mean == pytest.approx(5) and gains[2].mean == pytest.approx(15)
    assert other.lines[0].cells[1].ours is None  # AP50 was not measured


def test_nothing_else_measured_is_nothing(tmp_path):
    write(tmp_path, "baseline", {0: 0.3})
    assert other_measurements(paper_tables(), measured_runs(tmp_path)) is None
