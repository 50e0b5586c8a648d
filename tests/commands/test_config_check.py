"""Every key of every config with values that it cannot have: named before anything is built, drawn or read."""

from typing import get_type_hints

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf

from compfeat.commands.benchmark import BENCHMARKS
from compfeat.commands.check_data import check_data
from compfeat.commands.config_check import ConfigError, check_config
from compfeat.commands.convert import CONVERTERS
from compfeat.commands.evaluate import evaluate
from compfeat.commands.launch import CONF
from compfeat.commands.predict import predict
from compfeat.commands.report import report
from compfeat.commands.serve import serve
from compfeat.commands.train import train

YTVIS = ["data=ytvis_coco", "data.root=a", "data.coco.root=b"]
CASES = {
    "train": (train, "train", ["logger=wandb", "tracker@model.tracker=cues", "trainer=ddp"]),
    "train on YouTube-VIS": (train, "train", [*YTVIS, "support@model.support=causal"]),
    "the baseline": (train, "train", ["model=masktrack_rcnn", "recipe=demo"]),
    "evaluate": (evaluate, "evaluate", ["ckpt=a", "tracker=cues", "support=uniform"]),
    "predict": (predict, "predict", ["ckpt=a", "video=b", "support=causal"]),
    "serve": (serve, "serve", ["ckpt=a"]),
    "check_data": (check_data, "check_data", YTVIS),
    "report": (report, "report", ["runs=a"]),
    **{f"convert {name}": (task, f"convert/{name}", ["source=a", "output=b"]) for name, task in CONVERTERS.items()},
    **{f"benchmark {name}": (task, f"benchmark/{name}", []) for name, task in BENCHMARKS.items()},
}
ENORMOUS = 10**13
FITTING = {  # what looks wrong, but is another way to set a key, or is found when it is built
    ("data.holdout", "x"),  # the path of a list of ids
    ("trainer.fast_dev_run", "3"),
    ("trainer.devices", "[1, 1]"),
    ("trainer.devices", "[-1, -1]"),
    ("model.categories", "[{'a': 1}]"),
    ("logger.wandb.tags", "['shapes', 'x']"),
    ("classes", "['car', 'x']"),
}
ANY_LENGTH = {"support_frames", "module.scheduler.milestones", "lengths", "objects", "batch_sizes"}


def read(case):
    task, name, overrides = CASES[case]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(name, overrides, return_hydra_config=True)
    OmegaConf.set_readonly(cfg.hydra, False)
    cfg.hydra.runtime.output_dir = "out"
    HydraConfig.instance().set_config(cfg)  # for ${hydra:...}
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg, get_type_hints(next(iter(get_type_hints(task).values())), include_extras=True)


def leaves(node, prefix=""):
    """The keys at which a config holds a value of its own, not one taken over from another key, and the values."""
    for name in node:
        key = f"{prefix}{name}"
        if name in ("_target_", "_partial_") or OmegaConf.is_interpolation(node, name):
            continue
        value = node[name]
        if isinstance(value, DictConfig):
            yield from leaves(value, f"{key}.")
        else:
            yield key, list(value) if isinstance(value, ListConfig) else value


def wrong(value):
    """Values of another type or length, or out of any range."""
    if isinstance(value, bool):
        return ["x", 3]
    if isinstance(value, int | float):
        return ["x", [value, value], -7, ENORMOUS]
    if isinstance(value, str):
        return [3.5, [value]]
    if isinstance(value, list):
        return ["x", 5, [*value[:-1], "x"], [*value[:-1], {"a": 1}]] + (
            [value[:-1], [*value[:-1], -7], [*value[:-1], ENORMOUS]] if isinstance(value[0], int) else []
        )
    return [{"a": 1}, [{"a": 1}]]


def faulty(case):
    cfg, keys = read(case)
    check_config(cfg, keys)  # as it is, it is right
    for key, value in list(leaves(cfg)):
        for given in wrong(value):
            if (key, str(given)) in FITTING or (key in ANY_LENGTH and isinstance(value, list) and given == value[:-1]):
                continue
            changed = cfg.copy()
            OmegaConf.update(changed, key, given, merge=False)
            yield key, given, changed, keys


@pytest.mark.parametrize("case", CASES)
def test_no_key_takes_a_value_that_it_cannot_have(case):
    accepted = []
    for key, given, changed, keys in faulty(case):
        try:
            check_config(changed, keys)
        except ConfigError as error:
            assert key.rpartition(".")[2] in str(error), (key, given)
        else:
            accepted.append((key, given))
    assert accepted == []
