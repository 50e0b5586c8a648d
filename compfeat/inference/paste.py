"""From the mask probabilities inside boxes to the masks of a frame."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks

from compfeat.masks import encode_inside
from compfeat.structures import RLE

THRESHOLD = 0.5


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> list[RLE]:
    """The masks of a frame, equal to the last bit to those of torchvision's ``paste_masks_in_image``.

    That one fills a frame for every object. Here nothing outside a box is touched, so the time depends on the sizes of
    the boxes, hardly on that of the frame.

    Args:
        masks: probabilities inside each box, float32 ``[N, 1, m, m]`` on the CPU.
        boxes: ``[N, 4]`` float32, (x1, y1, x2, y2) in pixels of the frame; they may reach out of it.
        size: (height, width) of the frame.

    Returns:
        N masks of the pixels that are likelier than not on the object. That of a box wholly outside is empty, where
        torchvision mostly fails.
    """
    padded, scale = expand_masks(masks, padding=1)  # so that the resampling has something to fade to at the rim
    corners = expand_boxes(boxes, scale).long().tolist()
    return [_paste(mask, box, size) for mask, box in zip(padded, corners, strict=True)]


def _paste(mask: Tensor, box: tuple[int, int, int, int], size: tuple[int, int]) -> RLE:
    left, top, right, bottom = box[0], box[1], box[2] + 1, box[3] + 1
    # The whole box, of which the frame may see a part: torch's resampling rounds differently at other sizes.
    sides = (max(bottom - top, 1), max(right - left, 1))
    resized = F.interpolate(mask[None], sides, mode="bilinear", align_corners=False)[0, 0].numpy()
    x1, x2 = (min(max(edge, 0), size[1]) for edge in (left, right))
    y1, y2 = (min(max(edge, 0), size[0]) for edge in (top, bottom))
    seen = resized[y1 - top : y2 - top, x1 - left : x2 - left]
    return encode_inside(np.greater(seen, THRESHOLD), (x1, y1), size)
