"""What Hydra says of a config that it cannot compose, told better."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any, get_args, get_origin

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import get_object
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compfeat.config_check import ConfigError

MISLEADING = (  # what Hydra says
    "Ambiguous value",
    "Error parsing override",
    "Could not override",
    "Config group override must be",
    "In '",
)
UNKNOWN = re.compile(r"Could not override '([\w.]+)'")
LISTED = re.compile(r"Ambiguous value for argument '([\w.@/]+)=([^'\[]*)'")
NO_OPTION = re.compile(r"Could not (?:find|load) '(\w+)/([^']+)'")


def told_better(error: Exception, conf: Path, config_name: str, overrides: Sequence[str]) -> Exception:
    """The same error, but where Hydra says something else than what is wrong.

    A sweep that it could not compose it takes for one run with ambiguous values, and so a list; of a word that is no
    key=value it tells the grammar; a key that is not there it advises to add, also where nothing would heed it; of a
    group that is null it does not say what to do; options are a list of lines.
    """
    if not str(error).startswith(MISLEADING):
        return error
    if str(error).startswith("Error parsing override"):
        words = [word for word in overrides if "=" not in word and not word.startswith("~")]
        told = f"{words[0]!r} is no KEY=VALUE, see --help; what has spaces stands in quotes: 'KEY=two words'"
        return ConfigError(told) if words else error
    with initialize_config_dir(str(conf), version_base="1.3"):
        if str(error).startswith("Ambiguous value"):
            try:
                GlobalHydra.instance().hydra.compose_config(  # type: ignore[union-attr]
                    config_name, list(overrides), RunMode.MULTIRUN, validate_sweep_overrides=False
                )
            except HydraException as hidden:
                error = hidden
            else:
                if listed := LISTED.match(str(error)):
                    key, values = listed.groups()
                    told = f"{key}={values} is several values: -m runs each, in brackets they are a list"
                    return ConfigError(f"{told}, {key}=[{values}]")
        if unknown := UNKNOWN.match(str(error)):
            if _can_be_added(unknown[1], config_name, overrides):
                return ConfigError(f"{unknown[1]} is not set in conf/: +{unknown[1]}=VALUE, with a plus, sets it")
            cfg = compose(config_name)
            known = _keys(OmegaConf.to_container(cfg))  # type: ignore[arg-type]
            last = {key.rpartition(".")[2]: key for key in reversed(known)}
            near = get_close_matches(unknown[1], known, 1) or [last[n] for n in get_close_matches(unknown[1], last, 1)]
            told = f": {near[0]}?" if near else f" here, but {', '.join(map(str, cfg))}; see --help"
            return ConfigError(f"there is no key {unknown[1]}{told}")
    if (missing := NO_OPTION.search(str(error))) and (conf / missing[1]).is_dir():
        options = sorted(path.stem for path in (conf / missing[1]).glob("[!_]*.yaml"))
        return ConfigError(f"there is no {missing[1]}={missing[2]}, but {', '.join(options)}")
    if str(error).startswith("Config group override must be"):
        return ConfigError("a group cannot be null: ~GROUP leaves it out")
    return error


def _can_be_added(key: str, config_name: str, overrides: Sequence[str]) -> bool:
    """Whether what is built there takes an argument of that name, for which conf/ has no key, or any name."""
    parent, _, name = key.rpartition(".")
    above, _, argument = parent.rpartition(".")
    try:
        cfg = compose(config_name, [override for override in overrides if not override.startswith(f"{key}=")])
        if target := OmegaConf.select(cfg, f"{parent}._target_"):
            return name in signature(get_object(target)).parameters
        if not (target := OmegaConf.select(cfg, f"{above}._target_")):
            return False
        annotation = signature(get_object(target)).parameters[argument].annotation
        return any(get_origin(kind) is Mapping for kind in (annotation, *get_args(annotation)))
    except (HydraException, OmegaConfBaseException, ImportError, LookupError, ValueError):
        return False  # more is wrong than this key


def _keys(node: Mapping[str, Any], prefix: str = "") -> list[str]:
    """All keys of a config, dotted."""
    found = []
    for name, value in node.items():
        found += [f"{prefix}{name}", *(_keys(value, f"{prefix}{name}.") if isinstance(value, Mapping) else ())]
    return found
