"""What a figure was measured on, and what it took there."""

import os
import platform
import resource
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch
from pytorch_lightning.utilities import rank_zero_only

LIBRARIES = ("torch", "torchvision", "pytorch-lightning")


def description() -> dict[str, str]:
    """Processor, cores this process may use, GPU (where there is one) and the versions that speed depends on."""
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = {"processor": _processor(), "cores": str(cores), **gpu, "python": platform.python_version()}
    return machine | {library: version(library) for library in LIBRARIES}


def best_device() -> torch.device:
    """A GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rank() -> int:
    """The number of this process among those of one run; the first, 0, speaks and writes for all."""
    return getattr(rank_zero_only, "rank", 0)


def forget_peak_memory(device: torch.device) -> None:
    """Lets ``peak_memory_gib`` begin anew, where the system can: from what is held now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # there is none outside Linux, and some containers forbid it
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_gib(device: torch.device) -> float:
    """The most memory held since the process began, or ``forget_peak_memory``: tensors on a GPU, the whole process on a
    CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20  # KiB
    unit = 2**30 if platform.system() == "Darwin" else 2**20  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
