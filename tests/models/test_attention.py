"""Attention against plain float64 code written from the paper's equations, and the properties it must have."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from compfeat.models.attention import (
    DualAttention,
    PyramidAttention,
    SpatialAttention,
    SupportMemory,
    TemporalAttention,
    embed_levels,
)

CHANNELS = 8


def convolve(x, conv):
    """A convolution by loops over its window: ``[C, H, W]`` float64."""
    weight, bias = conv.weight.double(), conv.bias.double()
    size = weight.shape[-1]
    padded = F.pad(x, (size // 2,) * 4)
    out = bias[:, None, None].expand(-1, *x.shape[1:]).clone()
    for dy in range(size):
        for dx in range(size):
            out += torch.einsum(
                "oc,chw->ohw", weight[:, :, dy, dx], padded[:, dy : dy + x.shape[1], dx : dx + x.shape[2]]
            )
    return out


def plain_temporal(module, x, support, scale, pool=1):
    """Eq. 1 for one clip, position by position: x ``[C, h, w]``, support ``[T, C, H, W]``, both float64."""
    keys, values = [], []
    for frame in support:
        key, value = convolve(frame, module.key).clamp(min=0), convolve(frame, module.value).clamp(min=0)
        height, width = key.shape[1:]
        for y in range(0, height, pool):
            for z in range(0, width, pool):
                keys.append(key[:, y : y + pool, z : z + pool].mean((1, 2)))
                values.append(value[:, y : y + pool, z : z + pool].mean((1, 2)))
    query = convolve(x, module.query).clamp(min=0)
    context = torch.zeros_like(query)
    for i in range(query.shape[1]):
        for j in range(query.shape[2]):
            similar = torch.stack([scale * (key * query[:, i, j]).sum() for key in keys])
            weights = similar.exp() / similar.exp().sum()
            context[:, i, j] = sum(w * value for w, value in zip(weights, values, strict=True))
    return convolve(context, module.project).clamp(min=0)


def plain_spatial(module, x):
    """The global-context block for one map ``[C, h, w]`` float64."""
    first, norm, _, last = module.transform
    logits = (module.attention.weight.double()[0, :, 0, 0, None, None] * x).sum(0)
    weights = logits.exp() / logits.exp().sum()
    context = (weights * x).sum((1, 2))
    hidden = first.weight.double()[:, :, 0, 0] @ context + first.bias.double()
    hidden = (hidden - hidden.mean()) / torch.sqrt(hidden.var(unbiased=False) + norm.eps)
    hidden = (hidden * norm.weight.double().flatten() + norm.bias.double().flatten()).clamp(min=0)
    return last.weight.double()[:, :, 0, 0] @ hidden + last.bias.double()


def relative_error(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


def awake(module):
    """Fresh weights everywhere, also where a module starts at zero."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return module.requires_grad_(False)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("scale", [1.0, None])
def test_temporal_attention_is_equation_1(frames, scale):
    module = awake(TemporalAttention(CHANNELS, scale=scale))
    x, support = torch.randn(2, CHANNELS, 3, 5), torch.randn(2, frames, CHANNELS, 5, 7)
    found = module(x, support)
    factor = 1.0 if scale else 1 / math.sqrt(CHANNELS / 4)
    for i in range(2):
        assert relative_error(found[i], plain_temporal(module, x[i].double(), support[i].double(), factor)) < 1e-5


@pytest.mark.parametrize("pool", [2, 4])
def test_pooled_keys_and_values_are_means_also_at_the_border(pool):
    module = awake(TemporalAttention(CHANNELS))
    x, support = torch.randn(1, CHANNELS, 3, 5), torch.randn(1, 2, CHANNELS, 5, 7)
    found = module.attend(x, module.embed(support, pool))
    assert relative_error(found[0], plain_temporal(module, x[0].double(), support[0].double(), 1.0, pool)) < 1e-5


def test_spatial_attention_is_the_global_context_block():
    module = awake(SpatialAttention(CHANNELS, width=6))  # of two channels a layer norm leaves but the signs
    x = torch.randn(3, CHANNELS, 5, 7)
    found = module(x)
    assert found.shape == (3, CHANNELS, 1, 1)
    for i in range(3):
        assert relative_error(found[i, :, 0, 0], plain_spatial(module, x[i].double())) < 1e-5


def test_dual_attention_is_equation_2():
    module = awake(DualAttention(CHANNELS, width=6))
    x, support = torch.randn(1, CHANNELS, 5, 3), torch.randn(1, 2, CHANNELS, 3, 3)
    expected = plain_temporal(module.temporal, x[0].double(), support[0].double(), 1.0)
    expected = expected + plain_spatial(module.spatial, x[0].double())[:, None, None] + x[0].double()
    assert relative_error(module(x, support)[0], expected) < 1e-5


def test_both_halves_off_is_the_identity():
    x, support = torch.randn(2, CHANNELS, 5, 3), torch.randn(2, 2, CHANNELS, 3, 3)
    assert torch.equal(DualAttention(CHANNELS, temporal=False, spatial=False)(x, support), x)


def test_fresh_spatial_attention_leaves_features_as_they_are():
    x = torch.randn(2, CHANNELS, 5, 3)
    assert torch.equal(DualAttention(CHANNELS, temporal=False)(x, x[:, None]), x)


@pytest.mark.parametrize("channels", [64, 256])
def test_fresh_temporal_attention_is_heard_but_drowns_nothing(channels):
    x, support = torch.randn(2, channels, 5, 3), torch.randn(2, 2, channels, 3, 3)
    context = TemporalAttention(channels, width=64)(x, support)
    assert 0.1 < context.norm() / x.norm() < 1


def test_a_fresh_query_looks_at_what_is_like_it():
    module = TemporalAttention(256)
    support = torch.randn(20, 2, 256, 5, 7)
    looking = support[:, 1, :, 3:4, 4:5]  # one position of the second frame, clip by clip
    is_it = torch.zeros(20, 2 * 5 * 7, 1)
    is_it[:, 35 + 3 * 7 + 4] = 1
    share = module.gather(looking, SupportMemory(module.embed(support).key, is_it))
    assert share.mean() > 0.5  # 1 / 70 if it looked everywhere alike


def test_the_order_of_support_frames_does_not_matter():
    module = awake(DualAttention(CHANNELS))
    x, support = torch.randn(2, CHANNELS, 5, 3), torch.randn(2, 4, CHANNELS, 3, 5)
    torch.testing.assert_close(module(x, support), module(x, support[:, [2, 0, 3, 1]]))


def test_zero_support_with_zero_bias_gives_the_bias_of_the_projection():
    module = awake(TemporalAttention(CHANNELS))
    torch.nn.init.zeros_(module.key.bias)
    torch.nn.init.zeros_(module.value.bias)
    found = module(torch.randn(2, CHANNELS, 5, 3), torch.zeros(2, 3, CHANNELS, 4, 4))
    torch.testing.assert_close(found, module.project.bias.relu()[None, :, None, None].expand_as(found))


@pytest.mark.parametrize(("clips", "rois", "frames"), [(1, 1, 1), (2, 3, 2)])
def test_a_fused_kernel_computes_it_so_that_similarities_are_never_held(clips, rois, frames):
    module = TemporalAttention(CHANNELS)
    x, support = torch.randn(clips * rois, CHANNELS, 3, 5), torch.randn(clips, frames, CHANNELS, 5, 7)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # an error where the inputs do not allow it
        module(x, support).sum().backward()


def test_every_roi_of_a_clip_is_refined_as_if_alone():
    module = awake(DualAttention(CHANNELS))
    rois, support = torch.randn(6, CHANNELS, 3, 3), torch.randn(2, 2, CHANNELS, 5, 7)
    together = module(rois, support)  # three RoIs of each clip
    alone = torch.cat([module(rois[i : i + 1], support[i // 3 : i // 3 + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone)


def test_a_roi_that_is_the_whole_map_is_refined_as_the_frame_is():
    module = awake(DualAttention(CHANNELS))
    frame = torch.randn(1, CHANNELS, 7, 7)
    support = {level: torch.randn(1, 2, CHANNELS, 7, 7) for level in "12"}
    pyramid = PyramidAttention(module, {"1": 2, "2": 1})
    refined = pyramid(dict.fromkeys("123", frame), pyramid.embed(support))
    for level, pool in (("1", 2), ("2", 1)):
        torch.testing.assert_close(refined[level], module.refine(frame, module.embed(support[level], pool)))
    assert refined["3"] is frame  # not a level to refine


class Custom(DualAttention):
    def embed(self, support, pool=1):
        return support.shape[1], pool


def test_the_levels_are_embedded_as_the_attention_embeds():
    support = {level: torch.randn(1, 2, CHANNELS, 7, 7) for level in "23"}
    assert embed_levels(Custom(CHANNELS), support, {"2": 4, "3": 1}) == {"2": (2, 4), "3": (2, 1)}


def test_no_roi_is_no_trouble():
    module = DualAttention(CHANNELS)
    refined = module(torch.randn(0, CHANNELS, 7, 7), torch.randn(1, 2, CHANNELS, 5, 5))
    assert refined.shape == (0, CHANNELS, 7, 7)
    refined.sum().backward()
    assert all((p.grad == 0).all() for p in module.parameters())


def test_no_support_frame_is_one_clear_error():
    module = DualAttention(CHANNELS)
    with pytest.raises(ValueError, match="support frames"):
        module(torch.randn(1, CHANNELS, 3, 3), torch.randn(1, 0, CHANNELS, 3, 3))
    with pytest.raises(ValueError, match="support frames"):
        module.refine(torch.randn(1, CHANNELS, 3, 3), None)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_that_each_half_adds():
    inner = CHANNELS // 4
    embeddings = 2 * (CHANNELS * inner + inner) + 9 * CHANNELS * inner + inner
    assert count(TemporalAttention(CHANNELS)) == embeddings + inner * CHANNELS + CHANNELS
    expected = CHANNELS + (CHANNELS * inner + inner) + 2 * inner + (inner * CHANNELS + CHANNELS)
    assert count(SpatialAttention(CHANNELS)) == expected
    assert count(DualAttention(CHANNELS)) == count(TemporalAttention(CHANNELS)) + expected
    assert count(DualAttention(CHANNELS, temporal=False, spatial=False)) == 0
