"""scripts/convert.py as a user runs it."""

import json

import cv2
import numpy as np
import pytest
from generated import write_data_set
from shell import command


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_to_coco_video_and_back(tmp_path, cache):
    root = write_data_set(tmp_path / "data")
    images = root / "train" / "JPEGImages"
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    here = tmp_path / "here"
    here.mkdir()
    arguments = ["coco_video", f"source={root}", f"output={tmp_path / 'c.json'}"]
    done = command("scripts/convert.py", *arguments, cache=cache, cwd=here)
    assert not list(here.iterdir())
    assert f"converted: 3 videos, 7 frames, 6 objects in {tmp_path / 'c.json'}" in done.stdout
    arguments = ["coco", f"source={tmp_path / 'c.json'}", f"images={images}", f"output={tmp_path / 'out'}"]
    done = command("scripts/convert.py", *arguments, cache=cache)
    told = "converted: 3 videos, 7 frames, 3 objects of 1 of 2 classes (cat 3), 3 crowd regions in"
    assert f"{told} {tmp_path / 'out' / 'train'}" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    done = command("scripts/convert.py", *arguments, cache=cache, code=2)
    assert "is there already: remove it, or give another output" in done.stderr


def test_errors_that_the_checks_find_end_with_exit_code_1(tmp_path, cache):
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder / "v").mkdir(parents=True)
    for name in ("0", "1"):
        cv2.imwrite(str(tmp_path / "JPEGImages" / "v" / f"{name}.jpg"), np.zeros((20, 40, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "Annotations" / "v" / f"{name}.png"), np.ones((20, 40), np.uint8))
    cut = tmp_path / "JPEGImages" / "v" / "1.jpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    several = command("scripts/convert.py", "davis", "source=a", "output=b", "classes=[cat,dog]", cache=cache, code=2)
    assert "classes: give the one class of all objects, or FILE.json" in several.stderr
    arguments = ["davis", f"source={tmp_path}", "classes=[cat]"]
    done = command("scripts/convert.py", *arguments, f"output={tmp_path / 'out'}", cache=cache, code=2)
    assert "is in the source, into which nothing is written" in done.stderr and not (tmp_path / "out").exists()
    out = tmp_path.with_name(f"{tmp_path.name}-out")
    done = command("scripts/convert.py", *arguments, f"output={out}", cache=cache, code=1)
    assert "error: video 1 (v): frame v/1.jpg cannot be read: it is broken or cut short" in done.stdout
    assert "converted: 1 videos, 2 frames, 1 objects of 1 of 1 classes (cat 1)" in done.stdout
    assert done.stderr.endswith("error: the check found 1 error\n")


def test_what_cannot_be_converted_is_told_in_one_line(tmp_path, cache):
    done = command("scripts/convert.py", "voc", cache=cache, code=2)
    assert "there is no convert 'voc'" in done.stderr and "{coco|davis|mots|coco_video}" in done.stderr
    root = write_data_set(tmp_path / "data")
    (tmp_path / "r.json").write_text(json.dumps([{"video_id": 8, "category_id": 7, "score": 1, "segmentations": []}]))
    arguments = [f"source={root}", f"results={tmp_path / 'r.json'}", f"output={tmp_path / 'o.json'}"]
    done = command("scripts/convert.py", "coco_video", *arguments, cache=cache, code=2)
    assert "results entry 0 (video 8): unknown video" in done.stderr and not (tmp_path / "o.json").exists()
    done = command("scripts/convert.py", "mots", f"source={root}", f"output={tmp_path / 'o'}", cache=cache, code=2)
    assert "there is no <video>/gt/gt.txt" in done.stderr and not (tmp_path / "o").exists()
