import struct

import cv2
import numpy as np
import pytest

from compfeat.data.annotations.layout import missing_frames
from compfeat.data.clips.frames import read_scaled
from compfeat.images import ImageError, read_image


@pytest.fixture
def jpeg(tmp_path):
    """1280 x 720 pixels of smooth colour."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
    path = tmp_path / "frame.jpg"
    cv2.imwrite(str(path), cv2.resize(coarse, (1280, 720), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture
def decoded(monkeypatch):
    """The shapes of the images that OpenCV decoded."""
    shapes = []
    decode = cv2.imdecode

    def recorded(*arguments):
        image = decode(*arguments)
        shapes.append(image.shape[:2])
        return image

    monkeypatch.setattr(cv2, "imdecode", recorded)
    return shapes


@pytest.mark.parametrize(
    ("size", "scale"),
    [((720, 1280), 1), ((361, 641), 1), ((360, 640), 2), ((200, 356), 2), ((180, 320), 4), ((90, 160), 8)],
)
def test_a_jpeg_is_decoded_no_larger_than_needed_and_never_too_small(jpeg, decoded, size, scale):
    image = read_scaled(jpeg, (720, 1280), size)
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert decoded == [(720 // scale, 1280 // scale)]
    full = cv2.cvtColor(cv2.imread(str(jpeg)), cv2.COLOR_BGR2RGB)
    expected = cv2.resize(full, size[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).mean() < 1


def test_odd_sides_round_up(tmp_path, decoded):
    path = tmp_path / "odd.jpg"
    cv2.imwrite(str(path), np.zeros((101, 51, 3), np.uint8))
    assert read_scaled(path, (101, 51), (51, 26)).shape == (51, 26, 3)
    assert decoded == [(51, 26)]


def test_a_frame_smaller_than_stated_is_decoded_whole(jpeg, decoded):
    assert read_scaled(jpeg, (1440, 2560), (360, 640)).shape == (360, 640, 3)
    assert decoded == [(180, 320), (720, 1280)]


def test_only_jpeg_is_decoded_at_a_smaller_scale(tmp_path, decoded):
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), np.full((8, 16, 3), (255, 0, 0), np.uint8))
    assert read_scaled(path, (8, 16), (4, 8))[0, 0].tolist() == [0, 0, 255]
    assert decoded == [(8, 16)]
    assert read_image(path).shape == (8, 16, 3)


def test_what_cannot_be_read_is_named(tmp_path, jpeg):
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.jpg").write_bytes(jpeg.read_bytes()[:-2000])
    for name in ("broken.jpg", "empty.jpg", "cut.jpg", "gone.jpg"):
        with pytest.raises(ImageError, match=name):
            read_scaled(tmp_path / name, (8, 16), (4, 8))
        with pytest.raises(ImageError, match=name):
            read_image(tmp_path / name)


def test_an_image_that_is_too_large_is_named(tmp_path):
    content = bytearray(cv2.imencode(".bmp", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    struct.pack_into("<2i", content, 18, 40_000, 40_000)
    (tmp_path / "large.bmp").write_bytes(content)
    with pytest.raises(ImageError, match="large.bmp: it is larger than OpenCV reads"):
        read_image(tmp_path / "large.bmp")


def test_missing_frames_are_found(tmp_path):
    (tmp_path / "v1").mkdir()
    for name in ("v1/0.jpg", "still.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "v1" / "2.jpg").symlink_to(tmp_path / "still.jpg")
    (tmp_path / "v1" / "3.jpg").symlink_to(tmp_path / "gone.jpg")
    names = ["v1/0.jpg", "v1/1.jpg", "v1/2.jpg", "v1/3.jpg", "v2/0.jpg", "still.jpg", "other.jpg"]
    assert missing_frames(tmp_path, names).tolist() == [False, True, False, True, True, False, True]
