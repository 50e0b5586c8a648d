"""How a command is launched: under Hydra, with errors of the user's told in one line."""

import contextlib
import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compfeat.training.module import NonFiniteLoss

CONF = Path(__file__).resolve().parents[2] / "conf"
NOISE = (  # what libraries say that no user of this project can or should act on
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r".*`tensorboardX` has been removed as a dependency",
    r"Experiment logs directory",  # of a run, which holds Hydra's files from the beginning
    r"You have overridden `transfer_batch_to_device`",
    r"The 'val_dataloader' does not have many workers",
    r"The 'train_dataloader' does not have many workers",
    r"The number of training batches .* is smaller than the logging interval",  # counted over epochs here
    r"Checkpoint directory .* exists and is not empty",  # of a run done again
)
USER_ERRORS = (HydraException, OmegaConfBaseException, ValueError, OSError, NonFiniteLoss)


def launch(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Runs a task of this module under Hydra, and turns what a user can put right into one line and exit code 2.

    With ``HYDRA_FULL_ERROR=1`` in the environment the traceback is shown instead.
    """
    traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra must raise its errors, not print them
    if "WANDB_API_KEY" not in os.environ:
        os.environ.setdefault("WANDB_MODE", "offline")  # never a prompt
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    for library in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)

    @contextlib.contextmanager
    def one_line_errors() -> Iterator[None]:
        try:
            yield
        except USER_ERRORS as error:
            if traceback:
                raise
            print(f"error: {one_line(error)}", file=sys.stderr)
            sys.exit(2)

    @functools.wraps(task)
    def job(cfg: DictConfig) -> Any:
        with one_line_errors():  # before Hydra adds lines of its own
            if missing := sorted(OmegaConf.missing_keys(cfg)):
                wanted = " ".join(f"{key}=PATH" for key in missing)
                raise ValueError(f"{' and '.join(missing)} must be given: add {wanted}")
            return task(cfg)

    with one_line_errors():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()


def one_line(error: BaseException) -> str:
    """What an error says, without the frames of Hydra and OmegaConf around it."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    message = str(error).split("\n    full_key:")[0].split("\nConfig search path:")[0]
    return " ".join(message.split())
