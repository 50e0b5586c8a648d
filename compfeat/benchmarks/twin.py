"""What CompFeat is measured against: torchvision's Mask R-CNN with the same parts."""

from copy import deepcopy

import torch
from torchvision.models.detection import MaskRCNN

from compfeat.models.detector import CompFeat
from compfeat.quantities import Count, Side


def torchvision_twin(detector: CompFeat, size: tuple[Side, Side], detections: Count = 10) -> MaskRCNN:
    """torchvision's Mask R-CNN with the backbone, heads and limits of a detector, in torch's own memory format.

    Args:
        detector: its parts are copied; on its device.
        size: (width, height) of the frames, which are not resized.
        detections: of a frame.
    """
    parts = deepcopy(detector)
    rpn, heads = parts.rpn, parts.roi_heads
    twin = MaskRCNN(
        parts.backbone,
        min_size=size[1],
        max_size=size[0],
        rpn_anchor_generator=rpn.anchor_generator,
        rpn_head=rpn.head,
        rpn_pre_nms_top_n_train=rpn._pre_nms_top_n["training"],
        rpn_pre_nms_top_n_test=rpn._pre_nms_top_n["testing"],
        rpn_post_nms_top_n_train=rpn._post_nms_top_n["training"],
        rpn_post_nms_top_n_test=rpn._post_nms_top_n["testing"],
        rpn_batch_size_per_image=rpn.fg_bg_sampler.batch_size_per_image,
        box_head=heads.box_head,
        box_predictor=heads.box_predictor,
        box_batch_size_per_image=heads.fg_bg_sampler.batch_size_per_image,
        mask_head=heads.mask_head,
        mask_predictor=heads.mask_predictor,
        box_detections_per_img=detections,
    )
    return twin.to(memory_format=torch.contiguous_format)
