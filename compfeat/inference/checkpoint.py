"""Which files are taken for checkpoints, and what they may build: nothing in a file from elsewhere can run code."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Hydra calls whatever a recipe names: only these are let through. A part of one's own is added here.
PARTS = {
    "compfeat.inference.predictor.VideoPredictor",
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
    """The file is not a checkpoint of this project."""


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The recipe of a predictor and the weights of its detector.

    Args:
        path: a checkpoint written by ``train.py``.

    Returns:
        the config from which ``hydra.utils.instantiate`` rebuilds the predictor, checked through and through to name
        only ``PARTS``, and the state dict of ``predictor.detector``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is no checkpoint of this project, or would build something that is no part of it.
    """
    content = read_run_state(path)
    recipe = content["predictor"]
    for fault in _strange(recipe):
        raise CheckpointError(f"{path} was not written by train.py: {fault}; nothing of it was built")
    prefix = "detector."
    weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
    return recipe, weights


def read_run_state(path: str | Path) -> dict[str, Any]:
    """All that a checkpoint holds, optimizer and schedule too; only tensors and plain values are unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is no checkpoint of this project.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}; train.py writes them under checkpoints/ of a run")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load names many, from zip to pickle
        raise CheckpointError(f"{path} is not a checkpoint written by train.py ({type(error).__name__})") from error
    if not isinstance(content, dict) or not {"predictor", "state_dict"} <= content.keys():
        raise CheckpointError(f"{path} is not a checkpoint written by train.py: it has no predictor and state_dict")
    return content


def _strange(node: Any, where: str = "predictor") -> Iterator[str]:
    """What a recipe holds that train.py never writes and Hydra would act upon."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                if not isinstance(value, str) or value not in PARTS:
                    yield f"{where} names {value!r}, which is no part of this project"
            elif str(key).startswith("_"):  # _args_, _partial_, ...
                yield f"{where} has {key!r}"
            else:
                yield from _strange(value, f"{where}.{key}")
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _strange(value, f"{where}[{i}]")
    elif isinstance(node, str) and "${" in node:  # OmegaConf would put something else in its place
        yield f"{where} is {node!r}"
