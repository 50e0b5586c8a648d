"""Charts as inline SVG: bars of gains with error bars, curves of training. Colours are the page's, by class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from compfeat.experiments.comparison import Comparison
from compfeat.experiments.report import words
from compfeat.experiments.report.curves import RowCurves
from compfeat.experiments.runs import Curve
from compfeat.experiments.spread import Spread

WIDTH = 300  # of a panel, in units of its own; the page scales it
EDGE = 4  # that nothing touches the border of a panel

Range = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Values to positions along one direction of a panel."""

    values: Range
    positions: Range

    def __call__(self, value: float) -> float:
        (low, high), (begin, end) = self.values, self.positions
        return round(begin + (value - low) / (high - low) * (end - begin), 1)

    def ticks(self, count: int) -> list[float]:
        """Round values within the range, about so many."""
        low, high = self.values
        rough = (high - low) / count
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= 0.75 * rough)
        return [step * number for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def gain_bars(comparison: Comparison) -> list[Markup]:
    """A panel for each column: the gain of each row over the baseline, ours above the paper's. None where there is
    nothing of ours to be shown."""
    rows = [line for line in comparison.lines if any(cell.gain for cell in line.cells)]
    if not rows:
        return []
    reached = [0.0]
    for cell in (cell for line in rows for cell in line.cells):
        reached += [] if cell.paper_gain is None else [cell.paper_gain]
        if cell.gain is not None:
            reached += [cell.gain.mean - (cell.gain.error or 0), cell.gain.mean + (cell.gain.error or 0)]
    values = _widened((min(reached), max(reached)))
    panels = []
    for index, column in enumerate(comparison.columns):
        bars = [(line.name, line.cells[index].gain, line.cells[index].paper_gain) for line in rows]
        panels.append(_bar_panel(column, comparison.baseline, bars, values))
    return panels


def _bar_panel(
    title: str, baseline: str, bars: Sequence[tuple[str, Spread | None, float | None]], values: Range
) -> Markup:
    pitch, bar, top = 40, 9, 24
    height = top + pitch * len(bars) + 20
    bottom = height - 18
    x = Axis(values, (EDGE, WIDTH - EDGE))
    drawn = [_text(EDGE, 13, title, "title")]
    for tick in x.ticks(5):
        kind = "zero" if abs(tick) < 1e-9 else "grid"
        drawn.append(_line(x(tick), top, x(tick), bottom, kind))
        drawn.append(_text(x(tick), height - 5, _tick(tick), "tick", anchor="middle"))
    beside = x(0) + 4 if x(0) < WIDTH / 2 else EDGE  # the line at zero does not run through names
    told = []
    for number, (name, ours, paper) in enumerate(bars):
        y = top + pitch * number
        drawn.append(_text(beside, y + 12, name, "label"))
        if ours is None:
            drawn.append(_text(x(0) + 3, y + 25, words.NOTHING, "label"))
        else:
            drawn.append(_bar(x, ours.mean, y + 17, bar, "ours"))
            if ours.error:
                drawn.append(_whisker(x, ours.mean - ours.error, ours.mean + ours.error, y + 17 + bar / 2))
        if paper is not None:
            drawn.append(_bar(x, paper, y + 18 + bar, bar - 2, "paper"))
        told.append(f"{name}: {words.gained(ours)}, the paper {words.signed(paper)}")
    return _svg(height, f"{title}: gain over {baseline}, points", "; ".join(told), drawn)


def curve_panels(rows: Sequence[RowCurves], baseline: str, scale: float) -> list[Markup]:
    """A panel for each row: its runs, their mean, and the mean of the baseline row to compare with."""
    points = [point for row in rows for curve in row.runs.values() for point in curve]
    steps = 0.0, float(max(1, *(step for step, _ in points)))
    values = _widened((scale * min(value for _, value in points), scale * max(value for _, value in points)))
    means = {row.row: row.mean for row in rows}
    others = {row.row: [] if row.row == baseline else means.get(baseline, []) for row in rows}
    return [_curve_panel(row, others[row.row], steps, values, scale) for row in rows]


def _curve_panel(row: RowCurves, baseline: Curve, steps: Range, values: Range, scale: float) -> Markup:
    height, left, top, bottom = 170, 32, 22, 150
    x, y = Axis(steps, (left, WIDTH - EDGE)), Axis(values, (bottom, top))
    drawn = [_text(left, 13, row.row, "title")]
    for tick in y.ticks(4):
        drawn.append(_line(left, y(tick), WIDTH - EDGE, y(tick), "grid"))
        drawn.append(_text(left - 4, y(tick) + 3.5, f"{tick:g}", "tick", anchor="end"))
    for tick in x.ticks(3):
        anchor = "middle" if x(tick) < WIDTH - 20 else "end"
        drawn.append(_text(x(tick), height - 6, f"{tick:,.0f}", "tick", anchor=anchor))
    drawn.append(_line(left, bottom, WIDTH - EDGE, bottom, "zero"))

    def path(curve: Curve, kind: str) -> Markup:
        points = " ".join(f"{x(step)},{y(scale * value)}" for step, value in curve)
        return Markup('<polyline class="{}" points="{}"/>').format(kind, points)

    drawn.append(path(baseline, "base"))
    drawn += [path(curve, "run") for curve in row.runs.values()]
    drawn.append(path(row.mean, "mean"))
    end = f"mean at the end {scale * row.mean[-1][1]:.3g}" if row.mean else "no run finished"
    return _svg(height, f"{row.row}: {len(row.runs)} runs", end, drawn)


def _widened(values: Range) -> Range:
    low, high = values
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _tick(value: float) -> str:
    return f"{value:+g}".translate(words.MINUS) if abs(value) > 1e-9 else "0"


def _svg(height: float, title: str, description: str, drawn: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><desc>{}</desc>{}</svg>').format(
        WIDTH, height, f"{title}. {description}", description, Markup("").join(drawn)
    )


def _text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(x, y, kind, anchor, content)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)


def _bar(x: Axis, value: float, y: float, height: float, kind: str) -> Markup:
    left, right = sorted((x(0), x(value)))
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        kind, left, y, round(right - left, 1), height
    )


def _whisker(x: Axis, low: float, high: float, y: float) -> Markup:
    left, right = x(low), x(high)
    return Markup('<path class="error" d="M{0} {2}H{1}M{0} {3}v6M{1} {3}v6"/>').format(left, right, y, y - 3)
