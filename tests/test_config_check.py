"""Every key of every config with values that it cannot have: named before anything is built, drawn or read."""

from importlib import import_module
from typing import get_type_hints

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf

from compfeat.commands.benchmark import BENCHMARKS
from compfeat.commands.convert import CONVERTERS
from compfeat.commands.launch import CONF
from compfeat.commands.probe import PROBES
from compfeat.config_check import ConfigError, check_config

NAMED = {"benchmark": BENCHMARKS, "convert": CONVERTERS, "probe": PROBES}  # commands that are named by a config
CONFIGS = sorted(
    path.relative_to(CONF).with_suffix("").as_posix()
    for folder in (CONF, *(CONF / command for command in NAMED))
    for path in folder.glob("[!_]*.yaml")
)
YTVIS = "data=ytvis_coco"
CASES = [(config, ()) for config in CONFIGS] + [
    ("train", ("logger=wandb", "tracker@model.tracker=cues", "trainer=ddp", "evaluation=[frames2]")),
    ("train", (YTVIS, "support@model.support=causal")),
    ("train", ("model=masktrack_rcnn", "recipe=demo")),
    ("evaluate", ("tracker=cues", "support=uniform", "labels=hard")),
    ("check_data", (YTVIS,)),
]
ENORMOUS = 10**13
FITTING = {  # what looks wrong, but is another way to set a key, or is found when it is built
    ("data.holdout", "x"),  # the path of a list of ids
    ("trainer.fast_dev_run", "3"),
    ("trainer.devices", "[1, 1]"),
    ("trainer.devices", "[-1, -1]"),
    ("model.categories", "[{'a': 1}]"),
}
ANY_LENGTH = {"support_frames", "module.scheduler.milestones", "lengths", "objects", "batch_sizes", "seeds"}
ANY_WORDS = {"classes", "logger.wandb.tags", "variants"}


def read(config, overrides):
    """What a config holds, with something for all that must be given, and the annotations of its command's own keys."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        given = [f"{key}=a" for key in OmegaConf.missing_keys(compose(config, list(overrides)))]
        cfg = compose(config, [*overrides, *given], return_hydra_config=True)
    OmegaConf.set_readonly(cfg.hydra, False)
    cfg.hydra.runtime.output_dir = "out"
    HydraConfig.instance().set_config(cfg)  # for ${hydra:...}
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    command, _, name = config.partition("/")
    task = NAMED[command][name] if name else getattr(import_module(f"compfeat.commands.{command}"), command)
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


def faulty(config, overrides):
    cfg, keys = read(config, overrides)
    check_config(cfg, keys)  # as it is, it is right
    for key, value in list(leaves(cfg)):
        for given in wrong(value):
            shorter = isinstance(value, list) and given == value[:-1]
            words = isinstance(given, list) and all(isinstance(word, str) for word in given)
            if (key, str(given)) in FITTING or (shorter and key in ANY_LENGTH) or (words and key in ANY_WORDS):
                continue
            changed = cfg.copy()
            OmegaConf.update(changed, key, given, merge=False)
            yield key, given, changed, keys


@pytest.mark.parametrize(("config", "overrides"), CASES)
def test_no_key_takes_a_value_that_it_cannot_have(config, overrides):
    accepted = []
    for key, given, changed, keys in faulty(config, overrides):
        try:
            check_config(changed, keys)
        except ConfigError as error:
            assert key.rpartition(".")[2] in str(error), (key, given)
        else:
            accepted.append((key, given))
    assert accepted == []


PATHS = [
    ("predict", "output"), ("predict", "video"), ("evaluate", "ckpt"), ("export", "output"), ("report", "runs"),
    ("check_data", "output"), ("convert/coco", "source"), ("train", "weights"), ("probe/looks", "output"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "key"), PATHS)
def test_an_empty_path_is_not_the_current_folder(config, key):
    cfg, keys = read(config, ())
    cfg[key] = ""
    with pytest.raises(ConfigError, match=f'{key}="": should have at least 1 character'):
        check_config(cfg, keys)


def test_a_number_is_no_key():
    cfg, keys = read("train", ("+module.loss_weights={1: 2.0}",))
    with pytest.raises(ConfigError, match="module.loss_weights has the key 1, but keys are words"):
        check_config(cfg, keys)


def test_the_width_of_group_norms_is_a_multiple():
    cfg, keys = read("train", ("model.detector.track_head.width=100",))
    with pytest.raises(ConfigError, match="model.detector.track_head.width=100: should be a multiple of 16"):
        check_config(cfg, keys)


@pytest.mark.parametrize("key", ["variants", "ckpt", "seeds"])
def test_a_probe_is_given_something_to_try(key):
    cfg, keys = read("probe/attention", ())
    cfg[key] = []
    with pytest.raises(ConfigError, match=rf"{key}=\[\]: should have at least 1 item"):
        check_config(cfg, keys)
