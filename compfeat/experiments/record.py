"""What is kept of a training run: run.json in its folder says what it is, how it stands and what it took."""

import errno
import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
from pydantic import ConfigDict, TypeAdapter, ValidationError

from compfeat.files import read_json, write_json
from compfeat.machine import description, forget_peak_memory, peak_memory_gib, rank

Status = Literal["running", "finished", "failed"]
FILE = "run.json"

# Keys of a config that say where and by whom a network is trained or watched, not which network comes out of it.
ELSEWHERE = (
    "callbacks",
    "data.cache",
    "data.coco.root",
    "data.root",
    "data.workers",
    "evaluations",
    "logger",
    "name",
    "rerun",
    "resume",
    "trainer.accelerator",
    "trainer.default_root_dir",
    "trainer.devices",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "trainer.num_nodes",
    "trainer.strategy",
    "weights_from",
)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk


class OtherRun(ValueError):
    """A folder holds a run with another config; the message names the keys."""


@dataclass
class Run:
    """One training run.

    Attributes:
        name: what is trained: in a table its row, an experiment and the overrides by which it differs from that.
        seed: of everything random.
        config: the resolved config, as ``train.py`` was given it, with all evaluations that it was given since.
        commit: of the code, with ``+`` behind it where files had been changed, and after a comma those of the code that
            it went on under; None outside a git repository.
        data: digests of the annotation files, by split.
        weights: the sha256 of what it started from, "" from scratch; None where that is a download or a checkpoint to
            go on from, and in records of earlier versions.
        status: "running" is also what a run that was killed says of itself.
        error: why it failed.
        began: when it was started first, UTC.
        steps, seconds: taken so far, interruptions not counted.
        peak_memory_gib: while it was trained, as ``compfeat.machine`` measures it.
        parameters: of the network that are trained, and all of them.
        machine: what it ran on last.
        best: the best validation AP so far, a fraction.
        page: of the run on Weights & Biases, where an agent of a sweep there has chosen one; else it is ``id``.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")  # what is read from a file

    name: str
    seed: int
    config: dict[str, Any]
    commit: str | None = None
    data: dict[str, str] = field(default_factory=dict)
    weights: str | None = None
    status: Status = "running"
    error: str | None = None
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    steps: int = 0
    seconds: float = 0.0
    peak_memory_gib: float = 0.0
    parameters: dict[str, int] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=description)
    best: float | None = None
    page: str | None = None

    @property
    def id(self) -> str:
        """The same when the run goes on, another when it is trained anew."""
        config = {key: value for key, value in self.config.items() if key != "evaluations"}  # which later tables add
        content = json.dumps([self.name, self.seed, self.began, config])
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @classmethod
    def read(cls, folder: Path) -> "Run | None":
        """The run of a folder; None where there is none.

        Raises:
            ValueError: its run.json is damaged, or not as this version writes it.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            return TypeAdapter(cls).validate_python(read_json(path))
        except ValidationError as error:
            fault = error.errors()[0]
            said = ": ".join([*map(str, fault["loc"]), fault["msg"].lower()])
            raise ValueError(f"{path} is no record of this version: {said}; move it away") from error

    def write(self, folder: Path) -> None:
        """Writes run.json, whole or not at all; of several processes the first does."""
        if rank():
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILE, asdict(self), indent=1)

    @contextmanager
    def recorded(self, folder: Path) -> Iterator[None]:
        """Keeps run.json true while the run is trained, whatever happens to it; that of another run which has left a
        network stays until ``clear`` removes both."""
        self.status, self.error, self.machine = "running", None, description()
        self._write_over(folder)
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL and error.filename is None:  # as of a write
                error.filename = str(folder)
            self.status, self.error = "failed", " ".join(str(error).split()) or type(error).__name__
            raise
        else:
            self.status = "finished"
        finally:
            self._write_over(folder)

    def _write_over(self, folder: Path) -> None:
        try:
            before = Run.read(folder)
        except ValueError:  # damaged: a record of nothing
            before = None
        if before is None or before.id == self.id or not before.steps:
            self.write(folder)

    def require_same(self, config: Mapping[str, Any], folder: Path, weights: str | None = None) -> None:
        """Whether this is the run that a config asks for, wherever it would be trained.

        Args:
            weights: the sha256 of what a new run would start from; None where nobody can tell.

        Raises:
            OtherRun: it is another one.
        """
        before, now = dict(self.config), dict(config)
        told = {  # what no key of them tells
            "sha256 of weights": (self.weights, weights),
            "processes": (processes(self.config), processes(config)),  # each takes its batch
        }
        for name, (first, second) in told.items():
            if first and second:
                before[name], now[name] = first, second
        if self.weights and weights:  # wherever the file lies
            before.pop("weights", None)
            now.pop("weights", None)
        changes = differences(before, now)
        if changes:
            raise OtherRun(f"{folder} holds another run: {changes}. Move it away, or train with rerun=true")

    def note_evaluations(self, config: Mapping[str, Any]) -> None:
        """Keeps those that a config asks for beside those that were asked for before: a later table has its own."""
        self.config["evaluations"] = {**(self.config.get("evaluations") or {}), **(config.get("evaluations") or {})}

    def note_commit(self, commit: str | None, goes_on: bool) -> None:
        """Keeps the commit under which a run is trained anew, or goes on."""
        before = (self.commit or "").split(", ") if goes_on else []
        self.commit = ", ".join(dict.fromkeys(filter(None, [*before, commit]))) or None

    def note_data(self, digests: Mapping[str, str], folder: Path) -> None:
        """Keeps the digests of annotations, those of splits that were not there when the run began too.

        Raises:
            OtherRun: the annotations of a split have changed since.
        """
        changed = [split for split, digest in digests.items() if self.data.get(split, digest) != digest]
        if changed:
            known = f"{folder} holds a run on other annotations of {', '.join(changed)}"
            raise OtherRun(f"{known}. Move it away, or train with rerun=true")
        self.data |= digests


def differences(config: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """By which keys other networks come out of two configs, the first few with their values; empty where by none."""
    before, now = dict(effective(config)), dict(effective(other))
    changed = [key for key in (before | now) if before.get(key) != now.get(key)]
    told = "; ".join(f"{key} was {before.get(key)} and is {now.get(key)}" for key in sorted(changed)[:4])
    return told + (f" and {len(changed) - 4} keys more" if len(changed) > 4 else "")


class RunRecorder(pl.Callback):
    """Writes into run.json what a run has taken, with every checkpoint and at its end."""

    def __init__(self, run: Run, folder: Path) -> None:
        self._run = run
        self._folder = folder
        self._seconds = run.seconds
        self._peak = run.peak_memory_gib
        self._began = monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        counts = [(p.numel(), p.requires_grad) for p in pl_module.parameters()]
        self._run.parameters = {"trained": sum(n for n, trained in counts if trained), "all": sum(n for n, _ in counts)}
        forget_peak_memory(trainer.strategy.root_device)  # that of the rows which this process has trained before
        self._began = monotonic()

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict) -> None:
        self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        run = self._run
        run.steps = trainer.global_step
        run.seconds = round(self._seconds + monotonic() - self._began, 1)
        run.peak_memory_gib = max(self._peak, round(peak_memory_gib(trainer.strategy.root_device), 2))
        run.write(self._folder)


def commit_of(folder: Path) -> str | None:
    """The git commit of a folder, with ``+`` behind it where tracked files have been changed; None without git."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "-uno").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def processes(config: Mapping[str, Any]) -> int | None:
    """How many processes train the network that a config is of; None where the machine decides."""
    trainer = config.get("trainer") or {}
    devices = trainer.get("devices")
    count = len(devices) if isinstance(devices, list) else devices
    return count * trainer.get("num_nodes", 1) if isinstance(count, int) and count > 0 else None


def effective(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The innermost keys, dotted, with their values, of all that decides which network comes out."""
    for name, value in config.items():
        key = f"{prefix}{name}"
        if key in ELSEWHERE:
            continue
        if isinstance(value, Mapping) and value:
            yield from effective(value, f"{key}.")
        else:
            yield key, value
