"""scripts/check_data.py and what is behind it."""

import json

import cv2
import numpy as np
import pytest
from composed import composed
from generated import HEIGHT, WIDTH, box_mask, compressed, write_data_set
from shell import command

from compfeat.commands.check_data import check_data
from compfeat.data.checks import SplitCheck


def faults(root, split="train"):
    check = SplitCheck(root, split)
    found = list(check.run())
    assert len(found) == check.steps
    return [fault for step in found for fault in step], check.statistics


def test_a_sound_data_set_has_no_faults(tmp_path):
    found, statistics = faults(write_data_set(tmp_path))
    assert found == []
    assert (statistics.videos, statistics.frames, statistics.missing_frames, statistics.crowds) == (3, 7, 0, 3)
    assert statistics.objects == {"cat": 3} and statistics.track_lengths == [4, 1, 2]


def change_first(**members):
    return lambda content: content["annotations"][0].update(members)


def no_mask(size, counts):
    return change_first(segmentations=[{"size": size, "counts": counts}] + [None] * 3, bboxes=None)


TRIANGLE = [1, 1, 8, 1, 8, 8]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_first(id=20), "video 2 (v2), annotation 20: its id is there before"),
        (change_first(video_id=9), "annotation 10: there is no video 9"),
        (change_first(category_id=9999), "video 1 (v1), annotation 10: there is no category 9999"),
        (change_first(segmentations=None), "annotation 10: segmentations is None, not list"),
        (lambda c: c["annotations"][0].pop("category_id"), "annotation 10: category_id is missing"),
        (lambda c: c["annotations"].append(7), "annotation without id: it is int, not an object"),
        (change_first(segmentations=[None] * 4, bboxes=None), "video 1 (v1), annotation 10: no frame shows it"),
        (
            change_first(bboxes=[[4, 5, 8, 6]]),
            "video 1 (v1), annotation 10: it has 1 bboxes, but its video has 4 frames",
        ),
        (
            lambda c: c["annotations"][0]["bboxes"].__setitem__(2, [0, 0, 8, 6]),
            "video 1 (v1), annotation 10: frame 2: the box [0, 0, 8, 6] is not that of the mask, [6.0, 5.0, 8.0, 6.0]",
        ),
        (
            lambda c: c["annotations"][0]["bboxes"].__setitem__(2, [6, 5, 8]),
            "video 1 (v1), annotation 10: frame 2: the box [6, 5, 8] is not [x, y, width, height]",
        ),
        (
            lambda c: c["annotations"][0]["segmentations"].__setitem__(2, None),
            "video 1 (v1), annotation 10: frame 2: it has a box but no mask",
        ),
        (
            no_mask([WIDTH, HEIGHT], [WIDTH * HEIGHT]),
            "video 1 (v1), annotation 10: frame 0: the mask is not valid: its size is [40, 20], that of the video "
            "[20, 40]",
        ),
        (lambda c: c["categories"][0].update(id=[9]), "category [9]: id is [9], not int"),
        (change_first(bboxes=4), "video 1 (v1), annotation 10: bboxes is 4, not list"),
        (
            change_first(bboxes=[["a", 5, 8, 6]] * 4),
            "video 1 (v1), annotation 10: frame 0: the box ['a', 5, 8, 6] is not [x, y, width, height]",
        ),
        (
            no_mask([HEIGHT, WIDTH], None),
            "video 1 (v1), annotation 10: frame 0: the mask is not valid: it is {'size': [20, 40], 'counts': None}, "
            'not RLE of the form {"size": [height, width], "counts": ...}',
        ),
        (
            no_mask([HEIGHT, WIDTH], [10, 5]),
            "video 1 (v1), annotation 10: frame 0: the mask is not valid: its runs fill 15 pixels of 20 x 40",
        ),
        (
            no_mask([HEIGHT, WIDTH], [HEIGHT * WIDTH]),
            "video 1 (v1), annotation 10: frame 0: the mask has no pixel",
        ),
        (
            change_first(segmentations=[[[*TRIANGLE[:5], 300]]] + [None] * 3, bboxes=None),
            "video 1 (v1), annotation 10: frame 0: the mask is not valid: a polygon leaves the frame of 40 x 20",
        ),
        (
            change_first(segmentations=[[[1, 1, 8, 8]]] + [None] * 3, bboxes=None),
            "video 1 (v1), annotation 10: frame 0: the mask is not valid: a polygon has fewer than three points",
        ),
        (
            change_first(segmentations=[[[*TRIANGLE[:5], float("nan")]]] + [None] * 3, bboxes=None),
            "video 1 (v1), annotation 10: frame 0: the mask is not valid: a polygon is not [x1, y1, x2, y2, x3, y3, "
            "...]",
        ),
        (lambda c: c["videos"][1].update(id=1), "videos: the id 1 is there 2 times"),
        (lambda c: c["videos"][1].update(length=5), "video 2 (v2): its length is 5, but it has 1 frames"),
        (lambda c: c["videos"][1].update(width="40"), "video 2 (v2): width is '40', not int"),
        (
            lambda c: c["videos"][1].update(height=21),
            "video 2 (v2): frame v2/0.png has 40 x 20 pixels instead of 40 x 21",
        ),
        (lambda c: c["videos"][0]["file_names"].__setitem__(1, "v1/0.png"), "video 1 (v1): a file name is there twice"),
        (lambda c: c["categories"][0].pop("name"), "category 9: name is missing"),
        (lambda c: c["categories"][0].update(id=7), "categories: the id 7 is there 2 times"),
        (
            lambda c: c["videos"][0]["file_names"].__setitem__(1, "v1/gone.png"),
            "video 1 (v1): 1 of 4 frames are missing, the first is v1/gone.png",
        ),
    ],
)  # fmt: skip
def test_every_fault_is_named_by_video_and_annotation(tmp_path, change, expected):
    found, _ = faults(write_data_set(tmp_path, change=change))
    assert expected in found


@pytest.mark.parametrize("bboxes", [None, [None] * 4])
def test_masks_without_boxes_and_polygons_are_sound(tmp_path, bboxes):
    polygons = [[TRIANGLE, [20.5, 3, 30, 3, 30, 9]], compressed(box_mask(0, 0, 2, 2)), None, None]
    found, statistics = faults(write_data_set(tmp_path, change=change_first(segmentations=polygons, bboxes=bboxes)))
    assert found == [] and statistics.track_lengths == [2, 1, 2]


def test_frames_that_cannot_be_read_are_named(tmp_path):
    root = write_data_set(tmp_path, lengths=(1, 1, 1))
    content = json.loads((root / "train.json").read_text())
    images = root / "train" / "JPEGImages"
    cv2.imwrite(str(images / "v1" / "0.jpg"), np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    cut = (images / "v1" / "0.jpg").read_bytes()[:-200]
    (images / "v1" / "0.jpg").write_bytes(cut)
    content["videos"][0]["file_names"] = ["v1/0.jpg"]
    (root / "train.json").write_text(json.dumps(content))
    (images / "v2" / "0.png").write_bytes(b"no picture")
    (images / "v3" / "0.png").unlink()
    found, statistics = faults(root)
    assert [fault.split(":")[0] for fault in found] == ["video 1 (v1)", "video 2 (v2)", "video 3 (v3)"]
    assert "frame v1/0.jpg cannot be read: it is broken or cut short" in found[0]
    assert "frame v2/0.png cannot be read" in found[1]
    assert (statistics.missing_frames, statistics.incomplete_videos) == (1, 1)


def run_check(root, output, *overrides):
    check_data(composed("check_data", "data=ytvis", f"data.root={root}", f"output={output}", *overrides))


def test_statistics_and_sample_clips_of_a_sound_data_set(tmp_path, capsys):
    root = write_data_set(tmp_path / "data")
    write_data_set(tmp_path / "data", split="valid", annotations=False)
    run_check(root, tmp_path / "out", "clips=2", "data.holdout=1")
    shown = capsys.readouterr().out
    assert "objects by class" in shown and "NO GROUND TRUTH in this split" in shown and "no errors" in shown
    sheet = cv2.imread(str(tmp_path / "out" / "clips.png"))
    caption = 32  # 20 x 40 pixels fit into 640 x 360 as 320 x 640
    assert sheet.shape == (2 * (320 + caption), 4 * (640 + 6), 3)


def test_errors_end_with_exit_code_1_when_all_sets_are_checked(tmp_path):
    bad = write_data_set(tmp_path / "bad", change=change_first(segmentations=[None] * 4, bboxes=None))
    good = write_data_set(tmp_path / "good")
    arguments = ["data=ytvis", "data.val_split=null", "data.holdout=1", f"data.root={bad},{good}"]
    out = tmp_path / "out"
    done = command("scripts/check_data.py", "-m", *arguments, f"hydra.sweep.dir={out}", cache=tmp_path, code=1)
    assert "error: video 1 (v1), annotation 10: no frame shows it" in done.stdout
    assert f"{bad}: the check found 1 error" in done.stderr and "1 job failed" in done.stderr
    assert [path.name for path in out.rglob("clips.png")] == ["clips.png"]  # of the other set


def test_real_data_has_no_faults(shared_data):
    for folder, split in (("davis_mini", "valid"), ("coco_mini", "train2017")):
        assert faults(shared_data / folder, split)[0] == []
