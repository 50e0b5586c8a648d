import cv2
import numpy as np
import pytest
from generated import HEIGHT, WIDTH, box_mask, compressed
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from compfeat.masks import are_whole, decode_mask, encode_inside, polygons_rle, run_lengths, whole_rle

sides = st.integers(1, 70)


def blob(seed, height, width):
    coarse = np.random.default_rng(seed).random((4, 4))
    return (cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) > 0.5).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), sides, sides, sides, sides)
def test_a_mask_is_sampled_as_if_it_had_been_decoded(seed, height, width, rows, columns):
    mask = blob(seed, height, width)
    encoded = rle.encode(np.asfortranarray(mask))
    whole = decode_mask(encoded)
    assert whole.dtype == np.uint8 and whole.flags.c_contiguous and (whole == mask).all()
    y = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    x = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    sampled = decode_mask(encoded, (rows, columns))
    assert sampled.flags.c_contiguous and (sampled == mask[y][:, x]).all()


@st.composite
def boxes_in_masks(draw):
    """(height, width) of a mask; the first and last row and column of a box in it, often of all of it."""
    size = draw(st.tuples(sides, sides))
    spans = [draw(st.just((0, side)) | st.tuples(*[st.integers(0, side)] * 2).map(sorted)) for side in size]
    return size, *spans


@settings(max_examples=300, deadline=None)
@given(boxes_in_masks(), st.integers(0, 10**6), st.sampled_from([0, 0.1, 0.5, 0.9, 1]))
def test_what_is_inside_a_box_is_encoded_as_the_whole_mask_is(where, seed, filled):
    size, (y1, y2), (x1, x2) = where
    mask = np.zeros(size, np.uint8)
    mask[y1:y2, x1:x2] = np.random.default_rng(seed).random((y2 - y1, x2 - x1)) < filled
    encoded = rle.encode(np.asfortranarray(mask))
    assert encode_inside(mask[y1:y2, x1:x2], (x1, y1), size) == encoded
    assert encode_inside(mask[y1:y2, x1:x2] > 0, (x1, y1), size) == encoded


@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (3, 0), (0, 2)])
def test_a_box_must_lie_inside_its_mask(corner):
    with pytest.raises(ValueError, match=r"2 x 3 pixels at row -?\d, column -?\d do not fit into 3 x 5"):
        encode_inside(np.ones((2, 3), np.uint8), corner, (3, 5))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=12))
def test_run_lengths_are_those_that_pycocotools_wrote(lengths):
    encoded = rle.frPyObjects({"size": [1, sum(lengths)], "counts": lengths}, 1, sum(lengths))
    assert run_lengths(encoded["counts"]).tolist() == lengths


def test_nothing_is_an_empty_mask():
    assert decode_mask(None, (3, 4)).tolist() == [[0] * 4] * 3
    with pytest.raises(ValueError, match="needs a size"):
        decode_mask(None)


@pytest.mark.parametrize("counts", [b"", b"abc\x7f", compressed(box_mask(0, 0, 5, 5))["counts"].encode()[:-2]])
def test_broken_runs_are_an_error(counts):
    with pytest.raises(ValueError, match="runs of a mask|compressed RLE"):
        decode_mask({"size": [HEIGHT, WIDTH], "counts": counts}, (5, 5))


def test_polygons_are_cut_off_at_the_frame_and_lines_have_no_inside():
    square = [4, 5, 12, 5, 12, 11, 4, 11]
    assert (decode_mask(polygons_rle([square, [1, 1, 2, 2]], HEIGHT, WIDTH)) == box_mask(4, 5, 8, 6)).all()
    assert not decode_mask(polygons_rle([[1, 1, 2, 2]], HEIGHT, WIDTH)).any()
    beyond = [30, -9, 90, -9, 90, 99, 30, 99]
    assert (decode_mask(polygons_rle([beyond], HEIGHT, WIDTH)) == box_mask(30, 0, WIDTH - 30, HEIGHT)).all()


@pytest.mark.parametrize(
    ("polygon", "said"),
    [
        ([4, 5, 12, 5, 12], "is not"),
        ([[4, 5], [12, 5], [12, 11]], "is not"),
        ([4, 5, 12, 5, 12, float("nan")], "is not"),
        ([4, 5, 12, 5, 12, None], "is not"),
        ("abcdef", "is not"),
        (7, "is not"),
        ([4, 5, 12, 5, 12, 1e9], "leaves the frame of 40 x 20 by far"),
    ],
)
def test_what_is_no_polygon_about_the_frame_is_an_error(polygon, said):
    with pytest.raises(ValueError, match=said):
        polygons_rle([polygon], HEIGHT, WIDTH)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 20) | st.integers(-3, 3_000_000), min_size=1, max_size=12), max_size=4))
def test_many_masks_are_whole_where_each_of_them_is(masks):
    def written(runs):
        differences = [run - (runs[i - 2] if i > 2 else 0) for i, run in enumerate(runs)]
        return b"".join(map(compressed_number, differences))

    def is_whole(runs):
        try:
            return whole_rle({"size": [1, pixels], "counts": runs}, 1, pixels)["counts"] == written(runs)
        except ValueError:
            return False

    pixels = max(1, sum(masks[0])) if masks else 1
    assert are_whole([written(runs) for runs in masks], pixels) == all(map(is_whole, masks))


def compressed_number(value):
    """As pycocotools writes it."""
    groups = b""
    while True:
        group, value = value & 31, value >> 5
        more = value != (-1 if group & 16 else 0)
        groups += bytes([48 + group + 32 * more])
        if not more:
            return groups


@pytest.mark.parametrize("spoilt", [b"", b"P", b"\xe9", compressed(box_mask(0, 0, 5, 5))["counts"].encode() + b"P"])
def test_a_mask_that_is_cut_short_does_not_go_on_in_the_next(spoilt):
    sound = compressed(box_mask(0, 0, 5, 5))["counts"].encode()
    assert are_whole([sound, sound], HEIGHT * WIDTH) and not are_whole([spoilt, sound], HEIGHT * WIDTH)


PIXELS = HEIGHT * WIDTH


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [5],
        [PIXELS + 5],
        [-1, PIXELS + 1],
        [PIXELS + 0.0],
        [2**70],
        [2**62, 2**62, 2**62, 2**62 + PIXELS],  # as int64 they add up to it
        [0] * 2 * PIXELS + [PIXELS],
    ],
)
def test_run_lengths_of_a_json_must_fill_the_mask(counts):
    with pytest.raises(ValueError, match="its runs fill|not RLE"):
        whole_rle({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH)
