"""That videos which are shared out among processes have the tubes that one process finds."""

from functools import partial

import numpy as np
import processes
import pytest
import torch
import untrained

from compfeat.commands.loading import find_devices
from compfeat.inference.predictor import FrameError, VideoPredictor
from compfeat.inference.shares import predict_in_shares

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    content = untrained.checkpoint()
    content["state_dict"]["detector.roi_heads.box_predictor.cls_score.bias"][1] = 5.0  # sure of every box
    torch.save(content, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


def test_two_processes_find_what_one_does(checkpoint):
    rng = np.random.default_rng(0)
    videos = [[rng.integers(0, 256, (32, 64, 3), np.uint8) for _ in range(length)] for length in (3, 1, 2)]
    make = partial(VideoPredictor.from_checkpoint, checkpoint)
    alone = list(map(make(CPU).predict, videos))
    shared = list(predict_in_shares(make, videos, [CPU, CPU]))
    assert sum(map(len, alone)) > 0
    for expected, found in zip(alone, shared, strict=True):
        assert [(t.track_id, t.frames) for t in found] == [(t.track_id, t.frames) for t in expected]
        for a, b in zip(expected, found, strict=True):
            assert np.allclose(a.boxes, b.boxes, atol=1e-2)


def test_what_goes_wrong_in_a_process_is_told(checkpoint):
    make = partial(VideoPredictor.from_checkpoint, checkpoint)
    with pytest.raises(FrameError, match="frame 0 is a float64"):
        list(predict_in_shares(make, [[np.zeros((32, 64, 3))]], [CPU, CPU]))
    with pytest.raises(MemoryError, match="fewer devices"):
        list(predict_in_shares(processes.end, [[]], [CPU, CPU]))


def test_as_many_devices_as_are_wanted_and_no_more_than_there_are(monkeypatch):
    assert find_devices("cpu", None) == [CPU]
    assert find_devices("cpu", 3) == [CPU] * 3
    gpus = [torch.device("cuda", index) for index in range(2)]
    monkeypatch.setattr("compfeat.commands.loading.find_device", torch.device)
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 2)
    assert find_devices("cuda", None) == gpus
    assert find_devices("cuda", 1) == gpus[:1]
    assert find_devices("cuda:1", None) == gpus[1:]
    with pytest.raises(ValueError, match="devices=3"):
        find_devices("cuda", 3)
    with pytest.raises(ValueError, match="device=cuda:1 is 1"):
        find_devices("cuda:1", 2)
