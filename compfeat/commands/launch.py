"""How a command is launched: under Hydra, its config checked, errors of the user's told in one line."""

import functools
import json
import logging
import multiprocessing
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from traceback import print_exception
from typing import Any, NoReturn, get_type_hints

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from compfeat.commands import INTERRUPTED, CheckFailed
from compfeat.commands.arguments import as_typed
from compfeat.commands.composition_errors import told_better
from compfeat.commands.help import help_text
from compfeat.commands.resolvers import register_resolvers
from compfeat.config_check import ConfigError, check_config
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
    r"You're resuming from a checkpoint that ended before the epoch",  # from there on: EpochSampler
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
    CheckFailed,
)
IN_WORKER = re.compile(r"Caught \w+ in DataLoader worker process \d+\.\n.*\n[\w.]+: ", re.DOTALL)  # before what it says
NO_GPU = "No supported gpu backend found"  # what Lightning says
HELP = {"-h", "--help"}
FULL_ERROR = "HYDRA_FULL_ERROR"
FAILED = "COMPFEAT_FAILED"  # path to which the jobs of a multirun, in whatever process, write that they failed
LESS_MEMORY = (
    "take fewer at a time (data.batch_size, model.batch_size), smaller frames (data.size) "
    "or model.detector.support_gradients=false"
)

register_resolvers()


def launch(task: Callable[[Any], Any], config_name: str) -> None:
    """Runs a command under Hydra, and turns what a user can put right into one line and exit code 2; a check that fails
    into one line and 1.

    In a multirun a job that fails does not stop those after it: the failed ones are named at the end, and the exit code
    is 2, or 1 where a check failed or the program did. With ``HYDRA_FULL_ERROR=1`` in the environment tracebacks are
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
    failed = Path.cwd() / f".failed-{os.getpid()}"  # a folder that the machines of a cluster share, as they do outputs
    failed.unlink(missing_ok=True)  # of a process of the same number that was killed
    os.environ[FAILED] = str(failed)
    job = _Job(task, traceback)
    try:
        sys.argv[1:] = as_typed(sys.argv[1:], job.keys)
        if "--version" in sys.argv:  # Hydra would tell its own
            print(f"compfeat {version('compfeat')}")
        elif HELP & set(sys.argv):
            print(help_text(CONF, config_name, _overrides()))
        else:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read what was printed has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        _tell_failed(failed)
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        _leave(told_better(error, CONF, config_name, _overrides()), traceback)
    if code := _tell_failed(failed):
        sys.exit(code)


def _overrides() -> list[str]:
    return [argument for argument in sys.argv[1:] if not argument.startswith("-")]


class _Job:
    """A command as Hydra calls it, once or for every job of a multirun, perhaps in a process of its own."""

    def __init__(self, task: Callable[[Any], Any], traceback: bool) -> None:
        functools.update_wrapper(self, task)
        self.task = task
        self.traceback = traceback
        self.keys = get_type_hints(next(iter(get_type_hints(task).values())), include_extras=True)

    def __call__(self, cfg: DictConfig) -> Any:
        _quieten()
        # in a process of joblib's, which can start none
        if multiprocessing.get_start_method(allow_none=True) == "loky":
            multiprocessing.set_start_method(None, force=True)
        try:
            if unknown := [str(name) for name in cfg if name not in self.keys]:
                raise ConfigError(f"there is no key {unknown[0]} here, but {', '.join(self.keys)}")
            check_config(cfg, self.keys)
            return self.task(cfg)
        except Exception as error:
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                _leave(error, self.traceback)  # before Hydra adds lines of its own
            name = _job_name(HydraConfig.get())
            _tell(error, self.traceback, f"{name}: ")
            with open(os.environ[FAILED], "a") as file:
                file.write(json.dumps([name, one_line(error), _exit_code(error)]) + "\n")


def _job_name(hydra_config: Any) -> str:
    """The name of a job's folder in its sweep, or what was given to the job where its folder has but a number."""
    name: str = hydra_config.sweep.subdir
    return " ".join(hydra_config.overrides.task) if name == str(hydra_config.job.num) else name


def _quieten() -> None:
    """Silences what libraries say to nobody, in whatever process a job runs."""
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    for library in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "onnxscript", "onnx_ir"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _tell_failed(path: Path) -> int:
    """Names the jobs of a multirun that failed. Returns the least of their exit codes; 0 where none failed."""
    if not path.is_file():
        return 0
    failed = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    print(f"{len(failed)} {'job' if len(failed) == 1 else 'jobs'} failed:", file=sys.stderr)
    for name, fault, _ in failed:
        print(f"  {name}: {fault}", file=sys.stderr)
    return min(code for _, _, code in failed)


def launch_named(tasks: Mapping[str, Callable[[Any], Any]], kind: str) -> None:
    """Launches the task that the first argument names, with the config ``conf/KIND/NAME.yaml``."""
    usage = f"python scripts/{kind}.py {{{'|'.join(tasks)}}} [key=value ...]; NAME --help lists its keys"
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name in tasks:
        launch(tasks[name], f"{kind}/{name}")
    elif not name or name in HELP:
        print(usage, "", *(f"  {task:<12} {_about(kind, task)}" for task in tasks), sep="\n")
    else:
        print(f"error: there is no {kind} {name!r}; {usage}", file=sys.stderr)
        sys.exit(2)


def _about(kind: str, task: str) -> str:
    """What the second line of a task's config says that it is, before the command."""
    return (CONF / kind / f"{task}.yaml").read_text().splitlines()[1].removeprefix("# ").rpartition(": python")[0]


def one_line(error: BaseException) -> str:
    """What an error says, without the frames of Hydra and OmegaConf around it."""
    key = ""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        key = str(error).rpartition("full_key: ")[2] if "full_key: " in str(error) else key
        error = error.__cause__
    if _is_out_of_memory(error):
        return f"out of memory: {LESS_MEMORY} ({' '.join(str(error).split())[:120]})"
    message = IN_WORKER.sub("", str(error)).split("\n    full_key:")[0].split("\nConfig search path:")[0]
    if message.startswith(NO_GPU):
        message += " Use trainer=cpu or trainer=auto"
    return " ".join(f"{key and f'{key}: '}{message}".split())


def _leave(error: Exception, traceback: bool) -> NoReturn:
    if not _is_users(error):
        raise error
    _tell(error, traceback)
    sys.exit(_exit_code(error))


def _tell(error: BaseException, traceback: bool, job: str = "") -> None:
    if traceback or not _is_users(error):
        print_exception(error)
    print(f"error: {job}{one_line(error)}", file=sys.stderr)


def _exit_code(error: BaseException) -> int:
    return 2 if _is_users(error) and not isinstance(error, CheckFailed) else 1


def _is_users(error: BaseException) -> bool:
    return isinstance(error, USER_ERRORS) or _is_out_of_memory(error)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
