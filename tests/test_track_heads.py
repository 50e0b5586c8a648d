import math

import pytest
import torch

from compfeat.models.track_heads import TrackHead, match_loss, match_targets


def test_scores_are_scaled_dot_products_of_embeddings_and_a_zero_column():
    torch.manual_seed(0)
    head = TrackHead(channels=4, size=3, hidden=16)
    objects, references = torch.randn(2, 4, 3, 3), torch.randn(3, 4, 3, 3)
    (scores,) = head([objects], [references])
    assert scores.shape == (2, 4)
    assert (scores[:, 0] == 0).all()
    expected = (head.embed(objects[1:2])[0] @ head.embed(references[2:3])[0]) / math.sqrt(16)
    assert scores[1, 3].item() == pytest.approx(expected.item(), rel=1e-5)


def test_frames_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    head = TrackHead(channels=4, size=3, hidden=16)
    objects = [torch.randn(2, 4, 3, 3), torch.randn(0, 4, 3, 3), torch.randn(1, 4, 3, 3)]
    references = [torch.randn(3, 4, 3, 3), torch.randn(2, 4, 3, 3), torch.randn(0, 4, 3, 3)]
    together = head(objects, references)
    assert [tuple(s.shape) for s in together] == [(2, 4), (0, 3), (1, 1)]
    for scores, x, r in zip(together, objects, references, strict=True):
        torch.testing.assert_close(scores, head([x], [r])[0])


def test_initial_scores_do_not_saturate_the_softmax():
    torch.manual_seed(0)
    head = TrackHead(channels=64)
    features = torch.randn(4, 64, 7, 7).abs() * 3  # the scale of pyramid features of an untrained network
    (scores,) = head([features], [features])
    assert scores.abs().max() < 10


def test_match_targets_name_the_column_of_the_same_identity():
    assert match_targets(torch.tensor([7, 3, 9]), torch.tensor([9, 7])).tolist() == [2, 0, 1]
    assert match_targets(torch.tensor([7, 3]), torch.empty(0, dtype=torch.int64)).tolist() == [0, 0]


def test_match_loss_averages_over_the_objects_of_all_frames():
    scores = [torch.tensor([[0.0, 2.0], [0.0, -1.0]]), torch.zeros(1, 3)]
    loss, accuracy = match_loss(scores, [torch.tensor([1, 1]), torch.tensor([2])])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1)) + math.log(3)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert accuracy.item() == pytest.approx(1 / 3)


def test_no_object_gives_a_zero_loss_that_reaches_the_parameters():
    head = TrackHead(channels=4, size=3, hidden=8)
    scores = head([torch.randn(0, 4, 3, 3)], [torch.randn(2, 4, 3, 3)])
    loss, accuracy = match_loss(scores, [torch.empty(0, dtype=torch.int64)])
    loss.backward()
    assert loss.item() == 0 and accuracy.isnan()
    assert all(p.grad is not None and (p.grad == 0).all() for p in head.parameters())
