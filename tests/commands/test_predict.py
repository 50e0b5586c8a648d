"""What predict.py writes, of a network that is made up; that of a trained one is in test_commands."""

import csv
import json
import os
import signal
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import av
import numpy as np
import pytest
from generated import write_clip
from one_object import predictor
from PIL import Image
from pycocotools import mask as rle

from compfeat.commands import predict as command
from compfeat.commands.predict import chosen, find_objects, require_known, write_outputs
from compfeat.findings.journal import Track
from compfeat.media.sources import open_frames

ALL = ["tracks", "overlay", "page", "results", "masks", "coco_video"]


def quiet(description, total, unit):
    return nullcontext(lambda count: None)


def written(path, folder, outputs=ALL, live=False, show=quiet, **part):
    made, frames = predictor(), open_frames(path, **part)
    frames.live = live
    findings = find_objects(made, frames, folder, outputs, show)
    write_outputs(made, frames, findings, set(findings.tracks), folder, outputs, quiet)
    return frames


def test_all_outputs_say_the_same(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", count=12, gaps=(20, 100, 60))
    frames = written(clip, tmp_path / "out", start=0.1)
    length, folder = len(frames.times), tmp_path / "out"
    assert length == 10
    rows = list(csv.DictReader((folder / "tracks.csv").open(newline="")))
    assert [float(row["time"]) for row in rows] == pytest.approx(frames.times)
    assert {(row["identity"], row["class"], row["score"]) for row in rows} == {("1", "dog", "0.75")}
    lines = [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(length))
    (entry,) = json.loads((folder / "results.json").read_text())
    assert (entry["category_id"], entry["score"]) == (9, 0.75)
    coco = json.loads((folder / "coco_video.json").read_text())
    assert [a["image_id"] for a in coco["annotations"]] == [image["id"] for image in coco["images"]]
    assert {(a["instance_id"], a["category_id"], a["score"]) for a in coco["annotations"]} == {(1, 9, 0.75)}
    images = sorted((folder / "masks").iterdir())
    forms = zip(lines, rows, entry["segmentations"], coco["annotations"], images, strict=True)
    for line, row, segmentation, annotation, image in forms:
        mask = line["objects"][0]["mask"]
        assert mask == segmentation == annotation["segmentation"]
        assert rle.area(mask) == annotation["area"] == int(row["area"])
        assert (rle.decode(mask) == np.array(Image.open(image))).all()
    for name in ("overlay.mp4", "video.mp4"):
        copy = open_frames(folder / name)
        assert len(list(copy)) == length
        assert copy.times == pytest.approx([time - frames.times[0] for time in frames.times], abs=0.002)
    assert "video.mp4" in (folder / "page.html").read_text()


def test_a_stream_is_recorded_and_drawn_on_afterwards(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", count=12)
    written(clip, tmp_path / "file", ["overlay", "tracks"])
    assert sorted(path.name for path in (tmp_path / "file").iterdir()) == ["frames.jsonl", "overlay.mp4", "tracks.csv"]
    written(clip, tmp_path / "live", ["overlay", "tracks"], live=True)
    assert (tmp_path / "live" / "tracks.csv").read_text() == (tmp_path / "file" / "tracks.csv").read_text()
    with av.open(str(tmp_path / "live" / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal, also where the tests were started in the background, in which shells ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("live", [False, True])
def test_an_interrupt_ends_the_video_not_what_was_found(live, tmp_path):
    @contextmanager
    def interrupting(description, total, unit):
        seen = []

        def advance(count):
            seen.append(count)
            if len(seen) == 5:
                os.kill(os.getpid(), signal.SIGINT)

        yield advance

    written(write_clip(tmp_path / "clip.mp4"), tmp_path / "out", ALL, live, interrupting)
    rows = list(csv.DictReader((tmp_path / "out" / "tracks.csv").open(newline="")))
    assert len(rows) == 5 == len(list((tmp_path / "out" / "masks").iterdir()))
    assert len(list(open_frames(tmp_path / "out" / "overlay.mp4"))) == 5
    assert (tmp_path / "out" / "page.html").is_file()


def test_what_holds_all_masks_is_left_out_where_there_are_too_many(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "HELD", 5)
    written(write_clip(tmp_path / "clip.mp4", count=6), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"frames.jsonl", "tracks.csv", "overlay.mp4", "video.mp4", "masks"}
    assert "not written: page, results, coco_video; 6 masks are more than the 5" in capsys.readouterr().out


@pytest.mark.parametrize(("classes", "kept"), [(None, {1, 2}), ([], {1, 2}), (["dog"], {2})])
def test_where_no_class_is_asked_for_objects_of_any_are_drawn(classes, kept):
    tracks = {1: Track(1, 1, "cat", 0.9), 2: Track(2, 2, "dog", 0.8), 3: Track(3, 2, "dog", 0.2)}
    assert chosen(SimpleNamespace(tracks=tracks), 0.3, classes) == kept


def test_a_class_that_the_network_does_not_know_is_named():
    require_known(["dog"], ["cat", "dog"])
    with pytest.raises(ValueError, match="knows no 'dgo'; did you mean dog"):
        require_known(["dgo"], ["cat", "dog"])
    with pytest.raises(ValueError, match="knows no 'bicycle'; it knows cat, dog"):
        require_known(["bicycle"], ["cat", "dog"])
