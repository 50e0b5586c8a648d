import pytest
import torch

from compfeat.structures import Clip, ClipBatch, Tube, pad_and_stack


def test_images_are_padded_at_the_right_and_bottom_to_multiples_of_32():
    stacked = pad_and_stack([torch.ones(3, 33, 64), torch.full((3, 20, 65), 2.0)])
    assert stacked.shape == (2, 3, 64, 96)
    assert stacked[0, :, :33, :64].eq(1).all() and stacked[0].sum() == 3 * 33 * 64
    assert stacked[1].sum() == 2 * 3 * 20 * 65


def test_collate_keeps_order_sizes_and_targets():
    def clip(height, value, name):
        image = torch.full((3, height, 32), value, dtype=torch.uint8)
        target = {"labels": torch.tensor([value])}
        return Clip(image, image[None].repeat(2, 1, 1, 1), image, target, target, name)

    batch = ClipBatch.collate([clip(20, 5, "a"), clip(40, 9, "b")])
    assert len(batch) == 2 and batch.names == ["a", "b"] and batch.image_sizes == [(20, 32), (40, 32)]
    assert batch.support.shape == (2, 2, 3, 64, 32) and batch.support.dtype == torch.uint8
    assert batch.current[0].max() == 5 and batch.reference[1].max() == 9
    moved = batch.to("meta")
    assert moved.targets[0]["labels"].is_meta and moved.current.is_meta and moved.names == ["a", "b"]


def test_a_tube_votes_for_its_class_and_averages_its_score():
    tube = Tube(3, [0], [(0, 0, 1, 1)], [{}], [0.9], [2])
    tube.extend(Tube(3, [2, 3], [(0, 0, 1, 1)] * 2, [{}] * 2, [0.2, 0.4], [1, 1]))
    assert tube.frames == [0, 2, 3] and tube.label == 1
    assert tube.score == pytest.approx(0.5)


def test_an_even_vote_goes_to_the_more_confident_class():
    assert Tube(1, [0, 1], [(0, 0, 1, 1)] * 2, [{}] * 2, [0.4, 0.9], [1, 2]).label == 2
