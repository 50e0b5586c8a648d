"""Pretrained weights into the detector, whose parameters bear the names of torchvision's Mask R-CNN."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.ops import FrozenBatchNorm2d

from compfeat.files import read_json

CONFIG = "config.json"  # in a folder written by scripts/export.py: what the network is
SAFETENSORS = "model.safetensors"  # and its weights
COCO = MaskRCNN_ResNet50_FPN_Weights.COCO_V1

# The layers with rows of their own for every class, and how many.
PREDICTORS = {
    "roi_heads.box_predictor.cls_score": 1,
    "roi_heads.box_predictor.bbox_pred": 4,
    "roi_heads.mask_predictor.mask_fcn_logits": 1,
}

# The names in files older than torchvision 0.14, that of the COCO weights among them.
RENAMED = {
    r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$": r"\1.0.\2",
    r"^(rpn\.head\.conv)\.(weight|bias)$": r"\1.0.0.\2",
    **{rf"^(roi_heads\.mask_head)\.mask_fcn{i + 1}\.": rf"\1.{i}.0." for i in range(4)},
}


class WeightsError(ValueError):
    """The weights asked for cannot be had or do not belong to this model."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the weights.

    Attributes:
        source: where they come from.
        loaded: parameters and buffers taken as they are.
        copied_rows: model label -> source label of the classes whose rows in the box and mask predictors were copied;
            empty when the predictors were loaded as they are.
        skipped: in the source, but not in the model or of another shape there.
        initialised: left as the model had initialised them, apart from the predictors' other rows.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    copied_rows: dict[int, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    initialised: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = f", predictor rows of {len(self.copied_rows) - 1} classes and background" if self.copied_rows else ""
        return (
            f"weights from {self.source}: loaded {len(self.loaded)} tensors{rows}; "
            f"initialised {_by_module(self.initialised)}; skipped {_by_module(self.skipped)}"
        )


def load_pretrained(
    model: nn.Module,
    source: str | Path,
    class_map: Mapping[int, int] | None = None,
    classes: Sequence[str] | None = None,
) -> LoadReport:
    """Loads what a source and the model share, in place; all else keeps its initialisation.

    Box and mask predictors have rows for every class. Given a class map, the rows of its classes and of the background
    are copied. Without one a checkpoint whose classes have other names, or the same in another order, lends the rows of
    those that ``classes`` holds too. Of all others they load as they are where source and model have equally many
    classes, which are then taken to be the same; otherwise only the background is copied.

    Args:
        model: its parameters bear torchvision's names; it may have others.
        source: ``"coco"``, torchvision's Mask R-CNN, downloaded once, or ``"coco:PATH"``, the same from a file, whose
            labels are the COCO category ids; or the path of a state dict, of a checkpoint written by ``train.py`` or of
            a folder by ``scripts/export.py``.
        class_map: model label -> source label.
        classes: the names of the model's, by label from 1 on.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the download failed, the file is no state dict, it shares nothing with the model, its backbone is
            another one, it was trained with group norms and the model has batch norms, or the class map names a class
            that one of them lacks.
    """
    pretrained, known = _read(source)
    if class_map is None and classes is not None and known is not None and known != list(classes):
        class_map = {label: known.index(name) + 1 for label, name in enumerate(classes, start=1) if name in known}
    state = model.state_dict()  # shares its memory with the model
    rows = {0: 0, **(class_map or {})}
    report = LoadReport(str(source))
    for name, target in state.items():
        value = pretrained.get(name)
        per_class = PREDICTORS.get(name.rpartition(".")[0])
        if value is not None and value.shape == target.shape and (per_class is None or class_map is None):
            target.copy_(value)
            report.loaded.append(name)
        elif value is not None and per_class is not None and value.shape[1:] == target.shape[1:]:
            _copy_rows(target, value, rows, per_class)
            report.copied_rows.update(rows)
        elif not name.endswith("num_batches_tracked"):  # a counter that frozen batch norm does without
            report.initialised.append(name)
            if value is not None:
                report.skipped.append(name)
    report.skipped.extend(n for n in pretrained if n not in state and not n.endswith("num_batches_tracked"))
    if not report.loaded:
        raise WeightsError(f"{source} holds no weights of this model; is it a Mask R-CNN or a checkpoint of train.py?")
    statistics = [name for name in report.initialised if name.endswith("running_var")]
    if any(name.replace("running_var", "weight") in report.loaded for name in statistics):
        raise WeightsError(
            f"{source} was trained with group norms, which have no statistics for this model's batch norms: "
            "add model.detector.backbone.frozen=false model.detector.backbone.norm=group"
        )
    if any(name.startswith("backbone.body.") for name in report.initialised):  # and might stay as it is, frozen
        raise WeightsError(
            f"{source} has another backbone than this model: recipe=small has the small one, recipe=paper ResNet-50"
        )
    if of_coco(source):
        _take_back_eps(model)
    return report


def of_coco(source: str | Path) -> bool:
    """Whether ``source`` of ``load_pretrained`` has the classes of COCO: ``"coco"`` and ``"coco:PATH"``."""
    return str(source).partition(":")[0] == "coco"


def require_weights(source: str | Path) -> None:
    """Raises FileNotFoundError where ``source`` of ``load_pretrained`` is a file that is not there; reads nothing."""
    path = _path(source)
    if path is not None and not path.is_file():
        raise FileNotFoundError(f"no weights at {path}; coco downloads COCO's, coco:PATH is their file")


def digest(source: str | Path) -> str | None:
    """The sha256 of the file that ``source`` of ``load_pretrained`` is; None where it is downloaded, or not there."""
    path = _path(source)
    if path is None or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The names and tensors of a file that can hold nothing else.

    Raises:
        WeightsError: it is not of this format, or cut off.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file, or cut off: {error}") from error


def _read(source: str | Path) -> tuple[dict[str, Tensor], list[str] | None]:
    """Names and tensors, and the names of the classes where the source tells them."""
    require_weights(source)
    path = _path(source)
    state, classes = (_download(), None) if path is None else _read_file(path)
    for old, new in RENAMED.items():
        state = {re.sub(old, new, name): value for name, value in state.items()}
    return dict(state), classes


def _download() -> Mapping[str, Tensor]:
    try:
        return COCO.get_state_dict(progress=True, check_hash=True)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"could not download {COCO.url}: {reason}; give its file as coco:PATH") from error


def _path(source: str | Path) -> Path | None:
    """The file of the weights; None where they are downloaded."""
    if source == "coco":
        return None
    path = Path(str(source).removeprefix("coco:"))
    return path / SAFETENSORS if path.is_dir() else path


def _read_file(path: Path) -> tuple[Mapping[str, Tensor], list[str] | None]:
    if path.name == SAFETENSORS:
        config = path.with_name(CONFIG)
        return read_safetensors(path), _class_names(read_json(config)) if config.is_file() else None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load names many, from zip to pickle
        raise WeightsError(f"{path} cannot be read as weights ({type(error).__name__})") from error
    classes = None
    if isinstance(content, dict) and "state_dict" in content:
        classes = _class_names(content.get("predictor"))
        content = content["state_dict"]
    state: Any = content.items() if isinstance(content, dict) else [("", None)]
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state):
        raise WeightsError(f"{path} is not a state dict, that is names and tensors")
    return {name.removeprefix("detector."): value for name, value in state}, classes


def _class_names(recipe: Any) -> list[str] | None:
    """The names of the classes that the recipe of a network holds, by label; None where it is none."""
    try:
        return [category["name"] for category in recipe["categories"]]
    except (KeyError, TypeError, IndexError):
        return None


def _copy_rows(target: Tensor, value: Tensor, rows: Mapping[int, int], per_class: int) -> None:
    target, value = target.unflatten(0, (-1, per_class)), value.unflatten(0, (-1, per_class))
    if not (set(rows) <= set(range(len(target))) and set(rows.values()) <= set(range(len(value)))):
        raise WeightsError(
            f"the class map goes beyond the {len(target)} rows of the model or {len(value)} of the source"
        )
    target[list(rows)] = value[list(rows.values())].to(target)


def _take_back_eps(model: nn.Module) -> None:
    """Scales frozen norms as if they added nothing to the variance, as those did that COCO's weights were trained with:
    torchvision sets their eps to 0, which a checkpoint would not know of."""
    for norm in model.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.weight.mul_((1 + norm.eps / norm.running_var.double()).sqrt())  # some variances are minute


def _by_module(names: Sequence[str]) -> str:
    """``["a.b.c", "a.b.d"]`` -> ``"a.b (2)"``: what a person reads of a hundred names."""
    modules = Counter(".".join(name.split(".")[:-1][:2]) for name in names)
    return ", ".join(f"{module} ({count})" for module, count in modules.items()) or "nothing"
