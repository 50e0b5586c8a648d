"""That the frames of a part, found by seeking, are those that decoding the whole file gives, to the last bit."""

import struct

import av
import numpy as np
import pytest
from generated import write_clip
from hypothesis import given, settings
from hypothesis import strategies as st

from compfeat.media.decoding import decode
from compfeat.media.seeking import Keyframe, Timetable
from compfeat.media.sources import VideoError, open_frames

FORMATS = {  # encoder, what it is asked for
    "h264.mp4": ("libx264", {}),
    "h264.mkv": ("libx264", {}),
    "open-gop.mp4": ("libx264", {"x264-params": "open-gop=1:scenecut=0"}),
    "intra-refresh.mkv": ("libx264", {"x264-params": "intra-refresh=1"}),
    "open-gop-h265.mkv": ("libx265", {"x265-params": "open-gop=1:log-level=0"}),
    "vp9.webm": ("libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "realtime"}),
    "mpeg4.mkv": ("mpeg4", {}),
    "mpeg4.avi": ("mpeg4", {}),
    "h264.avi": ("libx264", {}),
    "h264.ts": ("libx264", {}),
    "moving.gif": ("gif", {}),
}
SOUGHT = {name for name in FORMATS if name.endswith((".mp4", ".mkv", ".webm"))}
SOUGHT -= {"intra-refresh.mkv"}  # packets are told to be keyframes, but only those after them are shown


def require_same(path):
    """Each frame alone, and some at once, are those of the whole file, as are their times; returns the frames."""
    whole = open_frames(path)
    frames = list(whole)
    assert len(whole.times) == len(frames)
    n = len(frames)
    some = [
        range(n // 5, n),
        range(0, n, 3),
        range(0, n, 17),
        range(0, (n + 1) // 2, 2),
        range(n // 3, n, 2),
        range(n)[-3:],
    ]
    for chosen in [*(range(i, i + 1) for i in range(n)), *some]:
        end = whole.times[chosen.stop] if chosen.stop < n else None
        part = open_frames(path, start=whole.times[chosen.start] or None, end=end, every=chosen.step)
        for got, i in zip(part, chosen, strict=True):
            assert np.array_equal(got, frames[i])
        assert part.times == [whole.times[i] for i in chosen]
    return frames


@pytest.mark.parametrize("name", FORMATS)
def test_frames_are_found_by_seeking_in_all_formats(name, tmp_path, decoded):
    encoder, options = FORMATS[name]
    path = write_clip(tmp_path / name, encoder=encoder, options=options)
    assert len(require_same(path)) == 40
    part = open_frames(path, start=1.5, end=1.53)  # frame 38
    decoded[0] = 0
    assert len(list(part)) == 1
    assert decoded[0] <= 12 if name in SOUGHT else decoded[0] >= 39  # a keyframe comes every 12 frames or sooner


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(["a.mp4", "a.mkv"]),
    count=st.integers(1, 30),
    gop=st.integers(1, 30),
    b_frames=st.integers(0, 4),
    gaps=st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
def test_frames_are_found_whatever_their_order_and_times(name, count, gop, b_frames, gaps, tmp_path_factory):
    require_same(write_clip(tmp_path_factory.mktemp("video") / name, count, gop, b_frames, gaps))


@pytest.mark.parametrize("name", FORMATS)
def test_a_part_is_told_in_seconds_in_all_formats(name, tmp_path):
    encoder, options = FORMATS[name]
    path = write_clip(tmp_path / name, encoder=encoder, options=options)
    whole = open_frames(path)
    frames = list(whole)
    assert whole.times == pytest.approx([i * 0.04 for i in range(40)], abs=0.002)
    for start, end, every in [(0.5, 1.1, 1), (None, 0.9, 2), (0.3, None, 15)]:
        part = open_frames(path, start=start, end=end, every=every)
        expected = [i for i, time in enumerate(whole.times) if (start or 0) <= time < (end or 9)][::every]
        assert all(np.array_equal(got, frames[i]) for got, i in zip(part, expected, strict=True))
        assert part.times == [whole.times[i] for i in expected]
        assert part.fps == whole.fps / every
        assert part.length in (len(expected), None)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_times_are_those_stated_not_those_of_a_steady_rate(name, tmp_path):
    source = open_frames(write_clip(tmp_path / name, count=9, gaps=(20, 100, 60)))
    for _ in source:
        assert source.times  # the time of a frame is there with it
    assert source.times == pytest.approx([0, 0.02, 0.12, 0.18, 0.2, 0.3, 0.36, 0.38, 0.48], abs=0.002)
    assert len(list(open_frames(source.path, start=0.19, end=0.37))) == 3


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_part_is_sought(name, tmp_path, decoded):
    path = write_clip(tmp_path / name, count=100, gop=10, options={"x264-params": "scenecut=0"})
    part = open_frames(path, start=2.52, end=3.04)  # frames 63 to 75
    decoded[0] = 0
    assert (len(list(part)), part.length, decoded[0]) == (13, 13, 16)
    few = open_frames(path, every=33)
    decoded[0] = 0
    assert (len(list(few)), decoded[0]) == (4, 1 + 4 + 7 + 10)
    near = open_frames(path, every=4)  # so near that it is faster to decode what is between
    decoded[0] = 0
    assert (len(list(near)), decoded[0]) == (25, 97)


def test_a_part_that_is_not_there_is_named(tmp_path):
    for path in (write_clip(tmp_path / "a.mp4"), write_clip(tmp_path / "a.avi")):
        with pytest.raises(VideoError, match="holds no frames from 5 s to 6 s"):
            open_frames(path, start=5, end=6)
        with pytest.raises(VideoError, match="end=1: must be after the start, at 2 seconds"):
            open_frames(path, start=2, end=1)
        with pytest.raises(VideoError, match="every=0: must be 1"):
            open_frames(path, every=0)


def test_a_wrong_number_of_frames_is_not_believed(tmp_path):
    content = bytearray(write_clip(tmp_path / "a.avi").read_bytes())
    struct.pack_into("<I", content, content.index(b"strh") + 40, 7000)
    (tmp_path / "a.avi").write_bytes(content)
    assert open_frames(tmp_path / "a.avi").length == 7000
    assert len(require_same(tmp_path / "a.avi")) == 40


@pytest.mark.parametrize("name, muxer", [("torn.mp4", {"movflags": "faststart"}), ("torn.mkv", {})])
def test_a_torn_file_is_read_up_to_there_and_said_so_once(name, muxer, tmp_path, caplog):
    content = write_clip(tmp_path / name, count=100, muxer=muxer).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    source = open_frames(tmp_path / name)
    count = len(list(source))
    assert 20 < count < 70
    list(source)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / name} ends after {count / 25:.1f} s, though it states 4.0 s: is it complete?"
    ]
    assert len(list(open_frames(tmp_path / name, end=0.8))) == 20
    assert len(caplog.records) == 1
    assert len(require_same(tmp_path / name)) == count


def test_what_an_edit_list_cuts_off_does_not_count(tmp_path):
    content = bytearray(write_clip(tmp_path / "whole.mp4").read_bytes())
    entry = content.index(b"elst") + 12  # after version, flags and the number of entries: duration and start
    duration, start = struct.unpack_from(">Ii", content, entry)
    whole = list(open_frames(tmp_path / "whole.mp4"))
    for name, kept, began in [("head.mp4", 23, 17), ("tail.mp4", 20, 0)]:
        struct.pack_into(">Ii", content, entry, duration * kept // 40, start + 640 * began)
        (tmp_path / name).write_bytes(content)
        assert open_frames(tmp_path / name).length == 40  # it still states the length of the whole
        frames = require_same(tmp_path / name)
        assert len(frames) == kept
        assert (frames[3] == whole[began + 3]).all()


def test_a_file_that_lacks_its_end_or_its_first_keyframe(tmp_path):
    content = write_clip(tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "torn.mkv").write_bytes(content[: len(content) * 3 // 4])
    assert 20 < len(require_same(tmp_path / "torn.mkv")) < 40
    write_clip(tmp_path / "open-gop.mkv", options={"x264-params": "open-gop=1:scenecut=0"})
    for name, cut in [("whole.mkv", 5), ("open-gop.mkv", 11)]:  # 11: a keyframe, then what is shown before it
        with av.open(str(tmp_path / name)) as whole, av.open(str(tmp_path / "headless.mkv"), "w") as container:
            stream = container.add_stream_from_template(whole.streams.video[0])
            packets = [packet for packet in whole.demux(video=0) if packet.size][cut:]
            assert packets[0].is_keyframe == (name == "open-gop.mkv")
            for packet in packets:
                packet.stream = stream
                container.mux(packet)
        assert 0 < len(require_same(tmp_path / "headless.mkv")) < len(packets)


def test_found_frames_are_turned_upright(tmp_path):
    content = bytearray(write_clip(tmp_path / "phone.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 44
    struct.pack_into(">9i", content, matrix, 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    (tmp_path / "phone.mp4").write_bytes(content)
    assert require_same(tmp_path / "phone.mp4")[20].shape == (64, 48, 3)


@pytest.mark.parametrize("wrong", ["late", "too many", "no such keyframe"])
def test_where_packets_promised_other_frames_the_whole_file_is_decoded(wrong, tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4")
    frames = list(open_frames(path))
    with av.open(str(path)) as container:
        read = Timetable.read(container)
    told = {
        "late": Timetable([time + 1 for time in read.times], read.keyframes),
        "too many": Timetable([*read.times, 10**6], read.keyframes),
        "no such keyframe": Timetable(read.times, [Keyframe(-(10**6), -(10**6))]),
    }[wrong]
    monkeypatch.setattr(Timetable, "read", lambda container: told)
    assert np.array_equal(require_same(path), frames)


def test_a_broken_file_is_named(tmp_path, caplog):
    content = bytearray(write_clip(tmp_path / "a.mp4").read_bytes())
    start = content.index(b"mdat") + 1500
    content[start : start + 400] = np.random.default_rng(0).bytes(400)
    (tmp_path / "broken.mp4").write_bytes(content)
    for part, least in [({}, 30), ({"start": 0}, 30), ({"start": 0.2, "every": 2}, 12)]:
        caplog.clear()
        assert least < len(list(open_frames(tmp_path / "broken.mp4", **part))) < 40
        assert ["broken.mp4 is damaged" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_of_a_damaged_file_all_else_is_read_and_it_is_said_once(name, tmp_path, caplog):
    path = write_clip(tmp_path / name, count=100, gop=10, b_frames=0, options={"crf": "10"})
    whole = open_frames(path)
    frames = list(whole)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = bytes(list(container.demux(video=0))[42])
    at = content.index(packet)
    content[at : at + len(packet)] = bytes(len(packet))
    path.write_bytes(content)
    source = open_frames(path)
    assert len(list(source)) == len(list(source)) == 99 and len(frames) == 100
    missing = set(np.round(whole.times, 3)) - set(np.round(source.times, 3))
    assert missing == {round(whole.times[42], 3)}
    assert [record.message for record in caplog.records] == [
        f"{path} is damaged: 1 of its frames cannot be decoded, and are left out"
    ]
    assert len(list(open_frames(path, start=1.2, end=2.0))) == 19


def test_a_file_of_which_nothing_can_be_decoded_is_damaged(tmp_path):
    path = write_clip(tmp_path / "a.mp4", count=10, muxer={"movflags": "faststart"})
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start:] = bytes(len(content) - start)
    path.write_bytes(content)
    with pytest.raises(VideoError, match="a.mp4 cannot be read as a video: it is damaged"):
        open_frames(path)


def test_a_stream_that_begins_in_the_middle_of_a_file_is_no_fault_of_the_others(tmp_path):
    def stumbling(packets):  # as PyAV does then, but only by chance
        yield from packets
        raise IndexError("list index out of range")

    with av.open(str(write_clip(tmp_path / "a.flv", encoder="flv", b_frames=0))) as container:
        assert len(list(decode(stumbling(container.demux(video=0))))) == 40
