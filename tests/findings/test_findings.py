import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle

from compfeat.findings.identity_masks import write_identity_masks
from compfeat.findings.journal import Findings, Journal
from compfeat.findings.overlays import colour
from compfeat.findings.table import write_table
from compfeat.structures import Tube

NAMES = ["cat", "dog"]
SIZE = (20, 30)


def seen(identity, frame, classes, box=(2, 3, 12, 9)):
    """An object that fills its box."""
    x1, y1, x2, y2 = box
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[y1:y2, x1:x2] = 1
    return Tube(identity, [frame], [tuple(map(float, box))], [rle.encode(mask)], [classes])


def written(path, frames, votes=False):
    with Journal(path, NAMES) as journal:
        for index, found in enumerate(frames):
            journal.write(index, index / 8, found)
    return Findings(path, NAMES, votes)


@pytest.fixture
def findings(tmp_path):
    """Object 7 is twice a dog and once a cat; object 300 is seen in the last frame alone, behind the other."""
    return written(
        tmp_path / "out" / "frames.jsonl",
        [
            [seen(7, 0, [0.0, 0.6])],
            [seen(7, 1, [0.9, 0.0])],
            [],
            [seen(7, 3, [0.2, 0.6]), seen(300, 3, [0.5, 0.25], (8, 3, 20, 9))],
        ],
    )


def test_a_line_is_on_disk_as_soon_as_its_frame_was_looked_at(tmp_path):
    with Journal(tmp_path / "frames.jsonl", NAMES) as journal:
        journal.write(0, 0.5, [seen(3, 0, [0.93, 0.0001])])
        (line,) = (tmp_path / "frames.jsonl").read_text().splitlines()
    (entry,) = json.loads(line)["objects"]
    assert (json.loads(line)["frame"], json.loads(line)["time"]) == (0, 0.5)
    assert entry["classes"] == {"cat": 0.93} and entry["box"] == [2, 3, 12, 9]
    assert rle.decode(entry["mask"]).sum() == 60


def test_a_line_that_was_torn_is_no_frame(findings, tmp_path):
    path = tmp_path / "out" / "frames.jsonl"
    path.write_text(path.read_text()[:-20])
    torn = Findings(path, NAMES, votes=False)
    assert torn.times == [0, 0.125, 0.25] and list(torn.tracks) == [7]
    assert len(list(torn.frames({7}))) == 3


def test_what_was_written_comes_back_whole_and_frame_by_frame(findings):
    assert (findings.times, findings.masks) == ([0, 0.125, 0.25, 0.375], 4)
    assert [(t.identity, t.name, t.score) for t in findings.tracks.values()] == [
        (300, "cat", 0.5),
        (7, "dog", pytest.approx(1.2 / 3)),
    ]
    assert [[tube.track_id for tube in frame] for frame in findings.frames({7, 300})] == [[7], [7], [], [7, 300]]
    assert [[tube.track_id for tube in frame] for frame in findings.frames({300})] == [[], [], [], [300]]
    ((first,), (second,), _, _) = findings.frames({7})
    assert (second.frames, second.label, second.scores) == ([1], first.label, [0.9])  # the class of the whole
    last, whole = findings.tubes({7, 300})
    assert (last.track_id, whole.track_id) == (300, 7)
    assert (whole.frames, whole.label) == ([0, 1, 3], 2)
    assert whole.masks[2] == seen(7, 3, [1, 0]).masks[0] and whole.boxes[0] == (2, 3, 12, 9)


@given(
    votes=st.booleans(),
    classes=st.lists(st.lists(st.integers(0, 10_000), min_size=2, max_size=2), min_size=1, max_size=6),
)
def test_class_and_score_are_those_of_the_whole_tube(votes, classes, tmp_path_factory):
    probabilities = [[value / 10_000 if value >= 5 else 0.0 for value in pair] for pair in classes]
    frames = [[seen(1, index, pair)] for index, pair in enumerate(probabilities)]
    findings = written(tmp_path_factory.mktemp("found") / "frames.jsonl", frames, votes)
    (tube,) = findings.tubes({1})
    track = findings.tracks[1]
    assert (track.label, track.score) == (tube.label, pytest.approx(tube.score))
    plain = Tube(1, list(range(len(frames))), classes=probabilities)
    if votes:
        plain.vote()
    assert (track.label, track.score) == (plain.label, pytest.approx(plain.score))


def test_the_table_has_a_row_for_each_object_in_each_frame(findings, tmp_path):
    write_table(tmp_path / "tracks.csv", findings, {7, 300})
    rows = list(csv.DictReader((tmp_path / "tracks.csv").open(newline="")))
    assert [(row["frame"], row["identity"]) for row in rows] == [("0", "7"), ("1", "7"), ("3", "7"), ("3", "300")]
    assert rows[1] == {
        "frame": "1", "time": "0.125", "identity": "7", "class": "dog", "score": "0.9",
        "x1": "2.0", "y1": "3.0", "x2": "12.0", "y2": "9.0", "area": "60",
    }  # fmt: skip
    write_table(tmp_path / "tracks.csv", findings, set())
    assert list(csv.DictReader((tmp_path / "tracks.csv").open(newline=""))) == []


def test_pixels_are_identities_the_surer_one_in_front(findings, tmp_path):
    write_identity_masks(tmp_path / "masks", findings, {7, 300}, SIZE)
    images = [Image.open(path) for path in sorted((tmp_path / "masks").iterdir())]
    assert [image.mode for image in images] == ["I;16"] * 4  # 300 is too large for 8 bits
    first, _, nothing, last = (np.array(image) for image in images)
    assert first.shape == SIZE and (first == 7).sum() == 60 and not nothing.any()
    assert (last == 7).sum() == 60 and (last == 300).sum() == 48

    write_identity_masks(tmp_path / "few", findings, {7}, SIZE)
    image = Image.open(tmp_path / "few" / "00003.png")
    assert image.mode == "P" and (np.array(image) == 7).sum() == 60
    assert image.convert("RGB").getpixel((2, 3)) == colour(7)
    assert image.convert("RGB").getpixel((0, 0)) == (0, 0, 0)
