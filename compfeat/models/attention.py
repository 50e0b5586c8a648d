"""Dual attention (paper, "Temporal Attention Module" to "Attention Module on Object Level"; Fig. 3, Eq. 1 and 2)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from compfeat.quantities import Channels, Positive

Features = dict[str, Tensor]  # pyramid maps [B, C, H, W] by level


class SupportMemory(NamedTuple):
    """What the support frames of B clips say: keys and values ``[B, S, width]`` of their S = T x H x W positions."""

    key: Tensor
    value: Tensor


SupportMemories = Mapping[str, SupportMemory | None]  # by level; None where temporal attention is off


class TemporalAttention(nn.Module):
    """Every position of the current frame gathers context from all positions of all support frames (Eq. 1, Fig. 3a).

    ``F_TA(x, S) = relu(project(softmax(scale * Q K^T) V))`` with ``Q = relu(query(x))``, ``K = relu(key(S))``,
    ``V = relu(value(S))``; the residual is added by `DualAttention`. Memory is linear in the support positions. Frames
    are taken with their padding, whose features are those of a constant image. The values come from a 3x3 convolution
    (the paper leaves its size open), so that a position brings its neighbourhood along: what tells an object's class is
    often a pattern. It runs on support frames only, once for a video.

    Args:
        channels: C of the features.
        width: of queries, keys and values; None is C / 4.
        scale: of the similarities; 1 is the paper's, None is ``width ** -0.5``.
    """

    def __init__(self, channels: Channels, width: Channels | None = None, scale: Positive | None = 1.0) -> None:
        super().__init__()
        inner = width or channels // 4
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.query.load_state_dict(self.key.state_dict())  # so that a position first looks at what is like it
        self.value = nn.Conv2d(channels, inner, 3, padding=1)
        self.project = nn.Conv2d(inner, channels, 1)
        # Not small, as what joins pretrained features often is: of a whisper, outlines are learned late or never.
        nn.init.kaiming_normal_(self.project.weight, nonlinearity="relu")
        nn.init.zeros_(self.project.get_parameter("bias"))
        self.scale = scale

    def forward(self, x: Tensor, support: Tensor) -> Tensor:
        """The context F_TA of features ``x [B * n, C, h, w]``, n of each clip, in ``support [B, T, C, H, W]``.

        n is 1 at frame level and the number of RoIs at object level; the result has the shape of ``x``.
        """
        return self.attend(x, self.embed(support))

    def embed(self, support: Tensor, pool: int = 1) -> SupportMemory:
        """Keys and values of support maps ``[B, T, C, H, W]``, averaged over ``pool x pool`` positions.

        Raises:
            ValueError: T is 0.
        """
        if support.shape[1] == 0:
            raise ValueError("temporal attention needs support frames, but there are none: data.sampler.support_frames")
        frames = support.flatten(0, 1)

        def positions(conv: nn.Conv2d) -> Tensor:
            x = conv(frames).relu_()
            x = F.avg_pool2d(x, pool, ceil_mode=True) if pool > 1 else x
            return x.unflatten(0, support.shape[:2]).permute(0, 1, 3, 4, 2).contiguous().flatten(1, 3)

        return SupportMemory(positions(self.key), positions(self.value))

    def attend(self, x: Tensor, memory: SupportMemory) -> Tensor:
        """As ``forward``, with support frames embedded before."""
        return self.project(self.gather(x, memory)).relu_()

    def gather(self, x: Tensor, memory: SupportMemory) -> Tensor:
        """The values of the support positions, weighted by attention: ``[B * n, V, h, w]`` where they have V channels.

        With values that are 1 inside an object and 0 elsewhere, the share of the attention that falls on it.
        """
        clips, (height, width) = len(memory.key), x.shape[-2:]
        query = self.query(x).relu_().permute(0, 2, 3, 1).contiguous()  # [B * n, h, w, width], as fused kernels want it
        flat = query.view(clips, len(x) // clips * height * width, query.shape[-1])
        context = F.scaled_dot_product_attention(  # of one head
            flat[:, None], memory.key[:, None], memory.value[:, None], scale=self.scale
        )
        return context.reshape(*query.shape[:3], context.shape[-1]).permute(0, 3, 1, 2)


class SpatialAttention(nn.Module):
    """The global context of one frame or RoI, the same for all of its positions (Fig. 3b; Cao et al. 2019).

    The last convolution starts at zero, so that pretrained features start unchanged.

    Args:
        channels: C of the features.
        width: of the layer that the context passes through; None is C / 4.
    """

    def __init__(self, channels: Channels, width: Channels | None = None) -> None:
        super().__init__()
        inner = width or channels // 4
        self.attention = nn.Conv2d(channels, 1, 1, bias=False)  # a bias would cancel in the softmax
        last = nn.Conv2d(inner, channels, 1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.transform = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.LayerNorm([inner, 1, 1]), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """The context F_SA ``[B, C, 1, 1]`` of features ``x [B, C, h, w]``."""
        weights = self.attention(x).flatten(2).softmax(-1)  # [B, 1, h * w]
        context = (x.flatten(2) @ weights.mT)[..., None]
        return self.transform(context)


class DualAttention(nn.Module):
    """``f_agg = F_TA(f_C, f_S) + F_SA(f_C) + f_C`` (Eq. 2); with both halves off it is the identity.

    Args:
        channels: C of the features.
        width: of both halves; None is C / 4.
        temporal, spatial: which halves are on.
        scale: of the similarities of temporal attention.
    """

    def __init__(
        self,
        channels: Channels,
        width: Channels | None = None,
        temporal: bool = True,
        spatial: bool = True,
        scale: Positive | None = 1.0,
    ) -> None:
        super().__init__()
        self.temporal = TemporalAttention(channels, width, scale) if temporal else None
        self.spatial = SpatialAttention(channels, width) if spatial else None

    def forward(self, x: Tensor, support: Tensor) -> Tensor:
        """Refines ``x [B * n, C, h, w]``, n of each clip, by ``support [B, T, C, H, W]``."""
        return self.refine(x, self.embed(support))

    def embed(self, support: Tensor, pool: int = 1) -> SupportMemory | None:
        """What temporal attention remembers of the support frames; None if it is off."""
        return None if self.temporal is None else self.temporal.embed(support, pool)

    def refine(self, x: Tensor, memory: SupportMemory | None) -> Tensor:
        """As ``forward``, with support frames embedded before."""
        refined = x
        if self.temporal is not None:
            if memory is None:
                raise ValueError("temporal attention needs support frames")
            refined = refined + self.temporal.attend(x, memory)
        if self.spatial is not None:
            refined = refined + self.spatial(x)
        return refined


class PyramidAttention(nn.Module):
    """Frame level: one `DualAttention` for several pyramid levels, each against the same level of the support frames.

    Args:
        attention: shared by the levels.
        pooling: the levels that are refined, and by how much the support keys and values of each are pooled: the finest
            level has most of the positions, and pooling keeps the cost of all levels alike.
    """

    def __init__(self, attention: DualAttention, pooling: Mapping[str, int]) -> None:
        super().__init__()
        self.attention = attention
        self.pooling = dict(pooling)

    def forward(self, maps: Features, memory: SupportMemories) -> Features:
        """Pyramid maps ``[B * n, C, H, W]`` with the chosen levels refined; the others are passed on."""
        return maps | {level: self.attention.refine(maps[level], memory.get(level)) for level in self.pooling}

    def embed(self, support: Features) -> SupportMemories:
        """What attention remembers of support maps, as ``embed_levels`` has it."""
        return embed_levels(self.attention, support, self.pooling)


def embed_levels(attention: DualAttention, support: Features, pooling: Mapping[str, int]) -> SupportMemories:
    """What attention remembers of support maps ``[B, T, C, H, W]``, by level; nothing where there are none.

    ``pooling`` names the levels, and by how much the keys and values of each are pooled.
    """
    return {level: attention.embed(support[level], pool) for level, pool in pooling.items() if level in support}
