"""One file a command, what they share, how they are launched. Ctrl-C is one line from here: importing takes seconds."""

import os
import sys
from types import TracebackType

INTERRUPTED = 130  # the exit code that shells give to Ctrl-C


class CheckFailed(Exception):
    """So many errors are in what was looked at: exit code 1."""

    def __init__(self, errors: int) -> None:
        super().__init__(f"the check found {errors} {'error' if errors == 1 else 'errors'}")


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # what torch leaves to be done at an exit makes it 1
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _tell
