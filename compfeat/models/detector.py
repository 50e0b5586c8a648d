"""The whole network: Mask R-CNN (He et al. 2017) on frames of a clip, and a head that matches objects between them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign

from compfeat.models.roi_heads import CompFeatRoIHeads, Features, Sizes
from compfeat.models.track_heads import TrackHead, match_loss, match_targets
from compfeat.structures import ClipBatch, Detections

PYRAMID = ["0", "1", "2", "3"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class CompFeat(nn.Module):
    """Detects, segments and matches the objects of video frames.

    The parts and their parameter names are those of torchvision's ``MaskRCNN``, so that its weights load as they are.
    Defaults are MaskTrack R-CNN's (Yang et al. 2019), on which the paper is built.

    Args:
        backbone: from images ``[B, 3, H, W]`` to pyramid maps with ``out_channels`` channels.
        num_classes: classes of the data set, without background.
        track_head: scores detected against remembered objects.
        anchor_sizes: side of the anchors in pixels, one for each of the five pyramid levels.
        rpn_batch_size: anchors sampled per frame for the proposal loss, half of them positive.
        proposals: proposals kept per frame.
        roi_batch_size: RoIs sampled per frame for the box loss, a quarter of them positive.
        box_channels: width of the two layers of the box head.
        mask_channels: channels of the four convolutions of the mask head.
        score_threshold: detections below this score are dropped.
        nms_threshold: IoU over which the weaker of two boxes of one class is dropped.
        detections: detections kept per frame.
    """

    def __init__(
        self,
        backbone: BackboneWithFPN,
        num_classes: int,
        track_head: TrackHead,
        anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512),
        rpn_batch_size: int = 64,
        proposals: int = 200,
        roi_batch_size: int = 128,
        box_channels: int = 1024,
        mask_channels: int = 256,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        detections: int = 10,
    ) -> None:
        super().__init__()
        channels = backbone.out_channels
        anchors = AnchorGenerator(tuple((size,) for size in anchor_sizes), ((0.5, 1.0, 2.0),) * len(anchor_sizes))
        self.backbone = backbone
        self.rpn = RegionProposalNetwork(
            anchors,
            RPNHead(channels, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=rpn_batch_size,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 10 * proposals, "testing": 5 * proposals},
            post_nms_top_n={"training": proposals, "testing": proposals},
            nms_thresh=0.7,
        )
        self.roi_heads = CompFeatRoIHeads(
            box_roi_pool=MultiScaleRoIAlign(PYRAMID, output_size=7, sampling_ratio=2),
            box_head=TwoMLPHead(channels * 7 * 7, box_channels),
            box_predictor=FastRCNNPredictor(box_channels, num_classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=roi_batch_size,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=score_threshold,
            nms_thresh=nms_threshold,
            detections_per_img=detections,
            mask_roi_pool=MultiScaleRoIAlign(PYRAMID, output_size=14, sampling_ratio=2),
            mask_head=MaskRCNNHeads(channels, [mask_channels] * 4, dilation=1),
            mask_predictor=MaskRCNNPredictor(mask_channels, mask_channels, num_classes + 1),
        )
        self.track_head = track_head
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, batch: ClipBatch) -> dict[str, Tensor]:
        """The losses of B clips.

        Returns:
            scalars ``loss_objectness``, ``loss_rpn_box_reg`` (proposals), ``loss_classifier``, ``loss_box_reg``,
            ``loss_mask`` (current frame), ``loss_track`` (current against reference frame), and ``match_accuracy``,
            the share of the sampled objects that would be matched rightly (NaN if there are none).
        """
        sizes, targets, references = batch.image_sizes, batch.targets, batch.reference_targets
        images = self.normalize(torch.cat([batch.current, batch.reference]), sizes * 2)
        maps = self.backbone(images)
        current = {level: x[: len(batch)] for level, x in maps.items()}
        reference = {level: x[len(batch) :] for level, x in maps.items()}

        proposals, rpn_losses = self.rpn(ImageList(images[: len(batch)], sizes), current, targets)
        objects, roi_losses = self.roi_heads.losses(current, proposals, sizes, targets)
        remembered = self.roi_heads.object_features(reference, [r["boxes"] for r in references], sizes)

        scores = self.track_head([o.features for o in objects], remembered)
        columns = [match_targets(o.identities, r["track_ids"]) for o, r in zip(objects, references, strict=True)]
        loss_track, accuracy = match_loss(scores, columns)
        return {**rpn_losses, **roi_losses, "loss_track": loss_track, "match_accuracy": accuracy}

    def detect(self, images: Tensor, image_sizes: Sizes) -> list[Detections]:
        """The objects of B frames, each by itself.

        Args:
            images: ``[B, 3, H, W]``, padded as in ``ClipBatch``; uint8, or float in [0, 1].
            image_sizes: (height, width) of each frame before padding.
        """
        images = self.normalize(images, image_sizes)
        maps: Features = self.backbone(images)
        proposals, _ = self.rpn(ImageList(images, image_sizes), maps)
        return self.roi_heads.detect(maps, proposals, image_sizes)

    def match(self, detections: Detections, memory: Tensor) -> Tensor:
        """Scores the N objects of one frame against K remembered ones.

        ``memory [K, C, h, w]`` holds their ``Detections.features``. Returns ``[N, K + 1]``; column 0, "a new object",
        is zero.
        """
        return self.track_head([detections.features], [memory])[0]

    def normalize(self, images: Tensor, image_sizes: Sizes) -> Tensor:
        """ImageNet statistics on the frames, zero on their padding, as torchvision has it."""
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        images = (images - self.mean) / self.std
        for image, (height, width) in zip(images, image_sizes, strict=True):
            image[:, height:] = 0
            image[:, :, width:] = 0
        return images
