"""Tries single modules of a network."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
from annotated_types import MinLen
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.table import Table
from torchvision.io import write_png

from compfeat.commands.console import console
from compfeat.commands.launch import launch_named
from compfeat.commands.loading import require_classes
from compfeat.commands.train import recipe_for
from compfeat.config_check import ConfigError, check_config
from compfeat.data.datamodule import VISDataModule
from compfeat.experiments.probes.attention import ClassProbe
from compfeat.experiments.probes.clips import HeldOut, Maps, held_out_clips
from compfeat.experiments.probes.looks import pictures
from compfeat.experiments.probes.masks import MaskProbe
from compfeat.experiments.probes.matching import MapProbe, MatchingProbe
from compfeat.experiments.probes.side_by_side import Probe, Variant, train_side_by_side
from compfeat.experiments.record import Run
from compfeat.experiments.run_folder import run_folder
from compfeat.experiments.spread import gain, spread
from compfeat.inference.predictor import VideoPredictor
from compfeat.models.detector import CompFeat
from compfeat.models.weights import load_pretrained
from compfeat.quantities import Count, PathName, Seed

# The groups and keys of train.py of which a variant is made, and what it is made with where it says nothing else.
HEEDED = ("experiment", "recipe", "model", "backbone", "module.optimizer", "module.loss_weights")
RECIPE = "recipe=comparison"

Measured = dict[str, dict[int, dict[str, float]]]  # by variant and seed: a number by name


class ProbeConfig(Protocol):
    """The keys of ``conf/probe/*.yaml``."""

    variants: Annotated[list[str], MinLen(1)]
    ckpt: Annotated[list[PathName], MinLen(1)] | None
    weights: PathName
    trained_by: str
    seeds: Annotated[list[Seed], MinLen(1)]
    steps: Count
    batch_size: Count
    videos: Count
    seed: Seed
    data: Any


class LooksConfig(Protocol):
    """The keys of ``conf/probe/looks.yaml``."""

    ckpt: PathName
    objects: Count
    videos: Count
    output: PathName
    seed: Seed
    data: Any


def attention(cfg: ProbeConfig) -> None:
    """What attention knows of classes that a frame hides, as ``conf/probe/attention.yaml`` and ``scene.yaml`` say."""
    _run(ClassProbe(), cfg)


def matching(cfg: ProbeConfig) -> None:
    """What a track head knows of identities, as ``conf/probe/matching.yaml`` describes."""
    _run(MatchingProbe(), cfg)


def correlation_map(cfg: ProbeConfig) -> None:
    """Where correlation maps peak, as ``conf/probe/map.yaml`` describes."""
    _run(MapProbe(), cfg)


def masks(cfg: ProbeConfig) -> None:
    """What attention knows of outlines that a frame hides, as ``conf/probe/masks.yaml`` describes."""
    _run(MaskProbe(), cfg)


def looks(cfg: LooksConfig) -> None:
    """What attention looks at, drawn, as ``conf/probe/looks.yaml`` describes."""
    detector = VideoPredictor.from_checkpoint(cfg.ckpt, "cpu").detector
    held_out = held_out_clips(_prepared(cfg.data, "validate"), cfg.videos, degraded=True)
    folder = Path(cfg.output)
    folder.mkdir(parents=True, exist_ok=True)
    for level, picture in pictures(detector, _maps(detector, held_out), cfg.objects).items():
        write_png(picture, str(folder / f"{level}.png"))
        console.print(f"{folder / level}.png", soft_wrap=True)


PROBES: dict[str, Callable[[Any], None]] = {
    "attention": attention,
    "scene": attention,
    "masks": masks,
    "matching": matching,
    "map": correlation_map,
    "looks": looks,
}


def probe() -> None:
    """Launches the probe that the first argument names."""
    launch_named(PROBES, "probe")


def _run(module: Probe, cfg: ProbeConfig) -> None:
    if cfg.ckpt is None and not Path(cfg.weights).exists():
        raise FileNotFoundError(f"no network at {cfg.weights}: `{cfg.trained_by}` trains it, or give weights=PATH")
    data = _prepared(cfg.data, "fit" if cfg.ckpt is None else "validate")
    held_out = held_out_clips(data, cfg.videos, module.degraded)
    measured: Measured = {}
    if cfg.ckpt is not None:
        for name, seed, path in _networks(cfg.ckpt):
            predictor = VideoPredictor.from_checkpoint(path, "cpu")
            require_classes(predictor, path, data.categories)
            detector = predictor.detector
            measured.setdefault(name, {})[seed] = module.measure(detector, _maps(detector, held_out))
    else:
        configs = {name: _config(name, data) for name in cfg.variants}
        for seed in cfg.seeds:
            variants = {name: _variant(name, config, cfg.weights, seed) for name, config in configs.items()}
            train_side_by_side(module, variants, data, cfg.steps, cfg.batch_size, seed)
            seen = _maps(next(iter(variants.values())).detector, held_out)  # they share their backbone
            for name, variant in variants.items():
                measured.setdefault(name, {})[seed] = module.measure(variant.detector, seen)
    _tell(measured)


def _prepared(data: Any, stage: str) -> VISDataModule:
    if "_target_" not in (data.get("generator") or ()):  # a probe may set keys of one that is not there
        raise ValueError("data: a probe needs the built-in data set, which says what its frames hide: data=shapes_hard")
    module: VISDataModule = instantiate(data)
    module.prepare_data(stage)
    module.setup(stage)
    return module


def _networks(patterns: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Row, seed and path of each checkpoint. A row is what its runs are called, with their folder where several have
    such runs; the path of its checkpoint where no run tells, or where another one of the same run came before."""
    folders = {p: run_folder(Path(p)) for pattern in patterns for p in sorted(glob(pattern)) or [pattern]}
    runs = {path: Run.read(folder.absolute()) for path, folder in folders.items()}
    homes: dict[str, set[Path]] = {}
    for path, run in runs.items():
        if run is not None:
            homes.setdefault(run.name, set()).add(folders[path].parent)
    known: set[tuple[str, int]] = set()
    for path, run in runs.items():
        if run is None:
            yield path, 0, path
            continue
        row = run.name if len(homes[run.name]) == 1 else str(folders[path].parent / run.name)
        yield path if (row, run.seed) in known else row, run.seed, path
        known.add((row, run.seed))


def _maps(detector: CompFeat, held_out: Sequence[HeldOut]) -> list[tuple[HeldOut, Maps]]:
    return [(clips, Maps.of(detector, clips.batch)) for clips in held_out]


def _config(variant: str, data: VISDataModule) -> Any:
    """The model and the module that ``train.py`` would make of networks that are compared, with the overrides of a
    variant; a bare word is an experiment.

    Raises:
        ConfigError: an override is of something else than what is heeded, or does not fit.
    """
    overrides = [word if "=" in word else f"experiment={word}" for word in shlex.split(variant)]
    for override in overrides:
        place = override.partition("=")[0].lstrip("+~").rpartition("@")[2]
        if not f"{place}.".startswith(tuple(f"{key}." for key in HEEDED)):
            raise ConfigError(
                f"variant {variant!r}: {override} would change nothing here, where only {', '.join(HEEDED)} are "
                "heeded; other keys are given to the probe itself"
            )
    given = [override for override in overrides if not override.startswith("experiment=")]
    recipe = [] if any(override.startswith("recipe=") for override in given) else [RECIPE]
    common = [f"data={HydraConfig.get().runtime.choices['data']}", *recipe]
    cfg: Any = compose("train", [*common, *overrides])
    if cfg.data != compose("train", [*common, *given]).data:
        raise ConfigError(f"variant {variant!r} is another one by its data, which here all variants share")
    module = OmegaConf.to_container(cfg.module, resolve=True)
    config = OmegaConf.create({"model": recipe_for(cfg.model, data.categories), "module": module})
    check_config(config, {})
    return config


def _variant(name: str, config: Any, weights: str, seed: int) -> Variant:
    torch.manual_seed(seed)
    detector = instantiate(config.model, _convert_="all").detector
    loaded = load_pretrained(detector, weights)
    if random := [part for part in loaded.initialised if part.startswith(("backbone.", "rpn."))]:
        raise ValueError(
            f"variant {name!r} has another backbone or RPN than {weights} (random and frozen would be {random[0]} and "
            f"{len(random) - 1} more): a probe tries what comes after them"
        )
    return Variant(detector, instantiate(config.module.optimizer), config.module.loss_weights)


def _tell(measured: Measured) -> None:
    """Tables of mean and standard deviation over seeds and of the gains over the first variant; all of it as json."""
    values = {v: [*of_seeds.values()] for v, of_seeds in measured.items()}
    first, *others = measured
    means = {v: {name: spread([run[name] for run in runs]) for name in runs[0]} for v, runs in values.items()}
    _print("mean ± standard deviation over seeds", means)
    if others:
        _print(f"gain over {first} ± its standard error", {v: _gains(measured[v], measured[first]) for v in others})
    print(json.dumps({v: {name: [run[name] for run in runs] for name in runs[0]} for v, runs in values.items()}))


def _gains(ours: Mapping[int, Mapping[str, float]], theirs: Mapping[int, Mapping[str, float]]) -> dict[str, str]:
    """By name, over the seeds that both have."""
    pairs = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    names = [name for name in pairs[0][0] if name in pairs[0][1]] if pairs else []
    return {name: gain([one[name] for one, _ in pairs], [other[name] for _, other in pairs]) for name in names}


def _print(title: str, cells: Mapping[str, Mapping[str, str]]) -> None:
    """A column for each variant."""
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("", no_wrap=True)
    for variant in cells:
        table.add_column(variant, justify="right", overflow="fold")
    for name in dict.fromkeys(name for of_variant in cells.values() for name in of_variant):
        table.add_row(name, *(of_variant.get(name, "-") for of_variant in cells.values()))
    console.print(table)
