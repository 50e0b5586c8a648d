from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compfeat.inference.tracker import Cues, OnlineTracker
from compfeat.structures import Detections


def detections(boxes, classes=None):
    n = len(boxes)
    return Detections(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(n, 4),
        classes=torch.tensor(classes or [[0.9, 0.0]] * n).reshape(n, 2),
        masks=torch.zeros(n, 1, 28, 28),
        features=torch.arange(float(n)).view(n, 1, 1, 1).expand(n, 2, 7, 7),
        frame=torch.zeros(2, 3, 4),
    )


LEFT, RIGHT = [0, 0, 10, 10], [50, 0, 60, 10]


def started(cues=None, **options):
    tracker = OnlineTracker(cues, **options)
    assert tracker.memory is None
    assert tracker.update(detections([LEFT, RIGHT]), torch.zeros(2, 1)) == [1, 2]
    return tracker


def test_scores_alone_decide_without_cues():
    tracker = started()
    assert tracker.update(detections([LEFT, RIGHT]), torch.tensor([[0.0, 1.0, 5.0], [0.0, 5.0, 1.0]])) == [2, 1]
    assert tracker.memory[:, 0, 0, 0].tolist() == [1, 0]  # what they look like now


def test_the_loser_of_a_claimed_object_takes_its_next_choice():
    tracker = started()
    scores = torch.tensor([[0.0, 5.0, 2.0], [0.0, 9.0, 1.0]])
    assert tracker.update(detections([LEFT, RIGHT]), scores) == [2, 1]


def test_what_fits_one_object_alone_comes_before_what_fits_two():
    scores = torch.tensor([[0.0, 6.0, 6.0], [0.0, 5.0, 0.0]])
    assert started().update(detections([LEFT, RIGHT]), scores) == [2, 1]


def test_the_loser_is_a_second_sight_and_dropped_when_nothing_else_fits():
    tracker = started()
    scores = torch.tensor([[0.0, 5.0, -2.0], [0.0, 9.0, -1.0]])
    assert tracker.update(detections([LEFT, RIGHT]), scores) == [None, 1]
    assert tracker.memory.shape == (2, 2, 7, 7)


def test_what_looks_like_nothing_known_starts_anew_beside_a_loser():
    tracker = started()
    scores = torch.tensor([[0.0, 5.0, -2.0], [0.0, 9.0, -1.0], [0.0, -1.0, -1.0]])
    assert tracker.update(detections([LEFT, RIGHT, RIGHT]), scores) == [None, 1, 3]


def test_cues_are_those_of_the_paper():
    # Equal network scores: box overlap (2.0) decides, and the new-object column has overlap 0 and the class term.
    tracker = started(Cues())
    assert tracker.update(detections([RIGHT, LEFT]), torch.zeros(2, 3)) == [2, 1]
    # A box that overlaps nothing and has another class is 10 worse than the new-object column.
    tracker = started(Cues())
    assert tracker.update(detections([[80, 0, 90, 10]], classes=[[0.0, 0.9]]), torch.tensor([[0.0, 9.0, 9.0]])) == [3]
    tracker = started(Cues())
    assert tracker.update(detections([[0, 5, 10, 15]], classes=[[0.0, 0.9]]), torch.tensor([[0.0, 9.5, 0.0]])) == [1]
    # Of two equal claims to an object, the surer one.
    tracker = started(Cues())
    assert tracker.update(detections([LEFT, LEFT], [[0.4, 0.0], [0.9, 0.0]]), torch.zeros(2, 3)) == [None, 1]


def test_cues_compare_with_the_last_sight_of_an_object():
    tracker, moved = started(Cues()), detections([[0, 30, 10, 40]], classes=[[0.0, 0.9]])
    assert tracker.update(moved, torch.tensor([[0.0, 99.0, 0.0]])) == [1]
    assert tracker.update(moved, torch.zeros(1, 3)) == [1]


def test_the_class_cue_compares_distributions():
    # Of two remembered objects, the one whose classes are more alike; a new one is as alike as `novelty` says.
    tracker = OnlineTracker(Cues(confidence=0, iou=0, label=10, novelty=0.9))
    tracker.update(detections([LEFT, RIGHT], [[0.6, 0.3], [0.2, 0.7]]), torch.zeros(2, 1))
    assert tracker.update(detections([RIGHT], [[0.5, 0.4]]), torch.zeros(1, 3)) == [1]  # cosines 0.98 and 0.81
    assert tracker.update(detections([RIGHT], [[0.9, 0.0]]), torch.zeros(1, 3)) == [3]  # 0.78 and 0.27


def test_unseen_objects_are_forgotten_after_keep_unseen_frames():
    tracker = started(keep_unseen=1)
    none = detections([])
    assert tracker.update(none, torch.zeros(0, 3)) == []
    assert len(tracker.memory) == 2
    tracker.update(none, torch.zeros(0, 3))
    assert tracker.memory is None
    assert tracker.update(detections([LEFT]), torch.zeros(1, 1)) == [3]  # identities are never used again


def test_where_frames_have_times_these_decide_what_is_forgotten():
    tracker = OnlineTracker(keep_unseen=10)
    tracker.update(detections([LEFT]), torch.zeros(1, 1), 1.0)
    for time in (1.1, 1.2, 11.0):
        tracker.update(detections([]), torch.zeros(0, 2), time)
        assert len(tracker.memory) == 1
    tracker.update(detections([]), torch.zeros(0, 2), 11.1)
    assert tracker.memory is None


def test_an_object_is_remembered_without_those_it_was_detected_with():
    tracker, all_at_once = OnlineTracker(), torch.zeros(100, 2, 7, 7)
    tracker.update(replace(detections([LEFT]), features=all_at_once[:1]), torch.zeros(1, 1))
    (known,) = tracker._objects.values()
    assert known.features.untyped_storage().nbytes() == all_at_once.untyped_storage().nbytes() / 100


def test_reset_forgets_and_bad_policy_is_refused():
    tracker = started()
    tracker.reset()
    assert tracker.memory is None and tracker.update(detections([LEFT]), torch.zeros(1, 1)) == [1]
    with pytest.raises(ValueError, match="keep_unseen"):
        OnlineTracker(keep_unseen=-1)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(0, 2**16), st.booleans())
def test_no_identity_twice_in_a_frame(counts, seed, with_cues):
    generator = torch.Generator().manual_seed(seed)
    tracker = OnlineTracker(Cues() if with_cues else None)
    for n in counts:
        corners = torch.rand(n, 2, generator=generator) * 50
        boxes = torch.cat([corners, corners + 20], 1).tolist()
        known = 0 if tracker.memory is None else len(tracker.memory)
        scores = torch.randint(-2, 3, (n, known + 1), generator=generator).float()  # many ties
        identities = tracker.update(detections(boxes), scores)
        kept = [i for i in identities if i is not None]
        assert len(identities) == n and len(set(kept)) == len(kept) and all(i > 0 for i in kept)
