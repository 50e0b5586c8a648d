"""The folder of a run: held while it is trained, cleared of what an earlier one left."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from compfeat.experiments.record import FILE
from compfeat.machine import rank

log = logging.getLogger(__name__)

# What a run leaves in its folder that would be taken for a later one's: its record, curves, checkpoints, overlays,
# measurements.
LEFT = (FILE, "metrics*.csv", "checkpoints/*.ckpt", "overlays/*", "*/metrics.json", "*/breakdown.json")


def run_folder(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint is of: Lightning writes FOLDER/checkpoints/NAME.ckpt."""
    return checkpoint.parent.parent


def set_curves_aside(folder: Path, steps: int) -> None:
    """Saves what was logged up to the step from which a run goes on: Lightning begins its file anew."""
    curves, aside = folder / "metrics.csv", folder / f"metrics-{steps}.csv"
    # One that is there already ends at the same step: what was logged since is undone, and nothing to be saved.
    if rank() == 0 and curves.is_file() and not aside.exists():
        curves.rename(aside)


def clear(folder: Path, kept: str | None = None) -> None:
    """Removes what an earlier run left in its folder, but the checkpoint ``kept``; runs in folders in it stay whole."""
    if rank():
        return
    for path in [path for pattern in LEFT for path in folder.glob(pattern) if path.is_file()]:
        of_another = path.parent != folder and (path.parent / FILE).is_file()
        if not of_another and not (kept and path.samefile(kept)):
            path.unlink()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder of a run while it is trained; waits for another run that does. Of the processes of one run the
    first holds it for all."""
    if rank():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning(f"another process trains in {folder}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
