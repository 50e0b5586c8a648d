import colorsys
import json
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest

from compfeat.data.datamodule import VISDataModule
from compfeat.data.drawing import BACKGROUNDS, CLASSES, draw_background
from compfeat.data.shapes import ShapesGenerator
from compfeat.masks import decode_mask

TINY = dict(train_videos=4, valid_videos=2, test_videos=1, length=5, width=96, height=64)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sharpness(folder: Path) -> list[float]:
    frames = sorted((folder / "train/JPEGImages").rglob("*.jpg"))
    return [cv2.Laplacian(cv2.imread(str(frame), cv2.IMREAD_GRAYSCALE), cv2.CV_64F).var() for frame in frames]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return ShapesGenerator(**TINY, degraded=0, occlusion=1, lookalikes=1, jumps=0.5).write(tmp_path_factory.mktemp("a"))


def test_equal_knobs_write_equal_bytes_whatever_the_workers(written, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    knobs = dict(degraded=0, occlusion=1, lookalikes=1, jumps=0.5)
    again = ShapesGenerator(**TINY, **knobs).write(tmp_path)
    assert again.name == written.name
    assert files(again) == files(written)
    assert len(files(again)) == 3 + 7 * 5
    other = ShapesGenerator(**TINY, **knobs, seed=1)
    assert other.path(tmp_path) != again
    assert files(other.write(tmp_path))["train/instances.json"] != files(again)["train/instances.json"]


def test_a_written_folder_is_left_alone_and_nothing_else_is_left(tmp_path):
    generator = ShapesGenerator(train_videos=1, valid_videos=1, test_videos=1, length=1, width=32, height=32)
    folder = generator.write(tmp_path)
    (folder / "train/instances.json").write_text("mine")
    assert generator.write(tmp_path) == folder == generator.path(tmp_path)
    assert (folder / "train/instances.json").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [folder]
    assert sorted(path.name for path in folder.iterdir()) == ["test", "train", "valid"]


def test_the_first_videos_are_the_same_whether_or_not_others_are_drawn(written, tmp_path):
    few = ShapesGenerator(**TINY, degraded=0, occlusion=1, lookalikes=1, jumps=0.5).first(1)
    assert (few.train_videos, few.valid_videos, few.test_videos, few.stills) == (1, 1, 1, 0)
    drawn = files(few.write(tmp_path, ["train"]) / "train/JPEGImages")
    assert len(drawn) == 5 and drawn.items() <= files(written / "train/JPEGImages").items()
    data = VISDataModule(str(tmp_path), generator=ShapesGenerator(**TINY), only_videos=1)
    assert data.generator == ShapesGenerator(**TINY | dict(train_videos=1, valid_videos=1))


def test_a_split_is_drawn_when_it_is_wanted_and_is_the_same_then(written, tmp_path):
    knobs = dict(degraded=0, occlusion=1, lookalikes=1, jumps=0.5)
    folder = ShapesGenerator(**TINY, **knobs).write(tmp_path, ["valid"])
    assert [path.name for path in folder.iterdir()] == ["valid"]
    assert files(folder / "valid") == files(written / "valid")
    with pytest.raises(ValueError, match="no split 'val'"):
        ShapesGenerator(**TINY, **knobs).write(tmp_path, ["val"])


def test_a_disk_without_room_is_told_with_the_first_frame_and_nothing_is_left(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes, less than a frame has
    try:
        with pytest.raises(
            OSError, match=r"into .*/shapes-\w+ \(cannot write the image .*00000.jpg.*set COMPFEAT_CACHE or"
        ):
            ShapesGenerator(**TINY).write(tmp_path, ["valid"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_annotations_agree_with_each_other_and_with_the_frames(written, split):
    content = json.loads((written / split / "instances.json").read_text())
    assert [category["name"] for category in content["categories"]] == list(CLASSES)
    assert [annotation["id"] for annotation in content["annotations"]] == list(
        range(1, len(content["annotations"]) + 1)
    )
    for video in content["videos"]:
        assert len(video["file_names"]) == video["length"] == 5
        cover = np.zeros((5, 64, 96), int)
        for annotation in content["annotations"]:
            if annotation["video_id"] != video["id"]:
                continue
            tube = zip(annotation["segmentations"], annotation["bboxes"], annotation["areas"], strict=True)
            for frame, (rle, box, area) in enumerate(tube):
                if rle is None:
                    assert box is None and area is None
                    continue
                mask = decode_mask(rle | {"counts": rle["counts"].encode()})
                rows, columns = np.nonzero(mask)
                left, top = columns.min(), rows.min()
                assert box == [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
                assert area == len(rows) >= 12
                cover[frame] += mask
        assert cover.max() == 1
        for name in video["file_names"]:
            assert cv2.imread(str(written / split / "JPEGImages" / name)).shape == (64, 96, 3)


def test_lookalikes_share_their_class(written):
    content = json.loads((written / "train/instances.json").read_text())
    for video in content["videos"]:
        classes = [a["category_id"] for a in content["annotations"] if a["video_id"] == video["id"]]
        assert len(set(classes)) < len(classes)


def test_degraded_frames_are_the_same_film_but_blurred(tmp_path):
    clear, degraded = (ShapesGenerator(**TINY, degraded=share).write(tmp_path) for share in (0, 1))
    before, after = (json.loads((folder / "train/instances.json").read_text()) for folder in (clear, degraded))
    assert before["annotations"] == after["annotations"]
    assert all(all(video["degraded"]) for video in after["videos"])
    assert np.median(sharpness(clear)) > 2 * np.median(sharpness(degraded))


def test_a_scene_tells_the_marking_of_an_outline(tmp_path):
    def pairs(scenes: bool) -> list[set[int]]:
        knobs = dict(TINY, length=1, train_videos=24)
        folder = ShapesGenerator(**knobs, degraded=0, lookalikes=0, max_objects=8, scenes=scenes).write(tmp_path)
        content = json.loads((folder / "train/instances.json").read_text())
        return [
            {a["category_id"] - 1 for a in content["annotations"] if a["video_id"] == video["id"]}
            for video in content["videos"]
        ]

    def both_markings(classes: set[int]) -> bool:
        return len({label // 2 for label in classes}) < len(classes)

    assert any(map(both_markings, pairs(scenes=False)))
    assert not any(map(both_markings, pairs(scenes=True)))


@pytest.mark.parametrize(("hint", "least", "most"), [(0.5, 0.3, 0.7), (0.8, 0.7, 0.9), (1.0, 1.0, 1.0)])
def test_colour_hints_at_the_marking_as_often_as_it_is_told_to(hint, least, most):
    generator = ShapesGenerator(lookalikes=0, max_objects=8, colour_hint=hint)
    cast = [actor for seed in range(60) for actor in generator._cast(np.random.default_rng(seed), scene=0)]
    hinted = np.mean([actor.marking == (actor.hsv[0] >= 0.5) for actor in cast])
    assert least <= hinted <= most


def test_a_scene_and_a_colour_do_not_both_tell_the_marking():
    with pytest.raises(ValueError, match="either scenes or colour_hint"):
        ShapesGenerator(scenes=True, colour_hint=0.7)


def test_degraded_frames_do_not_show_fringes_which_belong_to_masks_all_the_same(tmp_path):
    def areas(segmentations) -> np.ndarray:
        masks = [rle and decode_mask(rle | {"counts": rle["counts"].encode()}) for rle in segmentations]
        return np.array([0 if mask is None else mask.sum() for mask in masks])

    knobs = dict(TINY, train_videos=24, degraded=0.5, max_objects=1, lookalikes=0, fringed=0.5)
    content = json.loads((ShapesGenerator(**knobs).write(tmp_path) / "train/instances.json").read_text())
    shares = []
    for video, entry in zip(content["videos"], content["annotations"], strict=True):  # one object each
        whole, shown = areas(entry["segmentations"]), areas(entry["shown_segmentations"])
        clear, hidden = ~np.array(video["degraded"]) & (whole > 0), np.array(video["degraded"]) & (whole > 0)
        assert (whole[clear] == shown[clear]).all()
        shares += [(shown[hidden] / whole[hidden]).mean()] if hidden.any() else []
    fringed = np.array(shares) < 1
    assert 0.2 < fringed.mean() < 0.8
    assert np.array(shares)[fringed].mean() == pytest.approx(1 / 1.3**2, abs=0.08)


def test_the_colour_of_a_tinted_background_tells_its_kind():
    def mean_hue(scene: int) -> float:
        drawn = [draw_background(np.random.default_rng(i), scene, True, 32, 32, 1.0).mean((0, 1)) for i in range(60)]
        angles = [2 * np.pi * colorsys.rgb_to_hsv(*colour)[0] for colour in drawn]
        return np.angle(np.exp(1j * np.array(angles)).mean()) / (2 * np.pi) % 1

    assert [int(mean_hue(scene) * len(BACKGROUNDS)) for scene in range(len(BACKGROUNDS))] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"degraded": 1.5}, "degraded"),
        ({"jumps": -0.1}, "jumps"),
        ({"length": 0}, "length"),
        ({"height": 8}, "height"),
        ({"max_objects": 1}, "lookalikes"),
    ],
)
def test_knobs_out_of_range_are_named(knobs, named):
    with pytest.raises(ValueError, match=f"shapes: {named}"):
        ShapesGenerator(**knobs)
