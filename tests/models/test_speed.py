from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from compfeat.inference.predictor import VideoPredictor
from compfeat.inference.support import SupportBank
from compfeat.inference.tracker import OnlineTracker
from compfeat.models.attention import DualAttention
from compfeat.models.backbone import resnet_fpn
from compfeat.models.detector import CompFeat
from compfeat.models.labels import SoftLabels
from compfeat.models.speed import LEAST_CHANNELS, LEAST_POSITIONS, WinogradConv2d, fold_norms, speed_up
from compfeat.models.track_heads import CorrelationTrackHead
from compfeat.structures import Category

WIDE = LEAST_CHANNELS  # of a pyramid whose convolutions suit Winograd's way
SIZE = (200, 160)  # width and height of frames whose P2 has enough positions


@pytest.fixture(scope="module")
def detector():
    """A network whose norms have seen something, and which is sure of some objects."""
    torch.manual_seed(0)
    dual = [DualAttention(WIDE), DualAttention(WIDE)]
    backbone = resnet_fpn("basic", [1, 1, 1, 1], WIDE, frozen=False, norm="batch")
    model = CompFeat(backbone, 3, CorrelationTrackHead(WIDE), *dual, box_channels=64, mask_channels=32, proposals=50)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    model.roi_heads.box_predictor.cls_score.bias.data[1] = 2.0
    return model.eval()


def tubes(detector, bf16=False):
    categories = [Category(i, str(i)) for i in (1, 2, 3)]
    predictor = VideoPredictor(detector, OnlineTracker(), categories, SupportBank(), SoftLabels(), size=SIZE, bf16=bf16)
    rng = np.random.default_rng(0)
    return predictor.predict([rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8) for _ in range(5)])


@pytest.mark.parametrize(("frozen", "norm", "folded"), [(True, "group", 17), (False, "batch", 17), (False, "group", 0)])
def test_folded_norms_leave_the_maps_as_they_are(frozen, norm, folded):
    torch.manual_seed(0)
    backbone = resnet_fpn("bottleneck", [1, 1, 1, 1], 16, frozen, norm).eval()
    for module in backbone.modules():
        if getattr(module, "running_var", None) is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        before = backbone(images)
        fold_norms(backbone)
        torch.testing.assert_close(backbone(images), before, atol=1e-5, rtol=1e-5)
    assert sum(isinstance(module, nn.Identity) for module in backbone.modules()) == folded


@pytest.mark.skipif(not torch.backends.nnpack.is_available(), reason="this processor has no NNPACK")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("side", [8, 40])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_winograd_convolves_as_torch_does(count, side, memory_format):
    torch.manual_seed(0)
    conv = nn.Conv2d(WIDE, 24, 3, padding=1)
    x = torch.randn(count, WIDE, side, side).to(memory_format=memory_format)
    assert (side * side >= LEAST_POSITIONS) == (side == 40)
    with torch.inference_mode():
        torch.testing.assert_close(WinogradConv2d(conv)(x), conv(x), atol=1e-4, rtol=1e-4)


def test_what_is_found_stays_the_same(detector):
    fast = deepcopy(detector)
    speed_up(fast, bf16=False)
    if torch.backends.nnpack.is_available():
        assert isinstance(fast.rpn.head.conv[0][0], WinogradConv2d)
    before, after = tubes(detector), tubes(fast)
    assert len(before) > 1 and [tube.score for tube in before] == sorted((t.score for t in before), reverse=True)
    assert [tube.track_id for tube in after] == [tube.track_id for tube in before]
    for one, other in zip(before, after, strict=True):
        assert other.frames == one.frames
        torch.testing.assert_close(torch.tensor(other.boxes), torch.tensor(one.boxes), atol=1e-3, rtol=0)
        torch.testing.assert_close(
            torch.tensor(other.probabilities), torch.tensor(one.probabilities), atol=1e-4, rtol=0
        )


def test_mixed_precision_finds_nearly_the_same_and_says_so_in_full(detector):
    fast = deepcopy(detector)
    speed_up(fast, bf16=True)
    frame = torch.randint(0, 256, (1, 3, 160, 200), dtype=torch.uint8)
    labels = SoftLabels(score_threshold=0.0, detections=50)
    with torch.inference_mode():
        plain = detector.extract(frame, [(160, 200)])
        memory = detector.remember({level: x[:, None] for level, x in plain.maps.items()})
        (before,) = detector.detect(plain, memory, labels)
        with torch.autocast("cpu", torch.bfloat16):
            seen = fast.extract(frame, [(160, 200)])
            memory = fast.remember({level: x[:, None] for level, x in seen.maps.items()})
            (after,) = fast.detect(seen, memory, labels)
    assert seen.maps["0"].dtype == torch.bfloat16
    assert {after.boxes.dtype, after.classes.dtype, after.masks.dtype} == {torch.float32}
    moved = torch.cdist(after.boxes, before.boxes, p=torch.inf).min(1).values
    assert moved.median() < 1.0  # pixels; a box of bfloat16 coordinates is off by as much for them alone
    assert (after.boxes != after.boxes.bfloat16().float()).any(1).float().mean() > 0.9
    assert len(tubes(fast, bf16=True)) > 1
