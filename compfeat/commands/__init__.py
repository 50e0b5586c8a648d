"""One file a command, what they share, how they are launched. Ctrl-C is one line from here: importing takes seconds."""

import os
import sys
from types import TracebackType

INTERRUPTED = 130  # the exit code that shells give to Ctrl-C


class CheckFailed(Exception):
    """What was looked at is not as it should be: exit code 1. The message says how much of it."""


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # what torch leaves to be done at an exit makes it 1
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _tell
