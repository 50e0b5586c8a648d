"""Which numbers are taken for those of a checkpoint."""

import os

import pytest

from compfeat.experiments.measurement import begin, measured_before


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    path.touch()
    os.utime(path, (0, 0))
    return path


def test_what_was_measured_in_another_way_is_measured_again(tmp_path, checkpoint):
    scores, cues = {"tracker": {"cues": None}}, {"tracker": {"cues": {"iou": 1.0}}}
    (tmp_path / "metrics.json").write_text('{"AP": 0.5}')
    assert measured_before(tmp_path, scores, checkpoint)  # of an earlier version, which wrote no more

    begin(tmp_path, scores)
    assert not measured_before(tmp_path, scores, checkpoint)  # interrupted
    (tmp_path / "metrics.json").write_text('{"AP": 0.5}')
    assert measured_before(tmp_path, scores, checkpoint)
    assert not measured_before(tmp_path, cues, checkpoint)

    os.utime(checkpoint)
    os.utime(tmp_path / "metrics.json", (0, 0))
    assert not measured_before(tmp_path, scores, checkpoint)  # of another checkpoint
    checkpoint.unlink()  # to save space
    assert measured_before(tmp_path, scores, checkpoint) and not measured_before(tmp_path, cues, checkpoint)


def test_of_what_is_measured_again_no_earlier_number_stays(tmp_path):
    for name in ("metrics.json", "breakdown.json", "results.json"):
        (tmp_path / name).touch()
    begin(tmp_path, {})
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "evaluation.json"}


def test_numbers_that_cannot_be_read_are_none(tmp_path, checkpoint):
    (tmp_path / "metrics.json").touch()
    assert not measured_before(tmp_path, {}, checkpoint)
