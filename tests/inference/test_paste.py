import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from torchvision.models.detection.roi_heads import paste_masks_in_image

from compfeat.inference.paste import paste


def whole_frames(masks, boxes, size):
    pasted = paste_masks_in_image(masks, boxes, size)[:, 0] > 0.5
    return [rle.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in pasted]


def probabilities(count, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((count, 1, 28, 28), dtype=np.float32))


sides = st.integers(1, 300)


@st.composite
def frames_with_boxes(draw):
    """(height, width) of a frame, and boxes that reach into it, from less than a pixel to more than all of it."""
    height, width = size = draw(st.tuples(sides, sides))

    def span(length):
        start = draw(st.floats(-0.5 * length, length - 0.25, width=32))
        return start, start + draw(st.sampled_from([0, 0.3, 1]) | st.floats(0, 1.5 * length, width=32))

    spans = [(span(width), span(height)) for _ in range(draw(st.integers(0, 4)))]
    boxes = [[x1, y1, x2, y2] for (x1, x2), (y1, y2) in spans]
    return size, torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


@settings(max_examples=200, deadline=None)
@given(frames_with_boxes(), st.integers(0, 10**6), st.sampled_from([1, 4, 8]))
def test_masks_are_those_of_torchvision_to_the_last_bit(where, seed, sharpness):
    size, boxes = where
    masks = (sharpness * (probabilities(len(boxes), seed) - 0.45)).clamp(0, 1)
    try:
        expected = whole_frames(masks, boxes, size)
    except RuntimeError:  # what torchvision makes of a box wholly outside
        assume(False)
    assert paste(masks, boxes, size) == expected


@pytest.mark.parametrize("size", [(720, 1280), (1, 1), (360, 1), (1, 640)])
@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
def test_boxes_of_all_the_frame_and_more(size, fill):
    height, width = size
    whole = torch.tensor([[0, 0, width, height], [-50, -50, width + 50, height + 50], [0, -9, width / 2, height + 9]])
    masks = torch.full((3, 1, 28, 28), fill)
    found = paste(masks, whole, size)
    assert found == whole_frames(masks, whole, size)
    assert rle.area(found[1]) == (height * width if fill > 0.5 else 0)


def test_a_frame_without_objects_has_no_masks():
    assert paste(torch.zeros(0, 1, 28, 28), torch.zeros(0, 4), (20, 30)) == []


@pytest.mark.parametrize("box", [(-30, 2, -20, 8), (2, -30, 8, -20), (50, 2, 60, 8), (2, 40, 8, 50), (32, 22, 33, 23)])
def test_the_mask_of_a_box_outside_is_empty(box):
    (mask,) = paste(torch.ones(1, 1, 28, 28), torch.tensor([box], dtype=torch.float32), (20, 30))
    assert mask["size"] == [20, 30] and rle.area(mask) == 0
