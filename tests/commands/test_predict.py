"""What predict.py writes, of a network that is made up; that of a trained one is in test_commands."""

import csv
import json
import os
import signal
from contextlib import contextmanager, nullcontext
from datetime import datetime
from types import SimpleNamespace
from typing import get_type_hints

import av
import numpy as np
import pytest
import torch
import untrained
from generated import write_clip, write_clip_of_two_sizes
from omegaconf import OmegaConf
from one_object import predictor
from PIL import Image
from pycocotools import mask as rle
from shell import command as run

from compfeat.commands import outputs as forms
from compfeat.commands import predict as command
from compfeat.commands.looking import chosen, find_objects, known
from compfeat.commands.outputs import write_outputs
from compfeat.config_check import fits
from compfeat.findings import folder
from compfeat.findings.folder import emptied
from compfeat.findings.journal import Track
from compfeat.inference.tracker import OnlineTracker
from compfeat.media.sources import VideoError, open_frames

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


class Watched(OnlineTracker):
    """Notes when it is shown something."""

    def reset(self):
        super().reset()
        self.times = []

    def update(self, detections, scores, time):
        self.times.append(time)
        return super().update(detections, scores, time)


@pytest.mark.parametrize("live", [False, True])
def test_the_tracker_is_told_when_frames_are_shown(live, tmp_path):
    made, frames = predictor(), open_frames(write_clip(tmp_path / "a.mkv", count=9, gaps=(20, 900)), start=0.9)
    made.tracker, frames.live = Watched(), live
    find_objects(made, frames, tmp_path / "out", [], quiet)
    assert made.tracker.times == frames.times and len(frames.times) == 7


class Silent:
    """A camera of which no frame comes, perhaps until somebody has had enough."""

    name, fps, length, times, files, sound, live = "camera:0", 25.0, None, [], (), None, True

    def __init__(self, interrupting=False):
        self.interrupting = interrupting

    def __iter__(self):
        if self.interrupting:
            raise KeyboardInterrupt
        return iter(())


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
    for name in ("overlay.mp4", "video.mp4"):  # frames that were read ahead belong to nothing
        assert len(list(open_frames(tmp_path / "out" / name))) == 5
    assert (tmp_path / "out" / "page.html").is_file()


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_before_the_first_frame_leaves_nothing(tmp_path, monkeypatch, capsys):
    @contextmanager
    def interrupting(description, total, unit):
        signal.raise_signal(signal.SIGINT)
        yield

    with pytest.raises(KeyboardInterrupt):
        written(write_clip(tmp_path / "clip.mp4"), tmp_path / "out", show=interrupting)
    assert not list(tmp_path.glob("out/*"))
    monkeypatch.setattr(command, "open_frames", lambda *_: Silent(interrupting=True))
    for outputs in (["tracks"], ALL):
        with pytest.raises(KeyboardInterrupt):
            called(monkeypatch, "camera:0", output=str(tmp_path / "out"), write=outputs)
        assert [path.name for path in tmp_path.glob("out/*")] == [".lock"] and not capsys.readouterr().out


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_during_the_overlay_leaves_all_else(tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "draw_tubes", lambda *drawn: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        called(monkeypatch, write_clip(tmp_path / "clip.mp4", count=6), output=str(tmp_path / "out"), write=ALL)
    names = {path.name for path in (tmp_path / "out").iterdir() if path.name != ".lock"}
    assert names == {"frames.jsonl", "tracks.csv", "page.html", "video.mp4", "results.json", "coco_video.json", "masks"}


def test_what_was_found_before_a_fault_is_written(tmp_path, monkeypatch, capsys):
    images = tmp_path / "images"
    images.mkdir()
    for index in range(9):
        Image.new("RGB", (64, 48)).save(images / f"{index}.png")
    (images / "7.png").write_text("no image")
    with pytest.raises(VideoError, match="cannot read the image .*7.png: it is broken"):
        called(monkeypatch, images, output=str(tmp_path / "out"), write=ALL)
    assert "objects found in 7 frames: 1; drawn, with score=0.3: 1" in capsys.readouterr().out.replace("\n", " ")
    for name in ("overlay.mp4", "video.mp4"):
        assert len(list(open_frames(tmp_path / "out" / name))) == 7
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())[0]["segmentations"]) == 7


def test_what_was_found_before_the_size_changed_is_written(tmp_path, monkeypatch):
    with pytest.raises(VideoError, match="a video has one size"):
        called(monkeypatch, write_clip_of_two_sizes(tmp_path), output=str(tmp_path / "out"), write=ALL)
    entry, *_ = json.loads((tmp_path / "out" / "results.json").read_text())
    for name in ("overlay.mp4", "video.mp4"):
        assert len(list(open_frames(tmp_path / "out" / name))) == len(entry["segmentations"]) >= 8


def test_a_stream_without_a_frame_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "open_frames", lambda *_: Silent())
    for outputs in (["tracks"], ALL):
        with pytest.raises(VideoError, match="no frame of camera:0 came"):
            called(monkeypatch, "camera:0", output=str(tmp_path / "out"), write=outputs)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".lock"}


def test_what_holds_all_masks_is_left_out_where_there_are_too_many(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(forms, "HELD", 5)
    written(write_clip(tmp_path / "clip.mp4", count=6), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"frames.jsonl", "tracks.csv", "overlay.mp4", "video.mp4", "masks"}
    assert "not written: page, results, coco_video; 6 masks are more than the 5" in capsys.readouterr().out


def test_what_holds_all_objects_in_all_frames_is_left_out_where_these_are_too_many(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(forms, "CELLS", 5)
    written(write_clip(tmp_path / "clip.mp4", count=6), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"frames.jsonl", "tracks.csv", "page.html", "overlay.mp4", "video.mp4", "masks"}
    assert "not written: results, coco_video; 6 objects times frames are more than the 5" in capsys.readouterr().out


@pytest.mark.parametrize(("classes", "kept"), [([], {1, 2}), (["dog"], {2})])
def test_where_no_class_is_asked_for_objects_of_any_are_drawn(classes, kept):
    tracks = {1: Track(1, 1, "cat", 0.9), 2: Track(2, 2, "dog", 0.8), 3: Track(3, 2, "dog", 0.2)}
    assert chosen(SimpleNamespace(tracks=tracks), 0.3, classes) == kept


def called(monkeypatch, video, **keys):
    """What predict does, of a network that is made up; Hydra has no part in it."""
    monkeypatch.setattr(command, "predictor_maker", lambda cfg: lambda device: predictor())
    keys = {"video": str(video), "start": None, "end": None, "every": 1, "cuts": True, "forget": 10.0} | keys
    keys = {"output": None, "write": ["tracks"], "score": 0.3, "classes": None, "device": "cpu", "ckpt": "a"} | keys
    command.predict(OmegaConf.create(keys))


@pytest.mark.parametrize("name", ["video.mp4", "overlay.mp4"])
def test_the_video_itself_is_never_replaced(name, tmp_path, monkeypatch):
    clip = write_clip(tmp_path / name, count=6)
    before = clip.read_bytes()
    (tmp_path / "link.mp4").symlink_to(name)
    monkeypatch.chdir(tmp_path)
    for video, output in [(name, "."), ("link.mp4", tmp_path)]:
        with pytest.raises(ValueError, match=f"{name} is read and would be replaced; give another folder"):
            called(monkeypatch, video, output=str(output), write=["page"], start=0.1)
    (tmp_path / "frames.jsonl").touch()  # an own folder, whose video is looked at again
    with pytest.raises(ValueError, match="is read and would be replaced"):
        called(monkeypatch, name, output=".")
    assert clip.read_bytes() == before


def test_images_are_not_replaced_by_masks(tmp_path, monkeypatch):
    images = tmp_path / "masks"
    images.mkdir()
    for index in range(3):
        Image.new("RGB", (64, 48)).save(images / f"{index:05d}.png")
    with pytest.raises(ValueError, match="masks/00000.png is read and would be replaced"):
        called(monkeypatch, images, output=str(tmp_path), write=["masks"])
    assert len(list(images.iterdir())) == 3


def test_what_was_found_in_another_video_does_not_stay(tmp_path, monkeypatch):
    called(monkeypatch, write_clip(tmp_path / "long.mp4", count=12), output=str(tmp_path / "out"), write=ALL)
    (tmp_path / "out" / "notes.txt").touch()
    called(monkeypatch, write_clip(tmp_path / "short.mp4", count=3), output=str(tmp_path / "out"), write=["masks"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".lock", "frames.jsonl", "masks", "notes.txt"}
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 3


def test_brackets_in_the_name_of_a_folder_are_no_markup(tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / "clip.mp4", count=3)
    monkeypatch.chdir(tmp_path)
    called(monkeypatch, clip, output="run [v1]x[/y]")
    assert capsys.readouterr().out.endswith("see run [v1]x[/y]\n")


def test_one_output_needs_no_brackets():
    wanted = get_type_hints(command.PredictConfig, include_extras=True)["write"]
    assert fits("masks", wanted) and fits(["masks", "page"], wanted) and not fits("mask", wanted)


def test_the_closing_line_says_where_to_look_or_why_nothing_is_drawn(tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / "clip.mp4", count=3)
    for keys, told in [
        ({"write": "page"}, "score=0.3: 1; see OUT/page.html"),
        ({"score": 0.8}, "score=0.8: 0; found: dog 0.75; lower score=; see OUT"),
        ({"classes": "cat"}, "score=0.3: 0; found: dog 0.75; lower score= or leave out classes=; see OUT"),
    ]:
        called(monkeypatch, clip, output=str(tmp_path / "out"), cuts=False, **keys)
        assert capsys.readouterr().out.endswith(f"{told.replace('OUT', str(tmp_path / 'out'))}\n")


def test_what_is_no_folder_to_write_to_is_told(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", count=3)
    for output in (clip, clip / "out"):
        with pytest.raises(ValueError, match=f"output={output} is a file, or in one: give a folder"):
            called(monkeypatch, clip, output=str(output))


def test_files_of_somebody_else_are_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "results.json").write_text("of weeks")
    with pytest.raises(ValueError, match="results.json is there, and of no video looked at before; give another"):
        called(monkeypatch, write_clip(tmp_path / "clip.mp4", count=3), output=str(tmp_path))
    assert (tmp_path / "results.json").read_text() == "of weeks"


def test_two_at_once_do_not_share_a_folder(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", count=3)
    monkeypatch.chdir(tmp_path)
    with emptied(tmp_path / "out", []), pytest.raises(ValueError, match="another video is written there just now"):
        called(monkeypatch, clip, output="out")
    called(monkeypatch, clip, output="out")
    monkeypatch.setattr(folder, "datetime", type("Fixed", (), {"now": lambda: datetime(2026, 1, 2, 3, 4, 5)}))
    for name in ("2026-01-02_03-04-05", "2026-01-02_03-04-05-2"):
        called(monkeypatch, clip)
        assert (tmp_path / "outputs" / "predict" / name / "tracks.csv").is_file()


def test_nothing_is_written_where_it_is_called(tmp_path):
    torch.save(untrained.checkpoint("model=mask_rcnn"), tmp_path / "last.ckpt")
    write_clip(tmp_path / "clip.mp4", count=3)
    here = tmp_path / "here"
    here.mkdir()
    arguments = ["ckpt=../last.ckpt", "video=../clip.mp4", "output=../out"]
    run("scripts/predict.py", *arguments, cache=tmp_path / "cache", cwd=here)
    assert not list(here.iterdir()) and (tmp_path / "out" / "page.html").is_file()
    assert not list((tmp_path / "out").glob(".hydra"))


def test_of_several_videos_none_takes_the_folder_of_another(tmp_path):
    torch.save(untrained.checkpoint("model=mask_rcnn"), tmp_path / "last.ckpt")
    for name in ("a", "b"):
        write_clip(tmp_path / f"{name}.mp4", count=2)
    several = ["-m", f"ckpt={tmp_path}/last.ckpt", f"video={tmp_path}/a.mp4,{tmp_path}/b.mp4", "write=tracks"]
    done = run("scripts/predict.py", *several, f"output={tmp_path}/out", cache=tmp_path / "cache", cwd=tmp_path, code=2)
    assert f"output={tmp_path}/out has another video of this call" in done.stderr and "1 job failed" in done.stderr
    run("scripts/predict.py", *several, cache=tmp_path / "cache", cwd=tmp_path)
    assert len(list((tmp_path / "outputs/predict").glob("*/tracks.csv"))) == 2


def test_a_class_that_the_network_does_not_know_is_named():
    for classes, names in [(None, []), ([], []), (["dog"], ["dog"]), ("dog", ["dog"]), ("dog,cat", ["dog", "cat"])]:
        assert known(classes, ["cat", "dog"]) == names
    with pytest.raises(ValueError, match="knows no 'dgo'; did you mean dog"):
        known(["dgo"], ["cat", "dog"])
    with pytest.raises(ValueError, match="knows no 'bicycle'; it knows cat, dog"):
        known("bicycle", ["cat", "dog"])
