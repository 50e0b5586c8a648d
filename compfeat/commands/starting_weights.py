"""What networks start from is trained first, where it is not there."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from compfeat.commands.console import console
from compfeat.experiments.record import Run
from compfeat.experiments.run_folder import run_folder

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = ("RANK", "LOCAL_", "GROUP_", "ROLE_", "WORLD_SIZE", "MASTER_", "TORCHELASTIC_")  # what it sets


def maker_of(weights: str | None, made: Mapping[str, str] | None) -> str | None:
    """The overrides of train.py that make the weights, which ``made`` tells; None where these are somebody's own."""
    return made["overrides"] if made is not None and weights == made["path"] else None


def make_weights(maker: str, weights: Path) -> None:
    """Trains what the network starts from, by the overrides that say how, in a process of its own.

    Raises:
        ValueError: that failed.
    """
    folder = run_folder(weights)
    made = Run.read(folder)
    if weights.exists() and (made is None or (made.status == "finished" and made.weights is None)):
        return  # by an earlier version, or by hand
    if made is None or made.status != "finished":
        console.print(f"first what networks start from: train.py {maker}, into {folder}", soft_wrap=True)
    # Also where it has finished: a run that is another one is refused.
    overrides = [*shlex.split(maker), f"hydra.run.dir={folder}", "rerun=false"]
    # No rank among the processes that torchrun may have started: each makes them, and all but one wait in ``alone_in``.
    alone = {name: value for name, value in os.environ.items() if not name.startswith(TORCHRUN)}
    if subprocess.run([sys.executable, ROOT / "train.py", *overrides], env=alone).returncode:
        raise ValueError(
            f"weights: train.py {maker} failed to make {weights}, as told above; "
            f"weights_from=null weights={weights} starts from what is there"
        )
