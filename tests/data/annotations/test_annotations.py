import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from generated import HEIGHT, WIDTH, box_mask, compressed, uncompressed, write_data_set

from compfeat.data.annotations.array_store import read_arrays
from compfeat.data.annotations.index import AnnotationIndex
from compfeat.data.annotations.index_builder import build_arrays
from compfeat.data.annotations.json_stream import stream_json
from compfeat.data.annotations.layout import ANNOTATIONS
from compfeat.data.annotations.reader import VISAnnotations
from compfeat.data.datamodule import VISDataModule
from compfeat.data.errors import AnnotationError
from compfeat.evaluation import evaluate
from compfeat.masks import decode_mask


def snapshot(folder):
    """Every file under a folder, with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("json_path", ANNOTATIONS)
def test_annotations_are_found_in_every_layout(tmp_path, json_path):
    annotations = VISAnnotations.load(write_data_set(tmp_path, json_path=json_path), "train")
    assert annotations.path == tmp_path / json_path.format(split="train")
    assert [(c.id, c.name) for c in annotations.categories] == [(7, "cat"), (9, "dog")]  # labels 1 and 2
    assert [len(v.file_names) for v in annotations] == [4, 1, 2]
    assert [(t.id, t.label, t.crowd) for t in annotations[1].tracks] == [(20, 1, False), (21, 1, True)]
    assert annotations[1].name == "v2" and annotations.has_annotations


@pytest.mark.parametrize(
    "images", ["{split}/JPEGImages", "{split}", "Images/{split}", "images/{split}", "JPEGImages", "."]
)
def test_frames_are_found_in_every_layout(tmp_path, images):
    write_data_set(tmp_path, json_path="annotations_{split}.json", images=images)
    (tmp_path / "train" / "JPEGImages").mkdir(parents=True, exist_ok=True)  # a folder without the frames is not taken
    annotations = VISAnnotations.load(tmp_path, "train")
    assert annotations.image_root.samefile(tmp_path / images.format(split="train"))
    assert not annotations.missing.any()


def test_valid_and_val_are_the_same_split(tmp_path):
    write_data_set(tmp_path, split="val", json_path="annotations/instances_{split}_sub.json")
    assert len(VISAnnotations.load(tmp_path, "valid")) == 3


def test_what_is_not_found_is_told_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*gone: set data.root"):
        VISAnnotations.load(tmp_path / "gone", "train")
    with pytest.raises(FileNotFoundError, match="looked for train.json, train/instances.json, .*: set data.root"):
        VISAnnotations.load(tmp_path, "train")
    write_data_set(tmp_path)
    (tmp_path / "train" / "JPEGImages").rename(tmp_path / "elsewhere")
    annotations = VISAnnotations.load(tmp_path, "train")  # they are there, frames or not
    with pytest.raises(FileNotFoundError, match="looked for v1/0.png and the like under train/JPEGImages, train, "):
        _ = annotations.missing


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "Expecting"),
        ('{"videos": [}', "Expecting value"),
        ('{"categories": [{"id": 1, "name": "a"}]', "Expecting one of"),
        ('{"videos": []}', "no categories"),
        ('{"categories": [{"id": 1}]}', "'name' is missing"),
        ('{"categories": [{"id": 1, "name": "a"}], "videos": [3]}', "train.json is not in the YouTube-VIS format"),
        ('[{"id": 1}]', "Expecting"),
        ("null", "Expecting"),
        ('{"videos": [' + "[" * 100_000, "Nested too deeply"),
        (b'{"videos": ["\xff"]}', "is not text in UTF-8"),
    ],
)
def test_broken_annotations_are_named(tmp_path, text, said):
    (tmp_path / "train.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "train").mkdir()
    with pytest.raises(AnnotationError, match=said) as caught:
        VISAnnotations.load(tmp_path, "train")
    assert "train.json" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["annotations"][2].update(video_id=99), "annotation 20 names a video or category"),
        (lambda c: c["annotations"][2].update(category_id=99), "annotation 20 names a video or category"),
        (lambda c: c["annotations"][2]["segmentations"].append(None), "annotation 20 has 2 segmentations .* 1 frames"),
        (
            lambda c: c["annotations"][2].update(segmentations=[{"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]}]),
            r"annotation 20 has a mask of size \[40, 20\] in a video of size \[20, 40\]",
        ),
        (
            lambda c: c["annotations"][2].update(segmentations=[{"size": [HEIGHT, WIDTH], "counts": [0, 9999]}]),
            "annotation 20 has a mask that its runs do not fill",
        ),
        (
            lambda c: c["annotations"][2].update(segmentations=[{"size": [HEIGHT, WIDTH], "counts": "abc"}]),
            "annotation 20 has a mask that its runs do not fill",
        ),
        (
            lambda c: c["annotations"][2].update(segmentations=[{"size": [HEIGHT, WIDTH], "counts": [-1, 801]}]),
            "is not in the YouTube-VIS format",
        ),
        (
            lambda c: c["annotations"][2].update(segmentations=[[[1, 1, 9, 1, 9, 1e9]]]),
            r"annotation 20 has a polygon far outside in a video of size \[20, 40\]",
        ),
        (
            lambda c: c["annotations"][2].update(segmentations=[[[1, 1, 9, 1, 9, float("nan")]]]),
            r"is not in the YouTube-VIS format: a polygon is not \[x1, y1",
        ),
        (
            lambda c: c["annotations"][2].update(segmentations=[[[[1, 1], [9, 1], [9, 9]]]]),
            r"is not in the YouTube-VIS format: a polygon is not \[x1, y1",
        ),
        (lambda c: c["categories"][0].update(id=7), "two categories have the same id"),
        (lambda c: c["videos"][1].update(id=1), "two videos have the same id"),
    ],
)
def test_contradictions_are_named(tmp_path, change, said):
    root = write_data_set(tmp_path, change=change)
    with pytest.raises(AnnotationError, match=said):
        VISAnnotations.load(root, "train")


def test_every_form_of_segmentation_is_the_same_mask(tmp_path):
    mask, corner = box_mask(3, 4, 10, 7), box_mask(0, 0, 5, 5)  # the first run of zeros of the second is empty
    polygon = [[3, 4, 13, 4, 13, 11, 3, 11]]
    parts = [[3, 4, 8, 4, 8, 11, 3, 11], [8, 4, 13, 4, 13, 11, 8, 11], [1, 1, 2, 2]]  # the last has no inside
    forms = [compressed(mask), uncompressed(mask), polygon, parts, uncompressed(corner), None, []]

    def change(content):
        content["annotations"][0]["segmentations"] = forms

    track = VISAnnotations.load(write_data_set(tmp_path, lengths=(7,), change=change), "train")[0].tracks[0]
    for segmentation in (track.segmentations[i] for i in range(4)):
        assert segmentation["size"] == [HEIGHT, WIDTH] and (decode_mask(segmentation) == mask).all()
    assert (decode_mask(track.segmentations[4]) == corner).all()
    assert track.segmentations[5] is None and track.segmentations[6] is None
    assert [mask is not None for mask in track.segmentations] == [True] * 5 + [False] * 2


def test_oddities_are_read(tmp_path):
    def change(content):
        for video in content["videos"]:
            video["id"] -= 1  # ids from 0
        for entry in content["annotations"]:
            entry["video_id"] -= 1
            entry["id"] -= 10
            entry["bboxes"] = None
        content["annotations"][0]["bboxes"] = [None] * 4
        content["annotations"].reverse()
        content["annotations"][-1]["occlusion"] = ["no_occlusion", None, "severe_occlusion", "no_occlusion"]  # OVIS
        content["info"] = {"nested": ["a", {"b": "]}"}]}

    annotations = VISAnnotations.load(write_data_set(tmp_path, change=change), "train")
    assert [video.id for video in annotations] == [0, 1, 2]
    assert [[track.id for track in video.tracks] for video in annotations] == [[1, 0], [11, 10], [21, 20]]
    track = annotations[0].tracks[1]
    assert (decode_mask(track.segmentations[2]) == box_mask(6, 5, 8, 6)).all()
    with pytest.raises(IndexError):
        annotations[3]


@pytest.mark.parametrize("annotations", [None, []])
def test_a_split_without_ground_truth_has_none(tmp_path, annotations, caplog):
    root = write_data_set(tmp_path, change=lambda content: content.update(annotations=annotations))
    assert not VISAnnotations.load(root, "train").has_annotations
    data = VISDataModule(str(root), train_split="train", val_split="train", workers=0)
    data.setup()
    assert "NO GROUND TRUTH in" in caplog.text and "train.json" in caplog.text
    assert data.ground_truth is None and len(data.val_dataloader()) == 3
    with pytest.raises(AnnotationError, match="no video has an object"):
        data.train_dataloader()


def test_ground_truth_from_the_index_scores_as_the_json_does(tmp_path):
    root = write_data_set(tmp_path)
    content = json.loads((root / "train.json").read_text())
    annotations = VISAnnotations.load(root, "train")
    ours = annotations.ground_truth(range(3))
    assert [video["id"] for video in ours["videos"]] == [1, 2, 3]
    moved = [compressed(box_mask(5, 5, 8, 6))] * 4
    results = [{"video_id": 1, "category_id": 7, "score": 0.5, "segmentations": moved}]
    scores = evaluate(ours, results)
    assert scores == evaluate(content, results) and 0 < scores["AP"] < 1


def test_nothing_is_written_into_the_data_and_the_json_is_parsed_once(tmp_path, cache_of_its_own, monkeypatch):
    root = write_data_set(tmp_path)
    before = snapshot(root)
    data = VISDataModule(str(root), val_split="train", workers=0, holdout=1)
    data.setup()
    assert len(list(data.train_dataloader())) == 1 and data.ground_truth
    assert snapshot(root) == before
    assert len(list((cache_of_its_own / "index").iterdir())) == 1  # nothing temporary stays

    monkeypatch.setattr("compfeat.data.annotations.index.build_arrays", lambda source: pytest.fail("parsed again"))
    assert len(VISAnnotations.load(root, "train")) == 3
    (root / "train.json").rename(root / "valid.json")
    assert len(AnnotationIndex.open(root / "valid.json").video_ids) == 3  # known by content, not by name


def test_the_index_follows_the_content_of_the_file(tmp_path):
    root = write_data_set(tmp_path)
    stamp = os.stat(root / "train.json")
    assert VISAnnotations.load(root, "train")[0].tracks[0].id == 10
    write_data_set(tmp_path, change=lambda content: content["annotations"][0].update(id=77))
    os.utime(root / "train.json", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert (root / "train.json").stat().st_size == stamp.st_size
    assert VISAnnotations.load(root, "train")[0].tracks[0].id == 77


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_index_is_built_anew(tmp_path, cache_of_its_own, damage):
    root = write_data_set(tmp_path)
    path = VISAnnotations.load(root, "train").arrays.path
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        with zipfile.ZipFile(path) as archive:
            content[archive.getinfo("segments.npy").header_offset + 250] ^= 1
    path.write_bytes({"cut": content[:-30], "flipped": content, "emptied": b""}[damage])
    mask = decode_mask(VISAnnotations.load(root, "train")[0].tracks[0].segmentations[1])
    assert (mask == box_mask(5, 5, 8, 6)).all()
    assert read_arrays(path)["video_ids"].tolist() == [1, 2, 3]


def test_an_index_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    root = write_data_set(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("COMPFEAT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="cannot write the index of .*train.json into .*set COMPFEAT_CACHE or data.cache"):
        VISAnnotations.load(root, "train")


def test_workers_that_are_spawned_map_the_index_again(tmp_path):
    annotations = VISAnnotations.load(write_data_set(tmp_path), "train")
    sent = pickle.dumps(annotations)
    assert len(sent) < 2000
    copy = pickle.loads(sent)
    assert copy[2] != annotations[2] and copy[2].file_names == annotations[2].file_names  # other objects, same content
    assert copy[2].tracks[0].segmentations[1] == annotations[2].tracks[0].segmentations[1]


def test_arrays_are_mapped_not_loaded(tmp_path):
    arrays = VISAnnotations.load(write_data_set(tmp_path), "train").arrays
    for name in ("segments", "names", "track_ids"):
        assert isinstance(getattr(arrays, name).base, np.memmap) and not getattr(arrays, name).flags.writeable


def test_a_json_is_streamed_as_json_reads_it():
    content = {"a": [1, [2, "]"], {"b": [3]}], "empty": [], "null": None, "text": '"}', "last": {"c": [4]}}
    for text in (json.dumps(content), json.dumps(content, indent=2), json.dumps(content, separators=(",", ":")) + "\n"):
        streamed = list(stream_json(text))
        assert streamed == [
            ("a", 1), ("a", [2, "]"]), ("a", {"b": [3]}), ("null", None), ("text", '"}'), ("last", {"c": [4]})
        ]  # fmt: skip
    assert list(stream_json(" {} ")) == []
    for broken in ("", "{", '{"a"', '{"a": 1,}', '{"a": 1} x', '{"a": [1 2]}', '{"a": [1', '{"a": [1,]}'):
        with pytest.raises(json.JSONDecodeError):
            list(stream_json(broken))


def test_davis_mini_is_read(shared_data):
    annotations = VISAnnotations.load(shared_data / "davis_mini", "train")
    assert len(annotations) == 9 and sum(len(v.file_names) for v in annotations) == 154
    assert len(annotations.categories) == 40 and annotations.categories[12].name == "duck"
    mask = decode_mask(annotations[0].tracks[0].segmentations[0])
    assert mask.shape == (480, 854) and mask.sum() == 41343


def test_coco_is_videos_of_one_frame(shared_data):
    source = shared_data / "coco_mini" / "annotations" / "instances_train2017.json"
    content = json.loads(source.read_text())
    annotations = VISAnnotations.load(shared_data / "coco_mini", "train2017")
    assert annotations.path == source and len(annotations) == 40 and not annotations.missing.any()
    tracks = {track.id: track for video in annotations for track in video.tracks}
    assert set(tracks) == {entry["id"] for entry in content["annotations"]}
    for entry in content["annotations"][:100]:
        track = tracks[entry["id"]]
        assert annotations.categories[track.label - 1].id == entry["category_id"]
        assert decode_mask(track.segmentations[0]).sum() == pytest.approx(entry["area"], rel=0.1, abs=60)


def test_a_broken_json_leaves_no_index(tmp_path, cache_of_its_own):
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(AnnotationError):
        build_arrays(tmp_path / "train.json")
    with pytest.raises(AnnotationError):
        AnnotationIndex.open(tmp_path / "train.json")
    assert not (cache_of_its_own / "index").exists()
