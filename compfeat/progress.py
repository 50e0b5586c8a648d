"""Progress that reads well wherever it goes: a bar in a terminal, now and then a plain line in a file or a pipe.

It goes to stderr, so that what a command prints can be piped on.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

T = TypeVar("T")
ShowProgress = Callable[[str, int | None, str], AbstractContextManager[Callable[[int], None]]]  # as ``progress`` does
SHORTEST, LONGEST = 5.0, 30.0  # seconds between two lines


class ProgressLines:
    """Tells how far something is: a line for every tenth unless they come too fast, one after half a minute of silence.

    The last step always has its line.

    Args:
        description: of what is done.
        total: how many steps there are; None where nobody knows.
        unit: what a step is, in the plural.
        done: steps that were done before.
    """

    def __init__(self, description: str, total: int | None, unit: str, done: int = 0) -> None:
        self.description = description
        self.total = total
        self.unit = unit
        self.done = self._before = done
        self._began = self._told = monotonic()
        self._first: tuple[int, float] | None = None  # steps done with the first ones, and when
        self._tenth = self._tenths()

    def advance(self, count: int = 1, note: Callable[[], str] | None = None) -> None:
        """So many steps more; ``note`` adds what else a line should say, asked only when there is a line."""
        self.done += count
        self._first = self._first or (self.done, monotonic())
        silent = monotonic() - self._told
        further = self._tenths() > self._tenth and silent > SHORTEST
        if further or silent > LONGEST or self.done == self.total:
            self._tenth, self._told = self._tenths(), monotonic()
            told = [self._counted(), *self._pace(), *([note()] if note else [])]
            _console().print(f"{self.description}: {', '.join(told)}", markup=False, highlight=False, soft_wrap=True)

    def _tenths(self) -> int:
        return 10 * self.done // self.total if self.total else 0

    def _counted(self) -> str:
        return f"{self.done} of {self.total} {self.unit}" if self.total else f"{self.done} {self.unit}"

    def _pace(self) -> list[str]:
        now = monotonic()
        told = [f"{(self.done - self._before) / max(1e-9, now - self._began):.3g} a second"]
        done, when = self._first or (self.done, now)
        if self.total and done < self.done < self.total:
            # The first steps may have waited for processes to start and libraries to load; those to come do not.
            left = round((self.total - self.done) * (now - when) / (self.done - done))
            told.append(f"{left} s left" if left < 120 else f"{round(left / 60)} min left")
        return told


@contextmanager
def progress(description: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """Shows how far something is while it is done: yields what is called with the number of steps just done."""
    console = _console()
    if not console.is_terminal:
        yield ProgressLines(description, total, unit).advance
        return
    counted = (BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    described = TextColumn("{task.description}", markup=False)  # names of files may hold brackets
    columns = (described, *counted, _PaceColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)


class _PaceColumn(ProgressColumn):
    """Steps a second, of late."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g} a second" if task.speed else "")


def tracked(items: Iterable[T], description: str, total: int, unit: str) -> Iterator[T]:
    """The items one by one, with progress."""
    with progress(description, total, unit) as advance:
        for item in items:
            yield item
            advance(1)


def _console() -> Console:
    return Console(stderr=True)  # made when it is needed, for stderr may have been redirected
