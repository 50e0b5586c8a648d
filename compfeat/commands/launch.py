"""How a command is launched: under Hydra, its config checked, errors of the user's told in one line."""

import functools
import itertools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import print_exception
from typing import Any, NoReturn, get_type_hints

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compfeat.commands.config_check import check_config
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
    r"Grad strides do not match bucket view strides",  # of 1x1 convolutions: harmless
    r"Checkpoint directory .* exists and is not empty",  # of a run done again
)
USER_ERRORS = (
    HydraException,
    OmegaConfBaseException,
    MisconfigurationException,
    ValueError,
    OSError,
    NonFiniteLoss,
)
FULL_ERROR = "HYDRA_FULL_ERROR"
LESS_MEMORY = (
    "take fewer at a time (data.batch_size, model.batch_size), smaller frames (data.size), "
    "trainer.precision=bf16-mixed or model.detector.support_gradients=false"
)


OmegaConf.register_new_resolver("given", lambda value: value is not None, replace=True)


def launch(task: Callable[[Any], Any], config_name: str) -> None:
    """Runs a command under Hydra, and turns what a user can put right into one line and exit code 2.

    In a multirun a job that fails does not stop those after it: the failed ones are named at the end, and the exit code
    is 2, or 1 where one failed by a fault of the program. With ``HYDRA_FULL_ERROR=1`` in the environment tracebacks are
    shown too.

    Args:
        task: takes the config; the annotation of its argument tells the types of the keys that are its own.
        config_name: of the file under ``conf/``.
    """
    # Kept under a name of its own: the processes that Lightning starts for DDP find FULL_ERROR set by the next line.
    traceback = os.environ.setdefault("COMPFEAT_TRACEBACK", os.environ.get(FULL_ERROR, "0")) == "1"
    os.environ[FULL_ERROR] = "1"  # Hydra must raise its errors, not print them
    if "WANDB_API_KEY" not in os.environ:
        os.environ.setdefault("WANDB_MODE", "offline")  # never a prompt
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    for library in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    keys = get_type_hints(next(iter(get_type_hints(task).values())), include_extras=True)
    failed: dict[str, BaseException] = {}  # by the overrides of a job of a multirun
    jobs = itertools.count(1)

    @functools.wraps(task)
    def job(cfg: DictConfig) -> Any:
        next(jobs)
        try:
            check_config(cfg, keys)
            return task(cfg)
        except Exception as error:
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                _leave(error, traceback)  # before Hydra adds lines of its own
            name = " ".join(HydraConfig.get().overrides.task)
            failed[name] = error
            _tell(error, traceback, f"{name}: ")

    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read what was printed has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        _leave(error, traceback)
    if failed:
        print(f"{len(failed)} of {next(jobs) - 1} jobs failed:", file=sys.stderr)
        for name, fault in failed.items():
            print(f"  {name}: {one_line(fault)}", file=sys.stderr)
        sys.exit(2 if all(map(_is_users, failed.values())) else 1)


def launch_named(tasks: Mapping[str, Callable[[Any], Any]], kind: str) -> None:
    """Launches the task that the first argument names, with the config ``conf/KIND/NAME.yaml``."""
    usage = f"python scripts/{kind}.py {{{'|'.join(tasks)}}} [key=value ...]; NAME --help lists its keys"
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name in tasks:
        launch(tasks[name], f"{kind}/{name}")
    elif name in ("-h", "--help"):
        print(usage)
    else:
        print(f"error: there is no {kind} {name!r}; {usage}", file=sys.stderr)
        sys.exit(2)


def one_line(error: BaseException) -> str:
    """What an error says, without the frames of Hydra and OmegaConf around it."""
    key = ""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        key = str(error).rpartition("full_key: ")[2] if "full_key: " in str(error) else key
        error = error.__cause__
    if _is_out_of_memory(error):
        return f"out of memory: {LESS_MEMORY} ({' '.join(str(error).split())[:120]})"
    message = str(error).split("\n    full_key:")[0].split("\nConfig search path:")[0]
    return " ".join(f"{key and f'{key}: '}{message}".split())


def _leave(error: Exception, traceback: bool) -> NoReturn:
    if not _is_users(error):
        raise error
    _tell(error, traceback)
    sys.exit(2)


def _tell(error: BaseException, traceback: bool, job: str = "") -> None:
    if traceback or not _is_users(error):
        print_exception(error)
    print(f"error: {job}{one_line(error)}", file=sys.stderr)


def _is_users(error: BaseException) -> bool:
    return isinstance(error, USER_ERRORS) or _is_out_of_memory(error)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
