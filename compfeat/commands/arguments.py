"""What is typed behind a command: names of files are taken as they are, though Hydra's grammar wants them quoted."""

import re
from collections.abc import Mapping, Sequence
from os.path import expanduser
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from compfeat.config_check import fits
from compfeat.files import require_utf8

GIVEN = re.compile(r"(\+{0,2}(\w[^=]*))=(.*)", re.DOTALL)  # a key and its value; -m, --help and ~key are none
SWEEPS = re.compile(r"-m|--multirun|hydra\.mode=MULTIRUN|\+?sweep=.*", re.IGNORECASE)


def as_typed(arguments: Sequence[str], keys: Mapping[str, Any]) -> list[str]:
    """The arguments of a command, each value quoted that means itself; one that begins with ~ is in the home folder.

    That is what Hydra's grammar cannot parse, such as ``video=IMG (1).mp4``, and what it parses to something that a key
    cannot hold which can hold text, such as the number ``video=1e10`` or the choice ``video=a,b.mp4``. In a sweep
    commas are left to separate values.

    Args:
        arguments: without the name of the program.
        keys: annotations of the keys that are the command's own.

    Raises:
        ValueError: an argument is not in UTF-8.
    """
    for argument in arguments:
        require_utf8(argument)
    parser = OverridesParser.create()
    sweeps = any(SWEEPS.fullmatch(argument) for argument in arguments)
    return [_as_typed(argument, keys, parser, sweeps) for argument in arguments]


def _as_typed(argument: str, keys: Mapping[str, Any], parser: OverridesParser, sweeps: bool) -> str:
    if not (given := GIVEN.fullmatch(argument)):
        return argument
    key, name, text = given.groups()
    try:
        override = parser.parse_override(argument)
    except HydraException:
        means_itself = not (sweeps and "," in text)
    else:
        wanted = keys.get(name, Any)
        understood = sweeps if override.is_sweep_override() else fits(override.value(), wanted)
        means_itself = wanted is not Any and not understood and fits(text, wanted)
    if not means_itself:
        return argument
    return f"{key}={QuotedString(expanduser(text), Quote.single).with_quotes()}"
