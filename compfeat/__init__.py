"""CompFeat: comprehensive feature aggregation for video instance segmentation (Fu et al., AAAI 2021)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compfeat.evaluation import evaluate
    from compfeat.inference.predictor import VideoPredictor
    from compfeat.media.sources import open_frames
    from compfeat.structures import Tube

__all__ = ["Tube", "VideoPredictor", "evaluate", "open_frames"]

_ROOMS = {
    "Tube": "structures",
    "VideoPredictor": "inference.predictor",
    "evaluate": "evaluation",
    "open_frames": "media.sources",
}


def __getattr__(name: str) -> Any:  # torch takes seconds to import, so it is when it is needed
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
