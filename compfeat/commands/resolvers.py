"""What configs compute: the folder of a sweep, the device of each of its jobs."""

import hashlib
import re
from collections.abc import Sequence

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from compfeat.experiments.record import ELSEWHERE

LONGEST_NAME = 100  # characters of a folder's; file systems allow 255
ROW = ("data", "evaluation", "experiment", "seed", "sweep", "trainer", "weights")  # told elsewhere, or how it is run


def register_resolvers() -> None:
    """Lets configs say ``${changed:...}``, ``${one_device:...}``, ``${given:...}`` and ``${either:...}``."""
    OmegaConf.register_new_resolver("changed", changed, replace=True)
    OmegaConf.register_new_resolver("one_device", one_device, replace=True)
    OmegaConf.register_new_resolver("given", lambda value: value is not None, replace=True)
    OmegaConf.register_new_resolver("either", lambda value, other: other if value is None else value, replace=True)


def changed(name: str, overrides: Sequence[str]) -> str:
    """The name of a sweep's folder, with the overrides by which its runs are others than those the name stands for."""
    same = (*ROW, *ELSEWHERE)
    inside = tuple(f"{key}." for key in ELSEWHERE)
    told = []
    for override in OverridesParser.create().parse_overrides(sorted(overrides)):
        key = override.get_key_element()
        if (plain := key.lstrip("+~")) not in same and not plain.startswith(inside):
            one_value = not (override.is_delete() or override.is_sweep_override())  # rendered as Hydra does for jobs
            told.append(f"{key}={override.get_value_element_as_str()}" if one_value else str(override.input_line))
    changes = "+".join(told).replace("=", "-")
    if len(changes) > LONGEST_NAME:
        changes = hashlib.sha256(changes.encode()).hexdigest()[:8]
    return "+".join(filter(None, (name, re.sub(r"[^\w.+-]", "_", changes.lower()))))


def one_device(accelerator: str) -> int | list[int]:
    """The device of a job of a sweep: the GPUs in turn, or the CPU."""
    count, job = 0 if accelerator == "cpu" else torch.cuda.device_count(), HydraConfig.get().job
    number = 0 if OmegaConf.is_missing(job, "num") else job.num  # of a row that is run by itself
    return [number % count] if count else 1
