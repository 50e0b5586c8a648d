"""Which of the boxes a network proposes are kept: one for an object with all it may be, or one for each class."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from compfeat.quantities import Count, Share


class Labels(ABC):
    """How a frame's boxes become detections, and those of a tube its class. The defaults are MaskTrack R-CNN's.

    Args:
        score_threshold: boxes that are less probably an object, hard labels: one of their class, are dropped.
        nms_threshold: IoU over which the less sure of two boxes is dropped.
        detections: kept per frame.
    """

    votes: ClassVar[bool]  # whether the class of a tube is voted by its frames; else it is the likeliest over them

    def __init__(self, score_threshold: Share = 0.05, nms_threshold: Share = 0.5, detections: Count = 10) -> None:
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.detections = detections

    @abstractmethod
    def __call__(self, boxes: Tensor, classes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Chooses among the P boxes of a frame.

        Args:
            boxes: ``[P, C, 4]``, one for each class, in pixels.
            classes: ``[P, C]``, the probabilities of labels 1 to C.
            size: (height, width) of the frame, to which boxes are clipped.

        Returns:
            boxes ``[N, 4]`` and class probabilities ``[N, C]``, the surest first.
        """

    def suppress(self, boxes: Tensor, classes: Tensor, groups: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What is left of boxes ``[M, 4]`` with classes ``[M, C]`` when each silences others of its group ``[M]``."""
        boxes, scores = clip_boxes_to_image(boxes, size), classes.sum(1)
        kept = torch.where(scores > self.score_threshold)[0]
        kept = kept[remove_small_boxes(boxes[kept], min_size=1e-2)]
        kept = kept[batched_nms(boxes[kept], scores[kept], groups[kept], self.nms_threshold)[: self.detections]]
        return boxes[kept], classes[kept]


class SoftLabels(Labels):
    """An object is detected once, whatever it may be, and keeps the probabilities of all classes, as its tube does."""

    votes = False

    def __call__(self, boxes: Tensor, classes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """As ``Labels``; each of the P boxes is that of its likeliest class, and silences those of any other."""
        best = classes.argmax(1)
        return self.suppress(boxes[torch.arange(len(best)), best], classes, torch.zeros_like(best), size)


class HardLabels(Labels):
    """Mask R-CNN's way, and so the paper's: an object is detected once for every class it may be.

    Each detection knows of one class alone, and the class of a tube is the majority vote of its frames.
    """

    votes = True

    def __call__(self, boxes: Tensor, classes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """As ``Labels``; boxes silence others of their class, and all classes but that have probability 0."""
        box, label = torch.where(classes > self.score_threshold)  # first: P x C x C are too many where classes are
        alone = classes[box, label][:, None] * F.one_hot(label, classes.shape[1])
        return self.suppress(boxes[box, label], alone, label, size)
