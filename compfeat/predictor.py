"""From frames to tubes: the only inference loop there is; validation, the scripts and streams all run through it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from compfeat.data.transforms import resize_image
from compfeat.models.detector import CompFeat
from compfeat.structures import Category, Detections, Tube, pad_and_stack
from compfeat.tracker import OnlineTracker


class CheckpointError(ValueError):
    """The file is not a checkpoint of this project."""


class VideoPredictor:
    """Finds the objects of a video: detection batched over frames, association one frame after the other.

    Args:
        detector: the network; it stays where it is, and frames follow it to its device.
        tracker: gives detections their identities.
        categories: the classes, in the order of their labels; as ``Category`` or as mappings ``{"id", "name"}``.
        size: (width, height) into which frames are fitted, keeping their ratio.
        batch_size: frames detected at once.
    """

    def __init__(
        self,
        detector: CompFeat,
        tracker: OnlineTracker,
        categories: Sequence[Category | Mapping[str, Any]],
        size: tuple[int, int] = (640, 360),
        batch_size: int = 8,
    ) -> None:
        self.detector = detector
        self.tracker = tracker
        self.categories = [c if isinstance(c, Category) else Category(**c) for c in categories]
        self.size = (size[0], size[1])
        self.batch_size = batch_size

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str | torch.device = "cpu", **changes: Any) -> "VideoPredictor":
        """Rebuilds the predictor a training run was validated with, weights loaded, in evaluation mode.

        Args:
            path: a checkpoint written by ``train.py``.
            device: where the network runs.
            changes: other arguments for the constructor, for instance ``tracker=OnlineTracker(Cues())``.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is no checkpoint of this project.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no checkpoint at {path}; ckpt=PATH names one, train.py writes them")
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            recipe, state = checkpoint["predictor"], checkpoint["state_dict"]
        except Exception as error:
            raise CheckpointError(f"{path} is not a checkpoint written by train.py ({type(error).__name__})") from error
        predictor: VideoPredictor = hydra.utils.instantiate({**recipe, **changes}, _convert_="all")
        prefix = "detector."
        predictor.detector.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        predictor.detector.to(device).eval()
        return predictor

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their labels."""
        return [category.name for category in self.categories]

    def predict(self, frames: Iterable[np.ndarray]) -> list[Tube]:
        """The objects of one video, by descending score.

        ``frames`` are uint8 RGB ``[H, W, 3]`` of one size; they are read once, ``batch_size`` at a time. Masks are kept
        as RLE, so memory does not grow with resolution x length.
        """
        self.reset()
        tubes: dict[int, Tube] = {}
        for batch in _batches(frames, self.batch_size):
            for seen in self._advance(batch):
                for now in seen:
                    tubes.setdefault(now.track_id, Tube(now.track_id)).extend(now)
        return sorted(tubes.values(), key=lambda tube: tube.score, reverse=True)

    def step(self, frame: np.ndarray) -> list[Tube]:
        """The objects of the next frame of a stream, each a ``Tube`` of this frame; ``reset`` starts a new stream."""
        return self._advance([frame])[0]

    def reset(self) -> None:
        """Forgets the video seen so far."""
        self.tracker.reset()
        self._next_frame = 0

    @torch.inference_mode()
    def _advance(self, frames: Sequence[np.ndarray]) -> list[list[Tube]]:
        device = self.detector.mean.device
        resized = [torch.from_numpy(resize_image(frame, self.size)).permute(2, 0, 1) for frame in frames]
        sizes = [(image.shape[1], image.shape[2]) for image in resized]
        found = self.detector.detect(pad_and_stack(resized).to(device), sizes)
        return [
            self._associate(detections, frame.shape[:2], size)
            for detections, frame, size in zip(found, frames, sizes, strict=True)
        ]

    def _associate(self, detections: Detections, original: tuple[int, int], resized: tuple[int, int]) -> list[Tube]:
        memory = self.tracker.memory
        if memory is None:
            scores = detections.scores.new_zeros(len(detections), 1)
        else:
            scores = self.detector.match(detections, memory)
        identities = self.tracker.update(detections, scores)

        boxes = detections.boxes.float().cpu() * _scale(resized, original)
        masks = _paste(detections.masks.float().cpu(), boxes, original)
        index = self._next_frame
        self._next_frame += 1
        rows = zip(identities, boxes, masks, detections.scores, detections.labels, strict=True)
        return [
            Tube(identity, [index], [tuple(box.tolist())], [rle.encode(mask)], [score.item()], [int(label)])
            for identity, box, mask, score, label in rows
        ]


def _batches(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    source = iter(frames)
    while batch := list(islice(source, size)):
        yield batch


def _scale(resized: tuple[int, int], original: tuple[int, int]) -> Tensor:
    x, y = original[1] / resized[1], original[0] / resized[0]
    return torch.tensor([x, y, x, y])


def _paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> list[np.ndarray]:
    """Mask probabilities ``[N, 1, m, m]`` inside boxes ``[N, 4]`` -> N binary masks, uint8, column-major for RLE."""
    pasted = paste_masks_in_image(masks, boxes, size)[:, 0] > 0.5
    return [np.asfortranarray(mask.numpy().astype(np.uint8)) for mask in pasted]
