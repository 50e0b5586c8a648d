"""One file a command, and how a command is launched. Ctrl-C is one line from here on: to import all takes seconds."""

import sys
from types import TracebackType


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _tell
