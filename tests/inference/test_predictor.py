import numpy as np
import pytest
import torch
from one_object import predictor

from compfeat.inference.predictor import FrameError
from compfeat.inference.support import SupportBank
from compfeat.inference.tracker import OnlineTracker
from compfeat.masks import decode_mask
from compfeat.media.scenes import SceneCuts
from compfeat.models.labels import HardLabels, SoftLabels


def frames(count, height=48, width=96):
    return [np.full((height, width, 3), i, dtype=np.uint8) for i in range(count)]


def test_a_video_becomes_one_tube_in_the_pixels_of_its_frames():
    made = predictor(batch_size=2)
    (tube,) = made.predict(iter(frames(5)))
    assert made.detector.extracted == [[0, 1], [2, 3], [4]]
    assert tube.frames == [0, 1, 2, 3, 4] and tube.label == 2 and tube.score == pytest.approx(0.75)
    assert tube.boxes[3] == pytest.approx((0, 0, 48, 48))
    mask = decode_mask(tube.masks[3])
    assert mask.shape == (48, 96)
    assert mask[1:47, 1:47].all() and mask[:, 50:].sum() == 0  # to within the half pixel that resampling fades
    (tube,) = made.predict(frames(1, height=31, width=97))  # seen as 20 x 64 pixels, whose ratio is another
    assert tube.boxes == [pytest.approx((0, 0, 48.5, 31))]


@pytest.mark.parametrize("uses_support", [False, True])
def test_frames_may_share_their_memory_and_be_views_of_it(uses_support):
    memory = np.zeros((32, 64, 3), np.uint8)

    def read(count):
        for i in range(count):
            memory[:] = i
            yield memory[..., ::-1]  # BGR, as OpenCV has it

    made = predictor(uses_support=uses_support, batch_size=2)
    (tube,) = made.predict(read(5))
    assert sorted(i for batch in made.detector.extracted for i in batch) == [0, 1, 2, 3, 4] and len(tube.frames) == 5


class DropsEverything(OnlineTracker):
    def update(self, detections, scores, time):
        return [None] * len(detections)


def test_what_the_tracker_drops_is_in_no_tube():
    made = predictor()
    made.tracker = DropsEverything()
    assert made.predict(frames(2)) == []


def test_streaming_gives_the_same_as_the_whole_video():
    (tube,) = predictor().predict(frames(3))
    streamed = predictor()
    seen = [streamed.step(frame) for frame in frames(3)]
    assert [len(tubes) for tubes in seen] == [1, 1, 1]
    assert [tubes[0].frames[0] for tubes in seen] == tube.frames
    assert {tubes[0].track_id for tubes in seen} == {tube.track_id}
    assert [tubes[0].masks[0] for tubes in seen] == tube.masks


@pytest.mark.parametrize("source", [frames(8), iter(frames(8))], ids=["list", "iterator"])
def test_support_frames_come_from_the_whole_video_and_no_frame_is_extracted_twice(source):
    made = predictor(uses_support=True, support=SupportBank(frames=4), batch_size=3)
    made.predict(source)
    support = [1, 3, 5, 7]
    assert made.detector.extracted == [[1, 3, 5], [7], [0, 2], [4], [6]]  # each frame once
    assert made.detector.seen == [([0, 1, 2], support), ([3, 4, 5], support), ([6, 7], support)]


def test_support_frames_of_a_long_video_come_from_a_window_of_it():
    made = predictor(uses_support=True, support=SupportBank(frames=2, window=4), batch_size=4)
    (tube,) = made.predict(frames(9))
    assert made.detector.seen == [([0, 1, 2, 3], [1, 3]), ([4, 5, 6, 7], [5, 7]), ([8], [5, 7])]
    assert tube.frames == list(range(9))


def test_a_window_shorter_than_the_bank_lends_its_own_frames():
    made = predictor(uses_support=True, support=SupportBank(frames=4, window=2), batch_size=2)
    made.predict(frames(5))
    assert made.detector.seen == [([0, 1], [0, 0, 1, 1]), ([2, 3], [2, 2, 3, 3]), ([4], [2, 2, 3, 3])]


def test_no_more_frames_are_read_than_are_looked_at():
    read = []

    def source():
        for index, frame in enumerate(frames(40)):
            read.append(index)
            yield frame

    seen = predictor(uses_support=True, support=SupportBank(frames=2, window=4), batch_size=2).track(source())
    for index in range(9):
        next(seen)
        assert len(read) <= index + 4 * 3 + 1  # the window that is looked at, one that is read, one that is begun


class CutBefore(SceneCuts):
    """Finds cuts where it is told to."""

    def __init__(self, *indices):
        super().__init__()
        self.indices = indices

    def begins(self, frame):
        return int(frame[0, 0, 0]) in self.indices


def test_nothing_goes_from_one_scene_to_the_next():
    made = predictor(uses_support=True, support=SupportBank(frames=2), batch_size=4, scenes=CutBefore(3, 5))
    tubes = made.predict(frames(8))
    assert made.detector.seen == [([0, 1, 2], [0, 2]), ([3, 4], [3, 4]), ([5, 6, 7], [5, 7])]
    assert [(t.track_id, t.frames) for t in tubes] == [(1, [0, 1, 2]), (2, [3, 4]), (3, [5, 6, 7])]


def test_nor_does_it_in_a_stream():
    made = predictor(uses_support=True, support=SupportBank(frames=2, interval=1), scenes=CutBefore(2))
    seen = [made.step(frame) for frame in frames(4)]
    assert [memory for _, memory in made.detector.seen] == [[0], [0], [2], [2]]
    assert [tubes[0].track_id for tubes in seen] == [1, 1, 2, 2]


def test_a_video_shorter_than_the_bank_repeats_frames():
    made = predictor(uses_support=True, support=SupportBank(frames=4))
    made.predict(frames(2))
    assert made.detector.extracted == [[0, 1]]
    assert made.detector.seen == [([0, 1], [0, 0, 1, 1])]
    assert made.predict([]) == []


@pytest.mark.parametrize("how", ["no look-ahead", "stream"])
def test_where_the_future_is_unknown_frames_see_only_those_before_them(how):
    bank = SupportBank(frames=2, interval=2, look_ahead=how != "no look-ahead")
    made = predictor(uses_support=True, support=bank, batch_size=3)
    if how == "stream":
        for frame in frames(7):
            made.step(frame)
    else:
        made.predict(frames(7))
    assert [memory for _, memory in made.detector.seen] == [[0], [0], [0], [0, 2], [0, 2], [2, 4], [2, 4]]
    assert [seen for seen, _ in made.detector.seen] == [[i] for i in range(7)]


def test_progress_counts_every_frame_once():
    advanced = []
    predictor(batch_size=2).predict(frames(5), advanced.append)
    assert advanced == [1] * 5


def test_each_video_starts_anew_and_an_empty_one_has_no_tubes():
    made = predictor()
    first = made.predict(frames(2))
    assert made.predict([]) == []
    again = made.predict(frames(2))
    assert [t.track_id for t in again] == [t.track_id for t in first] == [1]
    assert again[0].frames == [0, 1]


def odd(frame):
    """Frames that are not uint8 RGB arrays, by what is wrong with them."""
    return {
        "grey": frame[:, :, 0],
        "one channel": frame[:, :, :1],
        "RGBA": np.dstack([frame, frame[:, :, :1]]),
        "float": frame / np.float32(255),
        "a tensor": torch.from_numpy(frame),
        "planes first": np.ascontiguousarray(frame.transpose(2, 0, 1)),
        "a path": "frame.jpg",
    }


@pytest.mark.parametrize("what", odd(frames(1)[0]))
@pytest.mark.parametrize("uses_support", [False, True])
def test_a_frame_of_another_kind_is_named(what, uses_support):
    good = frames(3)
    with pytest.raises(FrameError, match=r"frame 1 is a .*must be a uint8 RGB array \[height, width, 3\]"):
        predictor(uses_support, support=SupportBank(frames=3)).predict([good[0], odd(good[1])[what], good[2]])
    with pytest.raises(FrameError, match="frame 0 is a"):
        predictor(uses_support).step(odd(good[0])[what])


@pytest.mark.parametrize("uses_support", [False, True])
def test_frames_of_one_video_are_of_one_size(uses_support):
    made = predictor(uses_support)
    mixed = [*frames(2), *frames(1, height=24, width=50)]
    with pytest.raises(FrameError, match="frame 2 has 50 x 24 pixels, but those of the same video have 96 x 48"):
        made.predict(mixed)
    made.reset()
    made.step(mixed[2])  # a new video may have another size
    with pytest.raises(FrameError, match="frame 1 has 96 x 48 pixels"):
        made.step(mixed[0])


def test_a_frame_without_pixels_is_named():
    with pytest.raises(FrameError, match="frame 0 has no pixels"):
        predictor().step(np.zeros((0, 8, 3), np.uint8))


def test_hard_labels_have_a_tube_vote_for_its_class():
    (soft,), (hard,) = (predictor(labels=labels).predict(frames(3)) for labels in (SoftLabels(), HardLabels()))
    assert soft.probabilities == pytest.approx([0.125, 0.75])
    assert hard.probabilities == pytest.approx([0.0, 0.75])
