import pytest
import torch

from compfeat.structures import Clip, ClipBatch, Tube, pad_and_stack


def test_images_are_padded_at_the_right_and_bottom_to_multiples_of_32():
    stacked = pad_and_stack([torch.ones(3, 33, 64), torch.full((3, 20, 65), 2.0)])
    assert stacked.shape == (2, 3, 64, 96)
    assert stacked[0, :, :33, :64].eq(1).all() and stacked[0].sum() == 3 * 33 * 64
    assert stacked[1].sum() == 2 * 3 * 20 * 65


def clip(height, value, video, ids, reference_ids):
    image = torch.full((3, height, 32), value, dtype=torch.uint8)
    targets = [{"labels": torch.tensor([value]), "track_ids": torch.tensor(x)} for x in (ids, reference_ids)]
    return Clip(image, image[None].repeat(2, 1, 1, 1), image, *targets, video, video)


def test_collate_keeps_order_sizes_and_targets():
    batch = ClipBatch.collate([clip(20, 5, "a", [], []), clip(40, 9, "b", [], [])])
    assert len(batch) == 2 and batch.names == ["a", "b"] and batch.image_sizes == [(20, 32), (40, 32)]
    assert batch.support.shape == (2, 2, 3, 64, 32) and batch.support.dtype == torch.uint8
    assert batch.current[0].max() == 5 and batch.reference[1].max() == 9
    moved = batch.to("meta")
    assert moved.targets[0]["labels"].is_meta and moved.current.is_meta and moved.names == ["a", "b"]


def test_an_object_has_one_number_in_a_batch_and_no_other_object_has_it():
    clips = [("a", [7, 9], [9]), ("b", [9], [7]), ("a", [4], [7, 4])]
    batch = ClipBatch.collate([clip(32, 1, *one) for one in clips])
    videos = [video for video, *_ in clips]
    numbers = {}
    for targets, before in ((batch.targets, [c[1] for c in clips]), (batch.reference_targets, [c[2] for c in clips])):
        for video, target, ids in zip(videos, targets, before, strict=True):
            for number, i in zip(target["track_ids"].tolist(), ids, strict=True):
                assert numbers.setdefault((video, i), number) == number
    assert len(set(numbers.values())) == len(numbers) == 5


def seen(frames, classes):
    return Tube(3, frames, [(0, 0, 1, 1)] * len(frames), [{}] * len(frames), classes)


def test_the_class_of_a_tube_is_the_likeliest_over_its_frames():
    tube = seen([0], [[0.0, 0.9]])
    tube.extend(seen([2, 3], [[0.3, 0.2], [0.3, 0.4]]))
    assert tube.frames == [0, 2, 3] and tube.scores == [0.9, 0.3, 0.4]
    assert tube.probabilities == pytest.approx([0.2, 0.5])
    assert tube.label == 2 and tube.score == pytest.approx(0.5)


def test_a_vote_goes_to_the_class_of_most_frames_and_keeps_the_mean_of_all_scores():
    tube = seen([0, 1, 2], [[0.0, 0.9], [0.2, 0.0], [0.4, 0.0]])
    tube.vote()
    assert tube.label == 1 and tube.score == pytest.approx(0.5) and tube.scores == [0.9, 0.2, 0.4]
    assert tube.probabilities[1] == 0


def test_an_even_vote_goes_to_the_more_confident_class():
    tube = seen([0, 1], [[0.4, 0.0], [0.0, 0.9]])
    tube.vote()
    assert tube.label == 2
