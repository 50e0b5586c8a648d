import re

import pytest
from rich.console import Console

import compfeat.progress
from compfeat.progress import ProgressLines, progress, tracked


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(compfeat.progress, "monotonic", lambda: now[0])
    return now


def test_lines_tell_every_tenth_and_the_time_left(clock, capsys):
    lines = ProgressLines("training", 100, "steps")
    for _ in range(100):
        clock[0] += 2
        lines.advance(note=lambda: "loss 3")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 10
    assert told[0] == "training: 10 of 100 steps, 0.5 a second, 3 min left, loss 3"
    assert told[-2] == "training: 90 of 100 steps, 0.5 a second, 20 s left, loss 3"
    assert told[-1] == "training: 100 of 100 steps, 0.5 a second, loss 3"


def test_lines_that_would_come_too_fast_are_left_out_but_the_last(clock, capsys):
    lines = ProgressLines("evaluating", 20, "videos")
    for _ in range(20):
        clock[0] += 0.1
        lines.advance()
    assert capsys.readouterr().err == "evaluating: 20 of 20 videos, 10 a second\n"


def test_silence_never_lasts_and_an_unknown_length_is_counted(clock, capsys):
    lines = ProgressLines("dog", None, "frames")
    for _ in range(100):
        clock[0] += 1
        lines.advance(2)
    told = capsys.readouterr().err.splitlines()
    assert told == [f"dog: {2 * seconds} frames, 2 a second" for seconds in (31, 62, 93)]


def test_steps_done_before_count_for_nothing_and_what_the_first_waited_for_not_for_the_time_left(clock, capsys):
    lines = ProgressLines("training", 1000, "steps", done=900)
    clock[0] += 80
    lines.advance()
    clock[0] += 49
    lines.advance(49)
    first, later = capsys.readouterr().err.splitlines()
    assert first == "training: 901 of 1000 steps, 0.0125 a second"
    assert later == "training: 950 of 1000 steps, 0.388 a second, 50 s left"


def test_tracked_items_are_passed_on(capsys):
    assert list(tracked([3, 1, 2], "drawing", 3, "videos")) == [3, 1, 2]
    assert re.fullmatch(r"drawing: 3 of 3 videos, \S+ a second\n", capsys.readouterr().err)


@pytest.mark.parametrize("terminal", [True, False])
def test_brackets_in_a_name_are_no_markup(terminal, monkeypatch, capsys):
    monkeypatch.setattr(
        compfeat.progress, "_console", lambda: Console(stderr=True, force_terminal=terminal, no_color=True, width=120)
    )
    with progress("run [v1] x[/y]", 1, "frames") as advance:
        advance(1)
    assert "run [v1] x[/y]" in capsys.readouterr().err
