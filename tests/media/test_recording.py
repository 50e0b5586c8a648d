import threading

import numpy as np
import pytest
from generated import write_clip

from compfeat.media.recording import recorded
from compfeat.media.sources import VideoError, open_frames


def test_frames_are_recorded_as_they_are_asked_for(tmp_path):
    source = open_frames(write_clip(tmp_path / "a.mkv", count=30, gaps=(20, 100, 60)))
    with recorded(source, tmp_path / "out" / "video.mp4", lambda: len(source.times)) as frames:
        passed = list(frames)
    written = open_frames(tmp_path / "out" / "video.mp4")
    for got, expected in zip(written, passed, strict=True):
        assert np.abs(got.astype(int) - expected).mean() < 8
    assert written.times == pytest.approx(source.times, abs=0.0011)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("kept", [0, 1, 7])
def test_of_what_was_asked_for_until_an_error_as_much_stays_as_is_kept(kept, error, tmp_path):
    source = open_frames(write_clip(tmp_path / "a.mp4"))
    with pytest.raises(error), recorded(source, tmp_path / "video.mp4", lambda: kept) as frames:
        for _, _ in zip(range(12), frames, strict=False):
            pass
        raise error
    if kept:
        assert open_frames(tmp_path / "video.mp4").length == len(list(open_frames(tmp_path / "video.mp4"))) == kept
    else:
        assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("recording")]


def test_an_error_of_the_source_is_told_not_that_there_was_nothing_to_record(tmp_path):
    source = open_frames(write_clip(tmp_path / "a.mp4"))
    (tmp_path / "a.mp4").write_text("overwritten")
    with (
        pytest.raises(VideoError, match="a.mp4 cannot be read"),
        recorded(source, tmp_path / "video.mp4", lambda: 9) as frames,
    ):
        list(frames)
    assert not (tmp_path / "video.mp4").exists()


def test_that_nothing_can_be_written_ends_the_video(tmp_path):
    (tmp_path / "file").write_text("no folder")
    source = open_frames(write_clip(tmp_path / "a.mp4"))
    asked = []
    with pytest.raises(FileExistsError), recorded(source, tmp_path / "file" / "video.mp4", lambda: 9) as frames:
        asked.extend(frames)
    assert len(asked) < 40
