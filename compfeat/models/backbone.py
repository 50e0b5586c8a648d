"""ResNet with a feature pyramid (He et al. 2016, Lin et al. 2017), pretrained or from scratch."""

from functools import partial
from typing import Literal

from torch import nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from compfeat.quantities import Channels, Layers

BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


def resnet_fpn(
    block: Literal["basic", "bottleneck"],
    layers: tuple[Layers, Layers, Layers, Layers],
    out_channels: Channels,
    frozen: bool,
    norm: Literal["group", "batch"] = "group",
) -> BackboneWithFPN:
    """A ResNet and its pyramid P2..P5 plus the pooled P6, with torchvision's parameter names.

    Args:
        block: residual block, ``basic`` (two 3x3 convs) or ``bottleneck``.
        layers: blocks in each of the four stages; ``[3, 4, 6, 3]`` with ``bottleneck`` is ResNet-50.
        out_channels: channels C of every pyramid level.
        frozen: True for pretrained weights: batch norm frozen everywhere, stem and first stage not trained (MaskTrack
            R-CNN's recipe). False to train from scratch: ``norm`` and everything trained, since frozen statistics of
            random weights normalise nothing.
        norm: group norm for any batch; batch norm learns in fewer steps where a step has several frames.

    Returns:
        a module from images ``[B, 3, H, W]`` to a dict of maps ``[B, C, H / s, W / s]``, s = 4, 8, 16, 32, 64 under
        the keys ``"0".."3"`` and ``"pool"``.
    """
    norm_layer = FrozenBatchNorm2d if frozen else {"group": partial(nn.GroupNorm, 16), "batch": nn.BatchNorm2d}[norm]
    body = ResNet(BLOCKS[block], list(layers), norm_layer=norm_layer)
    if frozen:
        for stage in (body.conv1, body.layer1):
            stage.requires_grad_(False)
    return BackboneWithFPN(
        body,
        return_layers={f"layer{i + 1}": str(i) for i in range(4)},
        in_channels_list=[width * BLOCKS[block].expansion for width in (64, 128, 256, 512)],
        out_channels=out_channels,
        extra_blocks=LastLevelMaxPool(),
    )
