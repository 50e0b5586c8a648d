import shutil
from collections import Counter

import numpy as np
import pytest
from generated import write_data_set

from compfeat.data.datamodule import VISDataModule
from compfeat.data.errors import AnnotationError
from compfeat.data.holdout import read_ids, stratify, write_ids


def youtube_like(videos=2238, classes=40):
    """Sets of classes as skewed as those of YouTube-VIS: a few classes are in many videos, most videos have one."""
    rng = np.random.default_rng(3)
    weights = 1 / np.arange(1, classes + 1)
    sizes = rng.choice([1, 2, 3], videos, p=[0.75, 0.2, 0.05])
    return [set((rng.choice(classes, n, False, weights / weights.sum()) + 1).tolist()) for n in sizes]


def test_302_of_2238_videos_keep_the_share_of_every_class():
    items = youtube_like()
    chosen = stratify(items, 302)
    assert len(chosen) == 302 == len(set(chosen)) and chosen == sorted(chosen)
    total = Counter(label for item in items for label in item)
    held = Counter(label for position in chosen for label in items[position])
    assert min(total.values()) < 30 and max(total.values()) > 400
    for label, count in total.items():
        expected = count * 302 / 2238
        assert abs(held[label] - expected) <= max(1.5, 0.05 * expected), (label, count, held[label])


def test_the_choice_is_always_the_same_and_keeps_lone_classes_in_training():
    items = [{1}] * 10 + [{2}] * 10 + [{3}] + [set()] * 4
    chosen = stratify(items, 5)
    assert chosen == stratify(items, 5)
    assert Counter(min(items[i], default=0) for i in chosen) == {1: 2, 2: 2, 0: 1}
    assert stratify([{1}, {1}], 1) in ([0], [1])


def held_out(root, holdout, **options):
    data = VISDataModule(str(root), workers=0, holdout=holdout, **options)
    data.setup()
    return data


@pytest.fixture
def root(tmp_path):
    """Six training videos; a validation split without ground truth."""
    write_data_set(tmp_path / "data", lengths=(1,) * 6)
    return write_data_set(tmp_path / "data", lengths=(1, 1), split="valid", annotations=False)


def test_training_videos_stand_in_for_a_split_without_ground_truth(root, caplog):
    data = held_out(root, 2)
    assert "NO GROUND TRUTH" in caplog.text and "2 training videos are held out" in caplog.text
    validated = [video.id for video in data.val_dataloader()]
    assert len(validated) == 2 and validated == data.held_out
    assert [video["id"] for video in data.ground_truth["videos"]] == validated
    trained = {data.train_annotations[position].id for position in data.train_videos}
    assert trained == {1, 2, 3, 4, 5, 6} - set(validated)
    assert held_out(root, 2, seed=5).held_out == data.held_out  # not a matter of the run's seed
    assert held_out(root, None).held_out is None


def test_own_ground_truth_goes_before_a_number(root):
    write_data_set(root, lengths=(1, 1), split="valid")
    data = held_out(root, 2)
    assert data.held_out is None and len(data.val_dataloader()) == 2 and len(data.train_videos) == 6
    assert len(held_out(root, 2, val_split=None).held_out) == 2


def test_a_list_of_ids_goes_before_everything(root, tmp_path):
    write_data_set(root, lengths=(1, 1), split="valid")
    path = tmp_path / "ids.txt"
    path.write_text("# videos to validate on\n5\n\n2  # the second\n5\n")
    data = held_out(root, str(path))
    assert [video.id for video in data.val_dataloader()] == [2, 5] and len(data.train_videos) == 4
    write_ids(data.held_out, tmp_path / "new" / "again.txt")
    assert read_ids(tmp_path / "new" / "again.txt") == data.held_out
    others = tmp_path / "others.txt"
    others.write_text("2\r\n", encoding="utf-8-sig")  # as Windows writes it
    assert held_out(root, str(others)).fingerprint["held_out"] != data.fingerprint["held_out"]


def test_what_cannot_be_held_out_is_told(root, tmp_path):
    with pytest.raises(AnnotationError, match="cannot hold out 6 of the 6 videos .*: set data.holdout"):
        held_out(root, 6)
    with pytest.raises(AnnotationError, match="cannot hold out 1 of the 1 videos .*: set data.val_split to the split"):
        held_out(write_data_set(tmp_path / "one", lengths=(3,)), 1)
    with pytest.raises(AnnotationError, match="there is no ground truth in .*valid.json"):
        held_out(root, 2, train_split="valid")
    with pytest.raises(FileNotFoundError, match="no list of video ids at .*gone.txt"):
        held_out(root, str(tmp_path / "gone.txt"))
    path = tmp_path / "ids.txt"
    path.write_text("1\nv2\n")
    with pytest.raises(AnnotationError, match="ids.txt is not a list of video ids"):
        held_out(root, str(path))
    path.write_text("# none yet\n")
    with pytest.raises(AnnotationError, match="ids.txt names no video"):
        held_out(root, str(path))
    path.write_text("1\n99\n98\n")
    with pytest.raises(AnnotationError, match=r"has no video 98 \(2 of 3 are not in it\)"):
        held_out(root, str(path))
    path.write_text("1\n", encoding="utf-16")
    with pytest.raises(AnnotationError, match="ids.txt is not text in UTF-8"):
        held_out(root, str(path))
    with pytest.raises(ValueError, match="nothing to validate on"):
        held_out(root, None, val_split=None)
    with pytest.raises(FileNotFoundError, match="split test"):
        held_out(root, None, val_split="test")


def test_a_missing_split_is_told_and_replaced(root, caplog):
    data = held_out(root, 2, val_split="test")
    assert [record.message for record in caplog.records] == [f"no split test in {root}: 2 training videos are held out"]
    assert len(data.held_out) == 2 and (root, "test") not in data.sources
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        held_out(root / "gone", 2)


def test_evaluation_needs_no_training_split(tmp_path):
    data = VISDataModule(str(write_data_set(tmp_path, split="valid")), workers=0)
    data.setup("validate")
    assert len(data.val_dataloader()) == 3 and data.ground_truth is not None


@pytest.mark.parametrize("options", [{"holdout": 2}, {"holdout": "ids.txt"}, {"only_videos": 1}])
def test_the_truth_is_that_of_the_same_videos_without_their_frames(options, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_ids([5, 2], tmp_path / "ids.txt")
    data = held_out(root, options.pop("holdout", 3), **options)
    shutil.rmtree(root / "train")
    for place in (root, root / "train.json"):
        alone = VISDataModule(str(place), holdout=data.holdout, **options, val_split=None)
        alone.choose_validation()
        assert alone.ground_truth == data.ground_truth and 0 < len(data.ground_truth["videos"]) < 6
