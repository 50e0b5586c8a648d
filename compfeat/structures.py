"""The typed things that flow between the rooms of the project.

Conventions everywhere: images are RGB, boxes are absolute ``(x1, y1, x2, y2)`` pixels with ``x2 = x1 + width``, labels
are ``1..num_classes`` with 0 the background, masks are binary ``[N, H, W]``, RLE is COCO's compressed run-length
encoding ``{"size": [height, width], "counts": bytes}`` in column-major order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TypedDict

import torch
from torch import Tensor

RLE = dict  # {"size": [height, width], "counts": bytes}, as pycocotools takes and gives it
SIZE_DIVISOR = 32  # the coarsest stride of the feature pyramid, to which batches are padded


class FrameTarget(TypedDict):
    """The objects of one frame: torchvision's detection target plus identities.

    ``boxes [N, 4] float32``, ``labels [N] int64``, ``masks [N, H, W] uint8``, ``track_ids [N] int64``: equal ids in
    two frames of one clip, or of one batch, are the same object.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor
    track_ids: Tensor


@dataclass(frozen=True)
class Category:
    """One class of a data set: its id in the annotation file and its name. Its label is its 1-based position."""

    id: int
    name: str


@dataclass(frozen=True)
class Clip:
    """One training sample: frames of one video, all transformed by the same geometry.

    ``current [3, H, W]``, ``support [T, 3, H, W]`` and ``reference [3, H, W]`` are uint8 RGB; ``video`` names what they
    are frames of, a video or a still; ``name`` says where they come from, for error messages.
    """

    current: Tensor
    support: Tensor
    reference: Tensor
    target: FrameTarget
    reference_target: FrameTarget
    video: str
    name: str


@dataclass(frozen=True)
class ClipBatch:
    """B clips, zero-padded at the right and bottom to one size divisible by 32.

    ``current [B, 3, H, W]``, ``support [B, T, 3, H, W]``, ``reference [B, 3, H, W]`` uint8; ``image_sizes`` holds the
    (height, width) of each clip before padding.
    """

    current: Tensor
    support: Tensor
    reference: Tensor
    image_sizes: list[tuple[int, int]]
    targets: list[FrameTarget]
    reference_targets: list[FrameTarget]
    names: list[str]

    @classmethod
    def collate(cls, clips: Sequence[Clip]) -> "ClipBatch":
        """Pads and stacks clips, and numbers their objects anew; the ``collate_fn`` of the training loader."""
        sizes = [(clip.current.shape[-2], clip.current.shape[-1]) for clip in clips]
        numbers: dict[tuple[str, int], int] = {}  # of objects: other videos, or other data sets, have the same ids

        def numbered(target: FrameTarget, video: str) -> FrameTarget:
            ids = [numbers.setdefault((video, i), len(numbers)) for i in target["track_ids"].tolist()]
            return {**target, "track_ids": torch.tensor(ids, dtype=torch.int64)}

        return cls(
            current=pad_and_stack([clip.current for clip in clips]),
            support=pad_and_stack([clip.support for clip in clips]),
            reference=pad_and_stack([clip.reference for clip in clips]),
            image_sizes=sizes,
            targets=[numbered(clip.target, clip.video) for clip in clips],
            reference_targets=[numbered(clip.reference_target, clip.video) for clip in clips],
            names=[clip.name for clip in clips],
        )

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ClipBatch":
        """The same batch with every tensor on ``device``."""

        def move(value):
            if isinstance(value, Tensor):
                return value.to(device, non_blocking=non_blocking)
            if isinstance(value, dict):
                return {key: move(item) for key, item in value.items()}
            if isinstance(value, list):
                return [move(item) for item in value]
            return value

        return ClipBatch(**{f.name: move(getattr(self, f.name)) for f in fields(self)})

    def pin_memory(self) -> "ClipBatch":
        """The same batch with its images in page-locked memory; called by the loader when a GPU is used."""
        pinned = {name: getattr(self, name).pin_memory() for name in ("current", "support", "reference")}
        return ClipBatch(**{f.name: pinned.get(f.name, getattr(self, f.name)) for f in fields(self)})


def pad_and_stack(images: Sequence[Tensor]) -> Tensor:
    """Zero-pads images ``[..., H_i, W_i]`` at the right and bottom to one size divisible by 32 and stacks them."""
    height = max(-(-image.shape[-2] // SIZE_DIVISOR) for image in images) * SIZE_DIVISOR
    width = max(-(-image.shape[-1] // SIZE_DIVISOR) for image in images) * SIZE_DIVISOR
    batch = images[0].new_zeros((len(images), *images[0].shape[:-2], height, width))
    for slot, image in zip(batch, images, strict=True):
        slot[..., : image.shape[-2], : image.shape[-1]].copy_(image)
    return batch


@dataclass(frozen=True)
class Detections:
    """The N objects found in one frame, in the pixels of the resized frame the network saw.

    ``boxes [N, 4]``, ``classes [N, num_classes]`` the probabilities of labels 1, 2, ..., ``masks [N, 1, m, m]`` mask
    probabilities inside each box, ``features [N, ...]`` what the track head tells objects apart by, embedded
    RoIAligned features ``[N, C, h, w]``, ``frame [C, H, W]`` the map of the whole frame in which it looks for them.
    """

    boxes: Tensor
    classes: Tensor
    masks: Tensor
    features: Tensor
    frame: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def scores(self) -> Tensor:
        """``[N]``: the probability of each to be an object, of whatever class."""
        return self.classes.sum(1)


@dataclass
class Tube:
    """One object through a video, in pixels of the original frames.

    ``frames`` are the indices at which it was seen, in order; ``boxes`` (x1, y1, x2, y2), ``masks`` (RLE) and
    ``classes``, the probabilities of labels 1, 2, ..., have one entry for each of them.
    """

    track_id: int
    frames: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    masks: list[RLE] = field(default_factory=list)
    classes: list[list[float]] = field(default_factory=list)

    def extend(self, later: "Tube") -> None:
        """Appends what was seen of the same object in later frames."""
        self.frames += later.frames
        self.boxes += later.boxes
        self.masks += later.masks
        self.classes += later.classes

    @property
    def probabilities(self) -> list[float]:
        """Of labels 1, 2, ...: the mean over frames."""
        return self._tally.probabilities

    @property
    def score(self) -> float:
        """The probability of the tube's class."""
        return self._tally.likeliest[1]

    @property
    def label(self) -> int:
        """The likeliest class."""
        return self._tally.likeliest[0]

    @property
    def scores(self) -> list[float]:
        """For each frame the probability of its likeliest class."""
        return [max(classes) for classes in self.classes]

    def vote(self) -> None:
        """Gives all frames the class of most of them, each with its own score: a tube's class by the paper's letter."""
        winner, _ = self._tally.voted
        labels = range(1, 1 + len(self.classes[0]))
        self.classes = [[score * (label == winner) for label in labels] for score in self.scores]

    @property
    def _tally(self) -> "ClassTally":
        tally = ClassTally(len(self.classes[0]))
        for classes in self.classes:
            tally.add(classes)
        return tally


class ClassTally:
    """What frames say of the class of an object, added up one after the other."""

    def __init__(self, num_classes: int) -> None:
        self._frames = 0
        self._sums = [0.0] * num_classes
        self._votes = [(0, 0.0)] * num_classes  # the frames in which a class is likeliest, and its summed scores there

    def add(self, classes: Sequence[float]) -> None:
        """Adds the probabilities of labels 1, 2, ... in one more frame."""
        self._frames += 1
        self._sums = [total + probability for total, probability in zip(self._sums, classes, strict=True)]
        likeliest = _position_of_largest(classes)
        votes, scores = self._votes[likeliest]
        self._votes[likeliest] = votes + 1, scores + classes[likeliest]

    @property
    def probabilities(self) -> list[float]:
        """Of labels 1, 2, ...: the mean over frames."""
        return [total / self._frames for total in self._sums]

    @property
    def likeliest(self) -> tuple[int, float]:
        """The label of the largest mean probability, and that probability."""
        position = _position_of_largest(self._sums)
        return position + 1, self._sums[position] / self._frames

    @property
    def voted(self) -> tuple[int, float]:
        """The label that is likeliest in most frames, and the mean score of all frames, whatever their labels.

        Of several labels with as many frames, the one with the larger summed score.
        """
        position = max(range(len(self._votes)), key=self._votes.__getitem__)
        return position + 1, sum(scores for _, scores in self._votes) / self._frames


def _position_of_largest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
