import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from compfeat.models.proposals import region_proposals
from compfeat.models.track_heads import pool_pairs, whereabouts

SIDES = (64, 32, 16, 8, 4)


def maps(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {str(i): torch.randn(1, 16, side, 2 * side, generator=generator).to(dtype) for i, side in enumerate(SIDES)}


@pytest.fixture
def rpn():
    torch.manual_seed(0)
    return region_proposals(16, (32, 64, 128, 256, 512), sampled=64, proposals=50).eval()


def test_anchors_know_every_pixel_whatever_the_maps_are(rpn):
    images = ImageList(torch.zeros(1, 3, 256, 512), [(256, 512)])
    (plain,) = rpn.anchor_generator(images, list(maps().values()))
    (mixed,) = rpn.anchor_generator(images, list(maps(torch.bfloat16).values()))
    assert mixed.dtype == torch.float32 and torch.equal(mixed, plain)
    assert not torch.equal(plain.bfloat16().float(), plain)


def test_proposals_of_mixed_precision_are_no_coarser(rpn):
    images = ImageList(torch.zeros(1, 3, 256, 512), [(256, 512)])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (boxes,), _ = rpn(images, maps(torch.bfloat16))
    assert boxes.dtype == torch.float32
    inside = boxes[(boxes[:, 0] > 0) & (boxes[:, 2] < 512)][:, [0, 2]]
    assert (inside != inside.bfloat16().float()).float().mean() > 0.9


def test_boxes_of_correlation_lose_nothing_in_mixed_precision():
    target = {"track_ids": torch.tensor([7, 8]), "boxes": torch.tensor([[257.0, 1.0, 301.0, 40.0]] * 2)}
    correlations = torch.randn(3, 4, 20, 60, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        boxes, present = whereabouts(torch.tensor([8, 9]), target)
        pooled = pool_pairs(correlations, target["boxes"], 8)
    assert boxes.tolist() == [[257.0, 1.0, 301.0, 40.0], [0.0] * 4] and present.tolist() == [True, False]
    torch.testing.assert_close(pooled, pool_pairs(correlations.float(), target["boxes"], 8))
