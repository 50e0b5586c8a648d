import cv2
import numpy as np
import pytest

from compfeat.media.scenes import SceneCuts


def scene(seed):
    """A picture of large patches."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(patches, (160, 120), interpolation=cv2.INTER_LINEAR)


def begins(*frames):
    cuts = SceneCuts()
    return [cuts.begins(frame) for frame in frames]


def test_a_cut_is_where_colours_and_layout_change():
    assert begins(scene(0), scene(0), scene(1), scene(1), scene(2)) == [False, False, True, False, True]
    cuts = SceneCuts()
    cuts.begins(scene(0))
    cuts.reset()
    assert not cuts.begins(scene(1))  # the first of another video


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: cv2.GaussianBlur(frame, (15, 15), 5),
        lambda frame: (frame // 2 + 127).astype(np.uint8),  # a flash
        lambda frame: (frame // 4).astype(np.uint8),  # nearly dark
        lambda frame: np.roll(frame, 4, axis=1),  # a camera that turns
    ],
    ids=["blur", "flash", "dark", "turn"],
)
def test_what_keeps_light_and_dark_in_their_places_is_no_cut(change):
    assert begins(scene(0), change(scene(0)), scene(0)) == [False, False, False]
