"""Holds a config against the annotations of what it will build, before anything is built, drawn, read or downloaded."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, TypeAdapter, ValidationError

from compfeat.quantities import Count, Natural, Positive, Seconds, Share, Weight


class ConfigError(ValueError):
    """A value of a config is missing, unknown, of a wrong type or out of its range; the message names the key."""


OPTIMIZER = {"lr": Positive, "weight_decay": Weight}
NARROWER: dict[str, dict[str, Any]] = {  # than what libraries annotate their constructors with
    "torch.optim.AdamW": OPTIMIZER,
    "torch.optim.SGD": OPTIMIZER | {"momentum": Share},
    "pytorch_lightning.Trainer": {
        "num_nodes": Count,
        "max_epochs": Count | None,
        "gradient_clip_val": Positive | None,
        "accumulate_grad_batches": Count,
        "check_val_every_n_epoch": Count,
        "log_every_n_steps": Count,
        "num_sanity_val_steps": Natural,
        "fast_dev_run": bool | Count,
        "devices": Annotated[int, Ge(-1), Le(1_000)] | Literal["auto"] | list[Natural],
    },
    "pytorch_lightning.loggers.CSVLogger": {"flush_logs_every_n_steps": Count},
    "pytorch_lightning.callbacks.ModelCheckpoint": {"every_n_epochs": Count | None},
    "datetime.timedelta": {"seconds": Seconds},
}


def check_config(cfg: DictConfig, keys: Mapping[str, Any]) -> None:
    """Compares every value with the annotation of the argument it is for, down to the innermost ``_target_``.

    Args:
        cfg: of a command.
        keys: annotations of the keys that are the command's own.

    Raises:
        ConfigError: names the first key that is missing or unknown, or whose value does not fit, and what would.
    """
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise ConfigError(f"{' and '.join(missing)} must be given: add {' '.join(f'{key}=PATH' for key in missing)}")
    content: Any = OmegaConf.to_container(cfg, resolve=True)
    for name, value in content.items():
        for key, fault in _faults(name, value, keys.get(name, Any)):
            raise ConfigError(f"{_written_at(cfg, key)}{fault}")


def fits(value: Any, annotation: Any) -> bool:
    """Whether an argument of that annotation can be a number, a text, or a list or mapping of those."""
    return not any(_misfits(value, annotation))


def _written_at(cfg: DictConfig, key: str) -> str:
    """The key that a user would change: where a value is taken over from another one, that one."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent)
    if isinstance(node, DictConfig) and OmegaConf.is_interpolation(node, name):
        written = str(OmegaConf.to_container(node, resolve=False)[name])  # type: ignore[index,call-overload]
        if source := re.fullmatch(r"\$\{(\.*)(\w[\w.]*)\}", written):
            above = key.split(".")[: -len(source[1])] if source[1] else []  # a dot for each step up
            return _written_at(cfg, ".".join([*above, source[2]]))
    return key


def _faults(key: str, value: Any, annotation: Any) -> Iterator[tuple[str, str]]:
    """(key, what is wrong there)."""
    members = _members(value, annotation) if isinstance(value, dict) else None
    if members is None:
        for fault in _misfits(value, annotation):
            yield key, fault
        return
    if isinstance(members, str):
        yield f"{key}._target_", members
        return
    named, others = members
    for name, item in value.items():
        if not isinstance(name, str):
            yield key, f" has the key {name!r}, but keys are words"
            continue
        if name.startswith("_"):
            continue
        if name not in named and others is None:
            yield f"{key}.{name}", f": there is no such key here, but {', '.join(named)}"
        yield from _faults(f"{key}.{name}", item, named.get(name, others))


def _members(value: dict[str, Any], annotation: Any) -> tuple[dict[str, Any], Any] | str | None:
    """The annotations of what a mapping may hold: of each name, and of others or None where there are no others.

    What is wrong where its ``_target_`` does not exist; None where no mapping is wanted.
    """
    if "_target_" in value:
        try:
            return _arguments(value["_target_"])
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            return f": there is no {value['_target_']!r} ({str(error).splitlines()[0]})"
    if annotation is Any:
        return {}, Any
    for kind in (annotation, *get_args(annotation)):
        if is_dataclass(kind):
            return get_type_hints(kind, include_extras=True), None
        if get_origin(kind) is Mapping:
            return {}, get_args(kind)[1]
    return None


def _arguments(name: str) -> tuple[dict[str, Any], Any]:
    """What a constructor or function takes, as ``_members`` has it; Any where it is not annotated."""
    target = get_object(name)
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError:  # a library names there what it imports for type checkers only
        hints = {}
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    named = {p.name: hints.get(p.name, Any) for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    named |= NARROWER.get(name, {})  # what a constructor in C does not tell
    return named, Any if any(p.kind == p.VAR_KEYWORD for p in parameters) else None


def _misfits(value: Any, annotation: Any) -> Iterator[str]:
    """What pydantic finds wrong with a number, a text or a list of those; of a union's alternatives the closest."""
    members = get_args(annotation) if get_origin(annotation) is tuple else ()
    if isinstance(value, list) and members and ... not in members and len(value) != len(members):
        yield f"={json.dumps(value)}: should be a list of {len(members)} values"
        return
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    try:  # as json, in which a list may stand for a tuple though nothing else is converted
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        faults = [fault for fault in error.errors() if fault["type"] != "needs_python_object"]
        close = [fault for fault in faults if not fault["type"].endswith("_type")] or faults
        expected = " or ".join(dict.fromkeys(re.sub(r"^(Input|String|List) ", "", fault["msg"]) for fault in close))
        expected = expected.replace("a valid array", "a list, [...]")  # as it is typed, not as json calls it
        place = "".join(f"[{part}]" for part in (close[0]["loc"] if close else ()) if isinstance(part, int))
        given = close[0]["input"] if close else value
        yield f"{place}={json.dumps(given)}: {expected or 'should be a part with a _target_, as in conf/'}"
