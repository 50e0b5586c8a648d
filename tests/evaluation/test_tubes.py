import numpy as np
from generated import box_mask, compressed, uncompressed

from compfeat.evaluation import tubes
from compfeat.evaluation.tubes import areas_of, intersections

BOXES = [compressed(box_mask(0, 0, width, 4)) for width in range(1, 9)]
NOTHING = compressed(box_mask(0, 0, 0, 0))


def test_areas_of_tubes_with_gaps():
    areas = areas_of([[BOXES[0], None, NOTHING, BOXES[7]], [None, None], []])
    assert [of_tube.tolist() for of_tube in areas] == [[4, 0, 0, 32], [0, 0], []]


def test_areas_of_more_masks_than_pycocotools_takes_at_once():
    long = [BOXES[frame % 8] for frame in range(600)]
    (areas,) = areas_of([long])
    assert areas.tolist() == [4 * (frame % 8 + 1) for frame in range(600)]
    shared, found_areas, _ = intersections([[BOXES[n % 8]] for n in range(600)], [[BOXES[3]]])
    assert found_areas[0].tolist() == areas.tolist()
    assert shared[0, :, 0].tolist() == np.minimum(areas, 16).tolist()


def test_equal_tubes_are_measured_once(monkeypatch):
    measured = []
    monkeypatch.setattr(tubes.rle, "area", lambda masks: measured.append(len(masks)) or np.ones(len(masks)))
    areas_of([[BOXES[0], BOXES[1]], [BOXES[1], BOXES[0]], [dict(BOXES[0]), dict(BOXES[1])]])
    assert measured == [2, 2]


def test_intersections_are_whole_numbers_of_pixels():
    rng = np.random.default_rng(0)
    masks = rng.random((2, 3, 5, 20, 40)) < 0.5  # found and true, three tubes of five frames
    masks[0, 1, 2] = masks[1, 0, 4] = False
    found, true = ([[compressed(mask.astype(np.uint8)) for mask in tube] for tube in side] for side in masks)
    found[2] = [*found[2][:3], None]
    masks[0, 2, 3:] = False
    shared, areas, true_areas = intersections(found, true)
    np.testing.assert_array_equal(shared, (masks[0][:, None] & masks[1]).sum((-1, -2)).transpose(2, 0, 1))
    np.testing.assert_array_equal(areas, masks[0].sum((-1, -2)).T)
    np.testing.assert_array_equal(true_areas, masks[1].sum((-1, -2)).T)


def test_uncompressed_masks_are_left_as_they_were():
    mask = uncompressed(box_mask(3, 4, 5, 6))
    before = {"size": list(mask["size"]), "counts": list(mask["counts"])}
    assert tubes.compressed(mask, 20, 40)["counts"].decode() == compressed(box_mask(3, 4, 5, 6))["counts"]
    assert mask == before
