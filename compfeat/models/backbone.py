"""ResNet with a feature pyramid (He et al. 2016, Lin et al. 2017), pretrained or from scratch."""

from functools import partial
from typing import Literal

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from compfeat.quantities import Channels, Layers

BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}
NORMED = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))  # in a ResNet, its blocks, its downsampling


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


def fold_norms(body: nn.Module) -> None:
    """Multiplies the batch norms of a ResNet into the convolutions before them: fewer passes over the maps, for
    inference only. Norms whose statistics depend on the frame (group norm) stay."""
    for block in body.modules():
        for conv_name, norm_name in NORMED:
            conv, norm = getattr(block, conv_name, None), getattr(block, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    *(conv.weight, conv.bias),
                    *(norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias),  # type: ignore[arg-type]
                )
                setattr(block, norm_name, nn.Identity())
