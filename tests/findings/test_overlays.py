import numpy as np
import pytest
from pycocotools import mask as rle

from compfeat.findings.overlays import colour, contact_sheet, draw_tubes, ink, overlay
from compfeat.structures import Tube

NAMES = ["square", "triangle"]
GREY = np.full((96, 160, 3), 90, np.uint8)
ENLARGED = np.full((288, 480, 3), 90, np.uint8)  # as a frame that small is shown


def tube(track_id, frames, box, labels=None):
    """An object that fills its box in the given frames."""
    x1, y1, x2, y2 = box
    mask = np.zeros((96, 160), np.uint8, order="F")
    mask[y1:y2, x1:x2] = 1
    count = len(frames)
    classes = [[0.9 * (label == 1), 0.9 * (label == 2)] for label in labels or [1] * count]
    return Tube(track_id, frames, [box] * count, [rle.encode(mask)] * count, classes)


def test_mask_box_and_label_take_the_colour_of_the_identity_and_the_frame_is_kept():
    frame = GREY.copy()
    drawn = draw_tubes(frame, 3, [tube(4, [2, 3], (40, 40, 90, 80))], NAMES)
    assert (drawn.shape, drawn.dtype) == (ENLARGED.shape, np.uint8)
    assert np.array_equal(frame, GREY)
    rgb = np.array(colour(4))
    pixels = drawn.astype(int)
    assert pixels[180, 195] == pytest.approx(0.55 * 90 + 0.45 * rgb, abs=3)  # within the mask
    assert pixels[180, 120] == pytest.approx(rgb, abs=3)  # on the contour
    assert pixels[118, 120] == pytest.approx(rgb, abs=3)  # the label's background, right above the box
    changed = (drawn != ENLARGED).any(axis=2)
    assert not changed[246:].any() and not changed[:72].any()
    assert changed[72:118].sum() < 0.02 * changed.size  # the text leaves room on a tiny frame


def test_a_frame_large_enough_to_read_keeps_its_size():
    frame = np.full((240, 320, 3), 90, np.uint8)
    assert np.array_equal(draw_tubes(frame, 0, [], NAMES), frame)


@pytest.mark.parametrize("size, drawn", [((2, 1000), (8, 4000)), ((1, 5000), (1, 5000)), ((100, 3000), (100, 3000))])
def test_a_banner_does_not_become_wider_than_videos_are(size, drawn):
    mask = rle.encode(np.ones(size, np.uint8, order="F"))
    object = Tube(1, [0], [(0, 0, size[1], size[0])], [mask], [[0.9, 0.0]])
    assert draw_tubes(np.zeros((*size, 3), np.uint8), 0, [object], NAMES).shape == (*drawn, 3)


def test_only_what_is_seen_in_the_frame_is_drawn():
    assert np.array_equal(draw_tubes(GREY, 1, [tube(0, [0, 2], (10, 30, 40, 60))], NAMES), ENLARGED)
    assert np.array_equal(draw_tubes(GREY, 0, [], NAMES), ENLARGED)


def test_labels_do_not_cover_each_other_and_stay_in_the_frame():
    tubes = [tube(i, [0], (1, 40, 41, 60)) for i in range(2)]
    drawn = draw_tubes(GREY, 0, tubes, NAMES)
    above, below = drawn[105:120, 2:180], drawn[179:195, 2:180]
    assert (above == colour(0)).all(axis=2).sum() > 200
    assert (below == colour(1)).all(axis=2).sum() > 200
    corners = [tube(i, [0], box) for i, box in enumerate([(0, 0, 160, 96), (140, 0, 160, 9), (150, 90, 160, 96)])]
    assert draw_tubes(GREY, 0, corners, NAMES).shape == ENLARGED.shape


def test_the_shown_class_is_that_of_the_whole_tube():
    box = (40, 40, 90, 80)
    minority_here = draw_tubes(GREY, 0, [tube(1, [0, 1, 2], box, labels=[1, 2, 2])], NAMES)
    assert np.array_equal(minority_here, draw_tubes(GREY, 0, [tube(1, [0], box, labels=[2])], NAMES))
    assert not np.array_equal(minority_here, draw_tubes(GREY, 0, [tube(1, [0], box, labels=[1])], NAMES))


def test_overlay_draws_frame_by_frame():
    tubes = [tube(0, [0, 2], (10, 30, 40, 60)), tube(1, [1, 2], (90, 30, 120, 60))]
    asked = []

    def frames():
        for index in range(3):
            asked.append(index)
            yield GREY

    drawn = overlay(frames(), tubes, NAMES)
    assert np.array_equal(next(drawn), draw_tubes(GREY, 0, tubes, NAMES))
    assert asked == [0]
    assert [np.array_equal(d, draw_tubes(GREY, i, tubes, NAMES)) for i, d in enumerate(drawn, 1)] == [True, True]


def test_colours_of_neighbouring_identities_are_far_apart():
    colours = np.array([colour(i) for i in range(24)])
    for i in range(24):
        for j in range(i + 1, min(i + 6, 24)):
            assert np.abs(colours[i] - colours[j]).sum() > 90


def test_labels_can_be_read_on_any_colour():
    def luminance(rgb):  # as the guidelines for accessible pages have it
        shares = np.array(rgb) / 255
        return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)

    for rgb in map(colour, range(300)):
        low, high = sorted((luminance(rgb), luminance(ink(rgb))))
        assert (high + 0.05) / (low + 0.05) > 4.2


def test_contact_sheet_tiles_images_of_any_size():
    sheet = contact_sheet(
        [np.full((2, 3, 3), v, np.uint8) for v in (1, 2)] + [np.zeros((4, 2, 3), np.uint8)], columns=2
    )
    assert sheet[:, :, 0].tolist() == [
        [1, 1, 1, 2, 2, 2],
        [1, 1, 1, 2, 2, 2],
        [255] * 6,
        [255] * 6,
        *[[0, 0, 255, 255, 255, 255]] * 4,
    ]
    assert contact_sheet([GREY], columns=5).shape == GREY.shape
