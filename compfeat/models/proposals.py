"""torchvision's region proposals, with coordinates in float32 where all else is in mixed precision."""

from torch import Tensor, float32
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from compfeat.quantities import Channels, Count, Side


class Anchors(AnchorGenerator):
    """torchvision's anchors, float32: it gives them the type of the maps, and bfloat16 tells no pixel from the next one
    right of the 256th."""

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """The anchors ``[A, 4]`` of each frame; of the maps only sizes and device count."""
        return super().forward(image_list, [x.new_empty(x.shape[-2:], dtype=float32) for x in feature_maps])


class ProposalHead(RPNHead):
    """torchvision's head, whose logits and box deltas are float32: boxes are made of them."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """For each map ``[B, C, H, W]`` logits ``[B, A, H, W]`` and deltas ``[B, 4 A, H, W]`` of A anchors a cell."""
        logits, deltas = super().forward(x)
        return [level.float() for level in logits], [level.float() for level in deltas]


def region_proposals(
    channels: Channels, anchor_sizes: tuple[Side, Side, Side, Side, Side], sampled: Count, proposals: Count
) -> RegionProposalNetwork:
    """Region proposals with one anchor size a level, in three shapes.

    Args:
        channels: C of the pyramid maps.
        anchor_sizes: sides of the anchors of each level, in pixels.
        sampled: anchors of a frame that train it.
        proposals: boxes of a frame that are kept.
    """
    anchors = Anchors(tuple((size,) for size in anchor_sizes), ((0.5, 1.0, 2.0),) * len(anchor_sizes))
    return RegionProposalNetwork(
        anchors,
        ProposalHead(channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=sampled,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 10 * proposals, "testing": 5 * proposals},
        post_nms_top_n={"training": proposals, "testing": proposals},
        nms_thresh=0.7,
    )
