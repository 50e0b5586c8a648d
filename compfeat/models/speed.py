"""A trained network in a form for inference: the same function, in less time."""

from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

NORMED = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))  # in a ResNet, its blocks, its downsampling
LEAST_CHANNELS, LEAST_POSITIONS = 128, 500  # from which on Winograd's way takes less time, measured


def speed_up(network: nn.Module, bf16: bool) -> None:
    """Changes a network, on the device and in the mode in which it will run, so that it can no longer be trained.

    Batch norms become part of the convolutions before them. For mixed precision, the weights that it would cast in
    every pass are cast now. On a CPU in float32 large 3x3 convolutions are done by Winograd's minimal filtering, which
    has less than half the multiplications; it rounds otherwise, in the fifth digit.
    """
    fold_norms(network)
    on_cpu = next(network.parameters()).device.type == "cpu"
    if bf16:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)
    elif on_cpu and torch.backends.nnpack.is_available():
        network.to(memory_format=torch.contiguous_format)
        for module in list(network.modules()):
            for name, child in module.named_children():
                if _suits_winograd(child):
                    setattr(module, name, WinogradConv2d(child))


def fold_norms(network: nn.Module) -> None:
    """Multiplies the batch norms of ResNets into the convolutions before them: fewer passes over the maps.

    Norms whose statistics depend on the frame (group norm) stay.
    """
    for block in network.modules():
        for conv_name, norm_name in NORMED:
            conv, norm = getattr(block, conv_name, None), getattr(block, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    *(conv.weight, conv.bias),
                    *(norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias),  # type: ignore[arg-type]
                )
                setattr(block, norm_name, nn.Identity())


class WinogradConv2d(nn.Module):
    """A 3x3 convolution of stride 1 by Winograd's minimal filtering (Lavin and Gray 2016), that of torch's NNPACK.

    Args:
        conv: has the weights.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[B, C, H, W]``, padded by one, to maps of the same size; small ones in the usual way."""
        if x.shape[-2:].numel() < LEAST_POSITIONS:
            return F.conv2d(x, self.weight, self.bias, padding=1)
        frames = x.contiguous().split(1)  # of several at once NNPACK takes another way, a slow one
        return torch.cat([torch._nnpack_spatial_convolution(frame, self.weight, self.bias, 1) for frame in frames])


def _suits_winograd(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        isinstance(module, nn.Conv2d)
        and (module.kernel_size, module.stride, module.padding, module.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and module.groups == 1
        and module.in_channels >= LEAST_CHANNELS
    )
