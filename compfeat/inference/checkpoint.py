"""Which files are taken for checkpoints, and what they may build: nothing in a file from elsewhere can run code."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import save
from torch import Tensor

from compfeat.config_check import ConfigError, check_config
from compfeat.inference.pretrained import coco_recipe
from compfeat.models.weights import CONFIG, SAFETENSORS, WeightsError, load_pretrained, of_coco, read_safetensors

if TYPE_CHECKING:
    from compfeat.inference.predictor import VideoPredictor

PREDICTOR = "compfeat.inference.predictor.VideoPredictor"
DEEPEST = 200  # characters of the place of a value in a recipe

# Hydra calls whatever a recipe names: only these are let through. A custom module is added here.
PARTS = {
    PREDICTOR,
    "compfeat.inference.support.SupportBank",
    "compfeat.inference.tracker.Cues",
    "compfeat.inference.tracker.OnlineTracker",
    "compfeat.models.attention.DualAttention",
    "compfeat.models.backbone.resnet_fpn",
    "compfeat.models.detector.CompFeat",
    "compfeat.models.labels.HardLabels",
    "compfeat.models.labels.SoftLabels",
    "compfeat.models.track_heads.CorrelationTrackHead",
    "compfeat.models.track_heads.LikenessHead",
    "compfeat.models.track_heads.TrackHead",
}


class CheckpointError(ValueError):
    """The file or folder is not a checkpoint of this project."""


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The recipe of a predictor and the weights of its detector.

    Args:
        path: a checkpoint written by ``train.py``, or a folder written by ``scripts/export.py``.

    Returns:
        the config from which ``hydra.utils.instantiate`` rebuilds the predictor, checked through and through to name
        only ``PARTS``, and the state dict of ``predictor.detector``.

    Raises:
        FileNotFoundError: there is no such file or folder, or a part of the folder is missing.
        CheckpointError: it is no checkpoint of this project, or would build something that is no part of it.
    """
    if Path(path).is_dir():
        recipe, weights, writer = *_read_folder(Path(path)), "scripts/export.py"
    else:
        content, writer = read_run_state(path), "train.py"
        recipe, prefix = content["predictor"], "detector."
        weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
    for fault in strange(recipe):
        raise CheckpointError(f"{path} was not written by {writer}: {fault}; nothing of it was built")
    return recipe, weights


def rebuild(path: str | Path, **changes: Any) -> "VideoPredictor":
    """The predictor of a checkpoint with its weights, as it was trained; see ``VideoPredictor.from_checkpoint``.

    Args:
        path: as ``read_checkpoint``; or ``"coco"`` and ``"coco:PATH"``, torchvision's Mask R-CNN (``coco_recipe``).
        changes: other arguments for the constructor of the predictor.

    Raises:
        FileNotFoundError: there is no such file or folder, or a part of the folder is missing.
        CheckpointError: it is no checkpoint of this project, would build something that is no part of it, or describes
            what cannot be built or does not fit its weights.
        WeightsError: COCO's weights cannot be had.
    """
    recipe, weights = (coco_recipe(), {}) if of_coco(path) else read_checkpoint(path)
    try:
        check_config(OmegaConf.create({"predictor": recipe}), {})  # some values are looked at only with a frame
        predictor: VideoPredictor = instantiate({**recipe, **changes}, _convert_="all")
    except (ConfigError, InstantiationException) as error:
        fault = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        raise CheckpointError(f"{path} describes what cannot be built: {' '.join(str(fault).split())}") from error
    known, told = len(predictor.categories), recipe["detector"]["num_classes"]
    if known != told:
        raise CheckpointError(f"{path} names {known} classes for a network that tells {told} apart")
    if of_coco(path):
        class_map = {label: category.id for label, category in enumerate(predictor.categories, start=1)}
        load_pretrained(predictor.detector, path, class_map)
        return predictor
    try:
        predictor.detector.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).split("\n")[1].strip()  # of a line for each tensor
        raise CheckpointError(f"{path}: its weights do not fit the network it describes: {first}") from error
    return predictor


def write_folder(folder: Path, recipe: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Writes what ``read_checkpoint`` returns into a folder that is there, as ``read_checkpoint`` reads it again.

    Raises:
        OSError: it cannot be written.
    """
    (folder / CONFIG).write_text(json.dumps(recipe, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    plain = {name: value.contiguous() for name, value in weights.items()}  # the format knows no channels_last
    # not by save_file, whose file none but its owner may read
    (folder / SAFETENSORS).write_bytes(save(plain, metadata={"format": "pt"}))


def read_run_state(path: str | Path) -> dict[str, Any]:
    """All that a checkpoint holds, optimizer and schedule too; only tensors and plain values are unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is no checkpoint of this project.
    """
    if Path(path).is_dir():
        raise CheckpointError(f"{path} is a folder, without the state of a run; weights={path} starts from its weights")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}; train.py writes them under checkpoints/ of a run")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load names many, from zip to pickle
        raise CheckpointError(f"{path} is not a checkpoint written by train.py ({type(error).__name__})") from error
    if not isinstance(content, dict) or not {"predictor", "state_dict"} <= content.keys():
        raise CheckpointError(f"{path} is not a checkpoint written by train.py: it has no predictor and state_dict")
    if not isinstance(content["state_dict"], Mapping) or not all(isinstance(key, str) for key in content["state_dict"]):
        raise CheckpointError(f"{path} is not a checkpoint written by train.py: its state_dict does not name tensors")
    return content


def _read_folder(folder: Path) -> tuple[Any, dict[str, Tensor]]:
    for name in (CONFIG, SAFETENSORS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}; give a checkpoint of train.py, or a folder as scripts/export.py writes it"
            )
    try:
        recipe = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / CONFIG} is not json, or cut off: {error}") from error
    try:
        return recipe, read_safetensors(folder / SAFETENSORS)
    except WeightsError as error:
        raise CheckpointError(str(error)) from error


def strange(recipe: Any) -> Iterator[str]:
    """What a recipe holds that train.py never writes and Hydra would act upon: ``read_checkpoint`` refuses it."""
    yield from _strange_at(recipe, "predictor")
    if not isinstance(recipe, Mapping) or recipe.get("_target_") != PREDICTOR:
        yield f"it does not describe a {PREDICTOR}"


def _strange_at(node: Any, where: str) -> Iterator[str]:
    if len(where) > DEEPEST:
        yield f"{where[:DEEPEST]}... is nested too deep"
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                if not isinstance(value, str) or value not in PARTS:
                    yield f"{where} names {value!r}, which is no part of this project"
            elif not isinstance(key, str) or key.startswith("_"):  # _args_, _partial_, ...
                yield f"{where} has {key!r}"
            else:
                yield from _strange_at(value, f"{where}.{key}")
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _strange_at(value, f"{where}[{i}]")
    elif isinstance(node, str) and "${" in node:  # OmegaConf would put something else in its place
        yield f"{where} is {node!r}"
    elif not isinstance(node, str | int | float | None):
        yield f"{where} is a {type(node).__name__}"
