"""What a command answers to --help: how it is called, its groups, its keys with the comments of the config files."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill, wrap

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

WIDTH, COLUMN = 120, 32  # of lines; where comments begin
LINE = re.compile(r"(?P<text>.*?)(?:\s+# (?P<comment>.*))?")
KEY = re.compile(r"(?P<indent> *)(?P<name>\w+):(?: .*)?")
GROUP = re.compile(r" *- (?:override )?/?(?P<name>\w+)(?:@[\w.]+)?: .*")  # in a list of defaults


def help_text(conf: Path, config_name: str, overrides: list[str]) -> str:
    """The help of a command as its config has it, for the groups that are chosen.

    Args:
        conf: the folder of all configs.
        config_name: of the command's.
        overrides: as given beside --help.

    Raises:
        HydraException: they do not compose.
    """
    with initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        cfg = loader.load_configuration(config_name, overrides, RunMode.RUN)
        loaded = loader.compute_defaults_list(config_name, overrides, RunMode.RUN)
        groups = sorted({choice.partition("@")[0] for choice in loaded.overrides.known_choices if "/" not in choice})
        options = {group: [o for o in loader.get_group_options(group) if not o.startswith("_")] for group in groups}
    template: str = cfg.hydra.help.template
    with open_dict(cfg):
        del cfg["hydra"]

    comments: dict[str, str] = {}
    for default in loaded.defaults:
        path = conf / f"{default.config_path}.yaml"
        if path.is_file():
            comments |= _comments(path.read_text(), default.package or "")
    keys = (_with(line, comments.get(key, "")) for key, line in _placed(OmegaConf.to_yaml(cfg)))
    lists = (_with(f"{group}: {', '.join(names)}", comments.get(f"- {group}", "")) for group, names in options.items())
    return template.replace("$APP_CONFIG_GROUPS", "\n".join([*lists, ""])).replace("$CONFIG", "\n".join(keys))


def _comments(text: str, package: str) -> dict[str, str]:
    """The comments behind the keys of a config file, by their place in the whole config; behind a group in its list of
    defaults by ``- GROUP``. A comment may go on in lines of its own."""
    found: dict[str, str] = {}
    last = ""
    for key, line in _placed(text):
        _, comment = LINE.fullmatch(line).groups()  # type: ignore[union-attr]
        group = GROUP.fullmatch(line)
        if line.strip().startswith("#"):
            if last and line.startswith(" "):
                found[last] += " " + line.strip(" #")
            continue
        last = ""
        if comment and (key or group):
            last = f"- {group['name']}" if group else f"{package}.{key}".lstrip(".")
            found[last] = comment
    return found


def _placed(text: str) -> Iterator[tuple[str, str]]:
    """The lines of a yaml file, each with the dotted key that it is of; "" where it is of none."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = KEY.fullmatch(line)
        if match:
            indent = len(match["indent"])
            above = [*((depth, name) for depth, name in above if depth < indent), (indent, match["name"])]
        yield (".".join(name for _, name in above) if match else ""), line


def _with(line: str, comment: str) -> str:
    """A line and its comment: beside it, or below it where there is no place."""
    line = fill(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    told = [f"{'':<{COLUMN}}# {part}" for part in wrap(comment, WIDTH - COLUMN - 2)]
    if told and len(beside := f"{line:<{COLUMN - 2}}  {told[0].lstrip()}") <= WIDTH:
        return "\n".join([beside, *told[1:]])
    return "\n".join([line, *told])
