"""torchvision's RoI heads on features refined at object level; they also hand out what objects are matched by."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_inference, maskrcnn_loss
from torchvision.ops import MultiScaleRoIAlign

from compfeat.models.attention import DualAttention, Features, SupportMemory
from compfeat.structures import Detections, FrameTarget

FRAME_LEVEL = "2"  # P4: one map for a whole frame, on which a 7x7 RoI spans 112 pixels
Sizes = list[tuple[int, int]]


@dataclass(frozen=True)
class SampledObjects:
    """The positive RoIs of a training frame: features ``[N, C, h, w]``, boxes ``[N, 4]``, identities ``[N]`` int64."""

    features: Tensor
    boxes: Tensor
    identities: Tensor


class CompFeatRoIHeads(RoIHeads):
    """Box and mask heads on RoIAligned features, refined by dual attention where it is given (paper, "Attention Module
    on Object Level").

    Args:
        object_attention: refines the features of every RoI before any head sees them; None leaves them as they are.
        heads: the arguments of torchvision's ``RoIHeads``.
    """

    def __init__(self, object_attention: DualAttention | None = None, **heads: Any) -> None:
        super().__init__(**heads)
        self.object_attention = object_attention

    def losses(
        self,
        features: Features,
        proposals: list[Tensor],
        image_sizes: Sizes,
        targets: list[FrameTarget],
        memory: SupportMemory | None,
    ) -> tuple[list[SampledObjects], dict[str, Tensor]]:
        """Samples RoIs from the proposals of B frames and trains the box and mask heads on them.

        Args:
            features: pyramid maps ``[B, C, H, W]`` by level.
            proposals: for each frame boxes ``[P_i, 4]``.
            image_sizes: (height, width) of each frame before padding.
            targets: the objects of each frame; may be empty.
            memory: what object attention knows of the support frames of each frame.

        Returns:
            the positive RoIs of each frame, and ``loss_classifier``, ``loss_box_reg``, ``loss_mask``.
        """
        proposals, matched, labels, regression = self.select_training_samples(proposals, targets)
        roi_features = self._pool(self.box_roi_pool, features, proposals, image_sizes, memory)
        class_logits, box_regression = self.box_predictor(self.box_head(torch.cat(roi_features)))
        loss_classifier, loss_box_reg = fastrcnn_loss(class_logits, box_regression, labels, regression)

        positive = [torch.where(label > 0)[0] for label in labels]
        matched = [m[p] for m, p in zip(matched, positive, strict=True)]
        boxes = [box[p] for box, p in zip(proposals, positive, strict=True)]
        mask_logits = self._mask_logits(features, boxes, image_sizes, memory)
        loss_mask = maskrcnn_loss(
            mask_logits, boxes, [t["masks"] for t in targets], [t["labels"] for t in targets], matched
        )

        objects = [
            SampledObjects(f[p], b, t["track_ids"][m])
            for f, p, b, t, m in zip(roi_features, positive, boxes, targets, matched, strict=True)
        ]
        return objects, {"loss_classifier": loss_classifier, "loss_box_reg": loss_box_reg, "loss_mask": loss_mask}

    def detect(
        self, features: Features, proposals: list[Tensor], image_sizes: Sizes, memory: SupportMemory | None
    ) -> list[Detections]:
        """The objects of each of B frames; arguments as in ``losses``."""
        roi_features = self._pool(self.box_roi_pool, features, proposals, image_sizes, memory)
        class_logits, box_regression = self.box_predictor(self.box_head(torch.cat(roi_features)))
        boxes, scores, labels = self.postprocess_detections(class_logits, box_regression, proposals, image_sizes)
        masks = maskrcnn_inference(self._mask_logits(features, boxes, image_sizes, memory), labels)
        objects = self.object_features(features, boxes, image_sizes, memory)
        frames = features[FRAME_LEVEL]
        return [Detections(*parts) for parts in zip(boxes, scores, labels, masks, objects, frames, strict=True)]

    def object_features(
        self, features: Features, boxes: list[Tensor], image_sizes: Sizes, memory: SupportMemory | None
    ) -> list[Tensor]:
        """Refined RoIAligned features ``[N_i, C, h, w]`` of the given boxes ``[N_i, 4]`` of each frame."""
        return self._pool(self.box_roi_pool, features, boxes, image_sizes, memory)

    def _mask_logits(
        self, features: Features, boxes: list[Tensor], image_sizes: Sizes, memory: SupportMemory | None
    ) -> Tensor:
        rois = torch.cat(self._pool(self.mask_roi_pool, features, boxes, image_sizes, memory))
        return self.mask_predictor(self.mask_head(rois))

    def _pool(
        self,
        pool: MultiScaleRoIAlign,
        features: Features,
        boxes: list[Tensor],
        image_sizes: Sizes,
        memory: SupportMemory | None,
    ) -> list[Tensor]:
        rois = pool(features, boxes, image_sizes)
        counts = [len(b) for b in boxes]
        if self.object_attention is None:
            return list(rois.split(counts))
        if memory is None or len(memory.key) == 1:  # frames of one video share their support frames
            return list(self.object_attention.refine(rois, memory).split(counts))
        padded = pad_sequence(rois.split(counts), batch_first=True)  # all clips in one call, each with as many RoIs
        refined = self.object_attention.refine(padded.flatten(0, 1), memory).unflatten(0, padded.shape[:2])
        return [x[:count] for x, count in zip(refined, counts, strict=True)]
