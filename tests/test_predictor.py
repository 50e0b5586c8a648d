import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from compfeat.predictor import CheckpointError, VideoPredictor
from compfeat.structures import Category, Detections
from compfeat.tracker import OnlineTracker


class OneObject(torch.nn.Module):
    """Finds one object in the left half of every frame, and remembers the sizes of the batches it was given."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.batches = []

    def detect(self, images, image_sizes):
        self.batches.append(len(images))
        return [
            Detections(
                boxes=torch.tensor([[0.0, 0.0, width / 2, float(height)]]),
                scores=torch.tensor([0.75]),
                labels=torch.tensor([2]),
                masks=torch.ones(1, 1, 28, 28),
                features=torch.ones(1, 2, 7, 7),
            )
            for height, width in image_sizes
        ]

    def match(self, detections, memory):
        return torch.tensor([[0.0] + [5.0] * len(memory)])


def predictor(**options):
    return VideoPredictor(OneObject(), OnlineTracker(), [Category(4, "cat"), Category(9, "dog")], (64, 32), **options)


def frames(count, height=48, width=96):
    return [np.full((height, width, 3), i, dtype=np.uint8) for i in range(count)]


def test_a_video_becomes_one_tube_in_the_pixels_of_its_frames():
    made = predictor(batch_size=2)
    (tube,) = made.predict(iter(frames(5)))
    assert made.detector.batches == [2, 2, 1]
    assert tube.frames == [0, 1, 2, 3, 4] and tube.labels == [2] * 5 and tube.score == pytest.approx(0.75)
    assert tube.boxes[3] == pytest.approx((0, 0, 48, 48))
    mask = rle.decode(tube.masks[3])
    assert mask.shape == (48, 96)
    assert mask[:, :47].mean() > 0.97 and mask[:, 50:].sum() == 0


def test_streaming_gives_the_same_as_the_whole_video():
    (tube,) = predictor().predict(frames(3))
    streamed = predictor()
    seen = [streamed.step(frame) for frame in frames(3)]
    assert [len(tubes) for tubes in seen] == [1, 1, 1]
    assert [tubes[0].frames[0] for tubes in seen] == tube.frames
    assert {tubes[0].track_id for tubes in seen} == {tube.track_id}
    assert [tubes[0].masks[0] for tubes in seen] == tube.masks


def test_each_video_starts_anew_and_an_empty_one_has_no_tubes():
    made = predictor()
    first = made.predict(frames(2))
    assert made.predict([]) == []
    again = made.predict(frames(2))
    assert [t.track_id for t in again] == [t.track_id for t in first] == [1]
    assert again[0].frames == [0, 1]


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*none.ckpt"):
        VideoPredictor.from_checkpoint(tmp_path / "none.ckpt")
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="other.ckpt is not a checkpoint written by train.py"):
        VideoPredictor.from_checkpoint(tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(CheckpointError, match="text.ckpt"):
        VideoPredictor.from_checkpoint(tmp_path / "text.ckpt")
