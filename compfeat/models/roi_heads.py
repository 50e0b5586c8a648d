"""torchvision's RoI heads on features refined at object level; they also hand out what objects are matched by."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_inference, maskrcnn_loss
from torchvision.ops import MultiScaleRoIAlign

from compfeat.models.attention import DualAttention, Features, SupportMemories, SupportMemory
from compfeat.models.labels import Labels
from compfeat.structures import Detections, FrameTarget

PYRAMID = ("0", "1", "2", "3")  # P2 to P5, from which RoIs are pooled
FINEST_STRIDE = 4  # of P2, in pixels
FRAME_STRIDE = 8  # of `frame_maps`, in pixels: that of P3
Sizes = list[tuple[int, int]]


@dataclass(frozen=True)
class SampledObjects:
    """The positive RoIs of a training frame: features ``[N, C, h, w]``, boxes ``[N, 4]``, identities ``[N]`` int64."""

    features: Tensor
    boxes: Tensor
    identities: Tensor


class RoIPooling(MultiScaleRoIAlign):
    """torchvision's RoIAlign from the pyramid level that fits a box, to ``size x size`` cells.

    torchvision guesses the strides of the levels from the first frames it sees, as they were before padding; here they
    are told by the maps alone.
    """

    def __init__(self, size: int) -> None:
        super().__init__(list(PYRAMID), output_size=size, sampling_ratio=2)

    def forward(self, features: Features, boxes: list[Tensor]) -> Tensor:  # type: ignore[override]
        """Of pyramid maps ``[B, C, H, W]`` and for each frame boxes ``[P_i, 4]``: features ``[P, C, size, size]``."""
        height, width = features[PYRAMID[0]].shape[-2:]
        return super().forward(features, boxes, [(FINEST_STRIDE * height, FINEST_STRIDE * width)])


class CompFeatRoIHeads(RoIHeads):
    """Box and mask heads on RoIAligned features, refined by dual attention where it is given (paper, "Attention Module
    on Object Level").

    A RoI looks at the support features of the pyramid level it was pooled from: those of another level are of another
    kind, and say nothing to it.

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
        targets: list[FrameTarget],
        memory: SupportMemories,
    ) -> tuple[list[SampledObjects], dict[str, Tensor]]:
        """Samples RoIs from the proposals of B frames and trains the box and mask heads on them.

        Args:
            features: pyramid maps ``[B, C, H, W]`` by level.
            proposals: for each frame boxes ``[P_i, 4]``.
            targets: the objects of each frame; may be empty.
            memory: what object attention knows of the support frames of each frame, by level; empty where it is off.

        Returns:
            the positive RoIs of each frame, and ``loss_classifier``, ``loss_box_reg``, ``loss_mask``.
        """
        features = poolable(features)
        proposals, matched, labels, regression = self.select_training_samples(proposals, targets)
        roi_features = self._pool(self.box_roi_pool, features, proposals, memory)
        class_logits, box_regression = self._predict(roi_features)
        loss_classifier, loss_box_reg = fastrcnn_loss(class_logits, box_regression, labels, regression)

        positive = [torch.where(label > 0)[0] for label in labels]
        matched = [m[p] for m, p in zip(matched, positive, strict=True)]
        boxes = [box[p] for box, p in zip(proposals, positive, strict=True)]
        mask_logits = self._mask_logits(features, boxes, memory)
        loss_mask = maskrcnn_loss(
            mask_logits, boxes, [t["masks"] for t in targets], [t["labels"] for t in targets], matched
        )

        objects = [
            SampledObjects(f[p], b, t["track_ids"][m])
            for f, p, b, t, m in zip(roi_features, positive, boxes, targets, matched, strict=True)
        ]
        return objects, {"loss_classifier": loss_classifier, "loss_box_reg": loss_box_reg, "loss_mask": loss_mask}

    def detect(
        self,
        features: Features,
        proposals: list[Tensor],
        image_sizes: Sizes,
        memory: SupportMemories,
        labels: Labels,
    ) -> list[Detections]:
        """The objects of each of B frames.

        Args:
            features, proposals, memory: as in ``losses``.
            image_sizes: (height, width) of each frame before padding, to which boxes are clipped.
            labels: chooses among the boxes of a frame.
        """
        frames = frame_maps(features)
        features = poolable(features)
        roi_features = self._pool(self.box_roi_pool, features, proposals, memory)
        class_logits, box_regression = self._predict(roi_features)
        counts = [len(p) for p in proposals]
        decoded = self.box_coder.decode(box_regression, proposals)
        decoded = decoded.reshape(*class_logits.shape, 4)[:, 1:].split(counts)  # without the background's
        probabilities = class_logits.softmax(1)[:, 1:].split(counts)
        boxes, classes = map(list, zip(*map(labels, decoded, probabilities, image_sizes), strict=True))
        mask_logits = self._mask_logits(features, boxes, memory)
        masks = maskrcnn_inference(mask_logits, [c.argmax(1) + 1 for c in classes])
        objects = self.object_features(features, boxes, memory)
        return [Detections(*parts) for parts in zip(boxes, classes, masks, objects, frames, strict=True)]

    def object_features(self, features: Features, boxes: list[Tensor], memory: SupportMemories) -> list[Tensor]:
        """Refined RoIAligned features ``[N_i, C, h, w]`` of the given boxes ``[N_i, 4]`` of each frame."""
        return self._pool(self.box_roi_pool, poolable(features), boxes, memory)

    def _predict(self, roi_features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits and box deltas, float32 in mixed precision too: a coordinate needs more than eight bits."""
        class_logits, box_regression = self.box_predictor(self.box_head(torch.cat(roi_features)))
        return class_logits.float(), box_regression.float()

    def _mask_logits(self, features: Features, boxes: list[Tensor], memory: SupportMemories) -> Tensor:
        rois = torch.cat(self._pool(self.mask_roi_pool, features, boxes, memory))
        return self.mask_predictor(self.mask_head(rois)).float()

    def _pool(self, pool: RoIPooling, features: Features, boxes: list[Tensor], memory: SupportMemories) -> list[Tensor]:
        rois = pool(features, boxes)
        counts = [len(b) for b in boxes]
        if self.object_attention is not None and len(rois):
            rois = self._refine(self.object_attention, rois, pool.map_levels([torch.cat(boxes)]), counts, memory)
        return list(rois.split(counts))

    def _refine(
        self, attention: DualAttention, rois: Tensor, levels: Tensor, counts: list[int], memory: SupportMemories
    ) -> Tensor:
        """Object attention, level by level; ``counts`` are the RoIs of each frame."""
        order = levels.argsort(stable=True)  # by level, in each by frame
        levels = levels.cpu()  # the one wait for a GPU
        of_frames = torch.stack([part.bincount(minlength=len(PYRAMID)) for part in levels.split(counts)], 1).tolist()
        refined = torch.empty_like(rois)
        for level, here, of in zip(PYRAMID, order.split([*map(sum, of_frames)]), of_frames, strict=True):
            if len(here):
                refined[here] = refine_rois(attention, rois[here], of, memory.get(level))
        return refined


def refine_rois(attention: DualAttention, rois: Tensor, counts: list[int], memory: SupportMemory | None) -> Tensor:
    """Attention on RoIs ``[P, C, h, w]``, so many of each clip, in one call, each in the memory of its own clip."""
    if memory is None or len(memory.key) == 1:  # frames of one video share their support frames
        return attention.refine(rois, memory)
    padded = pad_sequence(rois.split(counts), batch_first=True)  # each clip with as many RoIs
    refined = attention.refine(padded.flatten(0, 1), memory).unflatten(0, padded.shape[:2])
    return torch.cat([x[:count] for x, count in zip(refined, counts, strict=True)])


def poolable(features: Features) -> Features:
    """Pyramid maps as RoIAlign takes them, float32 in torch's own memory format: made so once, not by every pooling."""
    return {level: features[level].float().contiguous() for level in PYRAMID}


def frame_maps(features: Features) -> Tensor:
    """One map ``[B, C, H, W]`` of each frame, the mean of its pyramid maps, in which objects are looked for.

    An object is pooled from the level that fits its size; the map holds what all of them are compared with.
    """
    size = features["1"].shape[-2:]
    return torch.stack([F.interpolate(features[level], size, mode="area") for level in PYRAMID]).mean(0)
