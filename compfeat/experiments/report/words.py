"""Numbers and facts of a report in words, the same on the page, in Markdown and in the terminal."""

import re
from collections.abc import Iterable, Mapping

from compfeat.experiments.comparison import Agreement, Cell, Comparison, Line
from compfeat.experiments.spread import Spread

NOTHING = "–"
CLEARLY = "*"  # behind what is more than three standard errors from zero
SAME, UNLIKE = "✓", "✗"  # sign as in the paper, or not
DIFFERENT = "Runs that are compared here were not trained or measured alike"
WAYS = (  # conf/evaluation
    "Ways to measure: scores, matched by the network alone; cues, also by confidence, overlap and class; letter and "
    "letter_cues, the same with the paper’s hard labels, a detection for every class that an object may be; frames2 to "
    "frames5, scores from so many support frames."
)
MINUS = str.maketrans("-", "−")


def number(value: float | None) -> str:
    """Points to one place: "24.1"."""
    return NOTHING if value is None else f"{value:.1f}"


def signed(value: float | None) -> str:
    """Points to one place with their sign: "+1.1", "−0.3"."""
    return NOTHING if value is None else f"{value:+.1f}".translate(MINUS)


def give_or_take(value: float | None) -> str:
    """A deviation or an error: "± 0.4"; nothing where there is none."""
    return "" if value is None else f"± {value:.1f}"


def level(value: Spread | None) -> str:
    """Mean and standard deviation: "24.1 ± 0.4"."""
    return NOTHING if value is None else f"{number(value.mean)} {give_or_take(value.deviation)}".strip()


def gained(value: Spread | None) -> str:
    """Mean, standard error and whether it is clear: "+1.1 ± 0.2*"."""
    if value is None:
        return NOTHING
    return f"{signed(value.mean)} {give_or_take(value.error)}".strip() + (CLEARLY if value.clear else "")


def sign(cell: Cell) -> str:
    """Whether our gain has the sign of the paper's."""
    return "" if cell.same_sign is None else SAME if cell.same_sign else UNLIKE


def seeds(line: Line) -> str:
    """How many seeds were measured: "3"; of each column that was where they differ: "3, 3, 2"."""
    counts = [str(len(cell.values)) for cell in line.cells if cell.values]
    return ", ".join(counts if len(set(counts)) > 1 else counts[:1]) or NOTHING


def left_out(line: Line) -> str:
    """How many runs count in none of its numbers, or not in all: "1 not finished, 2 not measured"."""
    counts = {"not finished": len(line.unfinished), "not measured": len(line.unmeasured)}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def by_seed(cell: Cell) -> str:
    """What was measured of each seed: "seed 0: 24.1, seed 1: 24.6"."""
    return ", ".join(f"seed {seed}: {number(value)}" for seed, value in sorted(cell.values.items()))


def fewer_pairs(table: Comparison) -> list[str]:
    """Says of which rows a gain is over fewer seeds than the row has."""
    notes = []
    for line in table.lines:
        fewer = [cell.differences for cell in line.cells if 0 < len(cell.differences) < len(cell.values)]
        for seeds_of_both in sorted({tuple(sorted(differences)) for differences in fewer}):
            told = ", ".join(map(str, seeds_of_both))
            notes.append(f"{line.name}: gains over seeds {told} alone, which {table.baseline} has too.")
    return notes


def caveat(name: str, built_in: bool) -> str:
    """What may be compared."""
    ours = f"Our numbers were measured on {name}"
    theirs = "the validation videos of YouTube-VIS 2019"
    if built_in:
        data = f"{ours}, videos that this project draws itself, and not on the paper’s data, {theirs}."
        levels = "Levels can therefore not be compared, but"
    else:
        data = f"{ours}, the paper’s on {theirs}."
        levels = "Where these are not the same videos, levels cannot be compared, but"
    gains = "gains over the baseline row can: whether they have the sign, and the order, that they have in the paper."
    return f"{data} {levels} {gains}"


def agreement(value: Agreement) -> str:
    """How many of how many: "19 of 21, 12 of 12*", those with the star being of clear differences."""
    if not value.of:
        return NOTHING
    return f"{value.same} of {value.of}" + (f", {value.clear_same} of {value.clear}{CLEARLY}" if value.clear else "")


def quantity(value: Spread, places: int = 0) -> str:
    """Mean and standard deviation of what is counted or taken: "2,400", "24.1 ± 0.4"."""
    told = f"{value.mean:,.{places}f}"
    return f"{told} ± {value.deviation:,.{places}f}" if value.deviation else told


def commit(value: str | None) -> str:
    """Seven digits of each, with ``+`` behind them where files had been changed."""
    return NOTHING if value is None else ", ".join(one[:7] + "+" * one.endswith("+") for one in value.split(", "))


def days(moments: Iterable[str]) -> str:
    """The first and the last day of moments in ISO 8601: "2026-11-20 to 2026-11-27"; one alone where they are one."""
    every = sorted({moment[:10] for moment in moments})
    return " to ".join(dict.fromkeys([every[0], every[-1]]))


def machine(facts: Mapping[str, str]) -> str:
    """One line of a machine's description."""
    named = (value if key in ("processor", "gpu") else f"{key} {value}" for key, value in facts.items())
    return ", ".join(named)


def error(message: str | None) -> str:
    """Why a run failed; of paths nothing but the last part, for the folders are nobody's business."""
    return re.sub(r"(?:file://|(?<![\w./<]))~?/(?!/)(?:[\w.+=@-]+/)*", "…/", message or "")
