"""What attention knows of an object's outline in a frame that hides a part of it."""

from collections.abc import Sequence

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from compfeat.experiments.probes.clips import HeldOut, Maps, by_clear
from compfeat.inference.paste import paste
from compfeat.models.detector import CompFeat
from compfeat.models.labels import SoftLabels
from compfeat.structures import ClipBatch


class MaskProbe:
    """Masks detected in degraded frames, by the number of clear frames among the four support frames.

    What is trained is the attention and the heads that read it, on what the frozen network proposes. Measured is the
    IoU of every true mask of 100 pixels or more with the detected one that is most like it, of ten that are objects
    with a probability of 0.05 or more; 0 where there is none.
    """

    degraded = True
    smallest = 100  # pixels

    def trained(self, detector: CompFeat) -> list[nn.Module]:
        heads = detector.roi_heads
        parts = [detector.frame_attention, heads.object_attention, heads.box_head, heads.box_predictor]
        return [part for part in [*parts, heads.mask_head, heads.mask_predictor] if part is not None]

    def losses(self, detector: CompFeat, maps: Maps, batch: ClipBatch, generator: torch.Generator) -> dict[str, Tensor]:
        memory = detector.remember(maps.support)
        frames = detector.aggregate(maps.current, memory)
        with torch.no_grad():
            proposals, _ = detector.rpn(ImageList(frames.images, frames.image_sizes), frames.maps)
        return detector.roi_heads.losses(frames.maps, proposals, batch.targets, memory.objects)[1]

    @torch.no_grad()
    def measure(self, detector: CompFeat, held_out: Sequence[tuple[HeldOut, Maps]]) -> dict[str, float]:
        measured: list[tuple[int, list[float]]] = []
        for clips, maps in held_out:
            detected = detector.detect(maps.current, detector.remember(maps.support), SoftLabels())
            for clear, target, size, of_frame in zip(
                clips.clear.tolist(), clips.batch.targets, clips.batch.image_sizes, detected, strict=True
            ):
                masks = paste(of_frame.masks.float(), of_frame.boxes.float(), size)
                measured.append((clear, self._overlaps(target["masks"][:, : size[0], : size[1]], masks)))
        return by_clear(measured)

    def _overlaps(self, true: Tensor, detected: Sequence[dict]) -> list[float]:
        truth = [rle.encode(np.asfortranarray(mask)) for mask in true.numpy() if mask.sum() >= self.smallest]
        if not truth or not detected:
            return [0.0] * len(truth)
        return rle.iou(detected, truth, [0] * len(truth)).max(0).tolist()
