import numpy as np
import pytest
from generated import compressed

from compfeat.evaluation.tube_matching import MeasuredTube, judge, tube_iou
from compfeat.evaluation.tubes import areas_of

FRAMES, HEIGHT, WIDTH = 6, 20, 40
ALL = [(0, 1e10)]


def tube(masks, **more):
    masks = [None if mask is None else compressed(mask.astype(np.uint8)) for mask in masks]
    (areas,) = areas_of([masks])
    return MeasuredTube(masks, areas, areas.mean(), **more)


@pytest.fixture
def dense():
    """Masks [2, F, H, W], some of them empty, of tubes that overlap by more than half."""
    rng = np.random.default_rng(0)
    mask = rng.random((FRAMES, HEIGHT, WIDTH)) < 0.4
    mask[2] = False
    return np.stack([mask, mask ^ (rng.random(mask.shape) < 0.1)])


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_iou_is_that_of_dense_masks(dense):
    assert tube_iou(*map(tube, dense)) == iou(*dense) > 0.5
    assert tube_iou(tube(dense[0]), tube(dense[0])) == 1.0


@pytest.mark.parametrize("width", range(1, 20))
def test_iou_is_exact_wherever_a_match_is_possible(width):
    boxes = np.zeros((2, FRAMES, HEIGHT, WIDTH), bool)
    boxes[0, :, 2:12, 10:20] = True
    boxes[1, :, 2:12, 10 : 10 + width] = True
    exact = iou(*boxes)
    assert tube_iou(*map(tube, boxes)) == (exact if exact >= 0.5 else 0.0)


def test_tubes_that_show_nothing_overlap_nothing(dense):
    nothing = tube([None] * FRAMES)
    assert tube_iou(nothing, nothing) == tube_iou(nothing, tube(dense[0])) == tube_iou(tube(dense[0]), nothing) == 0.0


def test_masks_are_compared_only_where_that_can_decide(dense, monkeypatch):
    def never(*_):
        raise AssertionError("masks were compared")

    monkeypatch.setattr("pycocotools.mask.merge", never)
    long, short = tube(dense[0]), tube([dense[0][0], *[None] * (FRAMES - 1)])
    assert tube_iou(short, long) == 0.0


def test_a_crowd_excuses_many_and_an_object_is_found_once(dense):
    found = [tube(dense[0], score=score) for score in (0.5, 0.9)]
    twice = judge(found, [tube(dense[0])], ALL)
    assert twice.scores.tolist() == [0.9, 0.5] and twice.objects.tolist() == [1]
    assert twice.right[0, 0].tolist() == [True, False] and twice.wrong[0, 0].tolist() == [False, True]
    crowd = judge(found, [tube(dense[0], crowd=True)], ALL)
    assert crowd.objects.tolist() == [0] and not crowd.right.any() and not crowd.wrong.any()


def test_of_equal_overlaps_the_last_counts():
    def box(area, **more):
        mask = np.zeros((1, HEIGHT, WIDTH), bool)
        mask[0, 0, :area] = True
        return tube(mask, **more)

    found = [box(12, score=0.9), box(16, score=0.8)]  # the first has an IoU of 0.75 with both objects
    last_free = judge(found, [box(16), box(9)], ALL)
    last_taken = judge(found, [box(9), box(16)], ALL)
    assert last_free.right[0, :, 1].all()
    # What is left has 9 / 16; from 0.8 on the first matches nothing.
    assert last_taken.right[0, :, 1].tolist() == [True] * 2 + [False] * 4 + [True] * 4
