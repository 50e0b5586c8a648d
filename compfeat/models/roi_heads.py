"""torchvision's RoI heads, which also hand out the features by which objects are told apart."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_inference, maskrcnn_loss

from compfeat.structures import Detections, FrameTarget

Features = dict[str, Tensor]
Sizes = list[tuple[int, int]]


@dataclass(frozen=True)
class SampledObjects:
    """The positive RoIs of a training frame: features ``[N, C, h, w]`` and identities ``[N]`` int64."""

    features: Tensor
    identities: Tensor


class CompFeatRoIHeads(RoIHeads):
    """Box and mask heads on RoIAligned features; takes the arguments of torchvision's ``RoIHeads``."""

    def losses(
        self, features: Features, proposals: list[Tensor], image_sizes: Sizes, targets: list[FrameTarget]
    ) -> tuple[list[SampledObjects], dict[str, Tensor]]:
        """Samples RoIs from the proposals of B frames and trains the box and mask heads on them.

        Args:
            features: pyramid maps ``[B, C, H, W]`` by level.
            proposals: for each frame boxes ``[P_i, 4]``.
            image_sizes: (height, width) of each frame before padding.
            targets: the objects of each frame; may be empty.

        Returns:
            the positive RoIs of each frame, and ``loss_classifier``, ``loss_box_reg``, ``loss_mask``.
        """
        proposals, matched, labels, regression = self.select_training_samples(proposals, targets)
        roi_features = self.box_roi_pool(features, proposals, image_sizes)
        class_logits, box_regression = self.box_predictor(self.box_head(roi_features))
        loss_classifier, loss_box_reg = fastrcnn_loss(class_logits, box_regression, labels, regression)

        positive = [torch.where(label > 0)[0] for label in labels]
        matched = [m[p] for m, p in zip(matched, positive, strict=True)]
        boxes = [box[p] for box, p in zip(proposals, positive, strict=True)]
        mask_logits = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes, image_sizes)))
        loss_mask = maskrcnn_loss(
            mask_logits, boxes, [t["masks"] for t in targets], [t["labels"] for t in targets], matched
        )

        per_frame = roi_features.split([len(p) for p in proposals])
        objects = [
            SampledObjects(f[p], t["track_ids"][m])
            for f, p, t, m in zip(per_frame, positive, targets, matched, strict=True)
        ]
        return objects, {"loss_classifier": loss_classifier, "loss_box_reg": loss_box_reg, "loss_mask": loss_mask}

    def detect(self, features: Features, proposals: list[Tensor], image_sizes: Sizes) -> list[Detections]:
        """The objects of each of B frames; arguments as in ``losses``."""
        roi_features = self.box_roi_pool(features, proposals, image_sizes)
        class_logits, box_regression = self.box_predictor(self.box_head(roi_features))
        boxes, scores, labels = self.postprocess_detections(class_logits, box_regression, proposals, image_sizes)
        mask_logits = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes, image_sizes)))
        masks = maskrcnn_inference(mask_logits, labels)
        objects = self.object_features(features, boxes, image_sizes)
        return [Detections(*parts) for parts in zip(boxes, scores, labels, masks, objects, strict=True)]

    def object_features(self, features: Features, boxes: list[Tensor], image_sizes: Sizes) -> list[Tensor]:
        """RoIAligned features ``[N_i, C, h, w]`` of the given boxes ``[N_i, 4]`` of each frame."""
        return list(self.box_roi_pool(features, boxes, image_sizes).split([len(b) for b in boxes]))
