import cv2
import numpy as np
import pytest
from generated import HEIGHT, WIDTH, box_mask, compressed
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from compfeat.masks import decode_mask, run_lengths

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
