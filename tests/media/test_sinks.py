"""That overlays keep the rate, the times and the sound of what they were drawn on."""

from fractions import Fraction

import av
import numpy as np
import pytest
from generated import write_clip

from compfeat.media.sinks import write_video
from compfeat.media.sources import VideoError, open_frames

SOUNDS = {  # encoder, and what becomes of it in an mp4
    "aac.mp4": ("aac", "aac"),
    "aac.ts": ("aac", "aac"),
    "mp3.avi": ("libmp3lame", "mp3"),
    "opus.mkv": ("libopus", "opus"),
    "flac.mkv": ("flac", "flac"),
    "ac3.mkv": ("ac3", "aac"),
    "pcm.mov": ("pcm_s16le", "aac"),
}
RATE = 48000


def write_beeps(path, encoder, seconds=4, rate=RATE, layout="stereo", options=None):
    """25 frames a second, white ones and short tones at 0.5, 1.5, 2.5 ... seconds."""
    if encoder not in av.codecs_available:
        pytest.skip(f"no encoder {encoder}")
    clock, channels = np.arange(seconds * rate) / rate, av.AudioLayout(layout).nb_channels
    tone = 0.8 * np.sin(2 * np.pi * 1000 * clock) * (np.abs(clock % 1 - 0.52) < 0.02)
    samples = (tone * 32767).astype(np.int16).repeat(channels)[None]  # the same left and right
    with av.open(str(path), "w", options=options or {}) as container:
        video = container.add_stream("libx264", rate=25, options={"x264-params": "keyint=25"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(encoder, rate=rate, layout=layout)
        for i in range(25 * seconds):
            image = np.full((48, 64, 3), 255 * (i % 25 == 13), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
            piece = np.ascontiguousarray(samples[:, i * rate // 25 * channels : (i + 1) * rate // 25 * channels])
            heard = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
            heard.rate, heard.pts, heard.time_base = rate, i * rate // 25, Fraction(1, rate)
            container.mux(sound.encode(heard))
        container.mux([*video.encode(), *sound.encode()])
    return path


def beeps(path):
    """When tones begin, in seconds, when the sound ends, and by what codec it is written."""
    began, last = [], -1.0
    with av.open(str(path)) as container:
        (stream,) = container.streams.audio
        for frame in container.decode(stream):
            left = frame.to_ndarray().astype(float)[0, :: 1 if frame.format.is_planar else 2]
            loud = np.abs(left) > 0.2 * (32767 if frame.format.name.startswith("s16") else 1)
            for time in frame.time + np.flatnonzero(loud) / frame.sample_rate:
                if time > last + 0.2:
                    began.append(time)
                last = time
        return began, frame.time + frame.samples / frame.sample_rate, stream.codec_context.codec.canonical_name


def stream_of(path):
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        return stream.average_rate, stream.frames, float(stream.duration * stream.time_base)


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_stays_with_its_frames(name, tmp_path):
    encoder, codec = SOUNDS[name]
    path = write_beeps(tmp_path / name, encoder)
    for start, end, every, expected in [(None, None, 1, [0.5, 1.5, 2.5, 3.5]), (1.24, 3.2, 2, [0.26, 1.26])]:
        source = open_frames(path, start, end, every)
        write_video(tmp_path / "out.mp4", source, source.fps, source.times, source.sound)
        began, ended, written = beeps(tmp_path / "out.mp4")
        assert began == pytest.approx(expected, abs=0.03)
        assert written == codec
        seconds = stream_of(tmp_path / "out.mp4")[2]
        assert seconds == pytest.approx((end or 4) - (start or 0), abs=0.05)
        assert ended == pytest.approx(seconds, abs=0.1)
        assert len(list(open_frames(tmp_path / "out.mp4"))) == len(source.times)


def test_without_sound_there_is_none(tmp_path):
    source = open_frames(write_clip(tmp_path / "a.mp4"))
    assert source.sound is None
    write_video(tmp_path / "out.mp4", source, source.fps, source.times, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    (tmp_path / "text.mp4").write_text("no sound")
    with pytest.raises(VideoError, match="the sound of .*text.mp4 cannot be read"):
        write_video(tmp_path / "out.mp4", source, source.fps, source.times, tmp_path / "text.mp4")


def test_sound_that_breaks_off_does_not_take_the_frames_along(tmp_path):
    path = write_beeps(tmp_path / "a.mkv", "ac3")
    source = open_frames(path)
    frames = list(source)
    content = path.read_bytes()
    (tmp_path / "torn.mkv").write_bytes(content[: len(content) // 2])
    write_video(tmp_path / "out.mp4", frames, source.fps, source.times, tmp_path / "torn.mkv")
    assert len(list(open_frames(tmp_path / "out.mp4"))) == 100
    began, ended, _ = beeps(tmp_path / "out.mp4")
    assert began[0] == pytest.approx(0.5, abs=0.03) and 1 < ended < 3


def with_sound(path):
    """A copy with its sound, of frames that are all there."""
    copy, source = path.with_name("out.mp4"), open_frames(path)
    write_video(copy, source, source.fps, source.times, source.sound)
    assert len(list(open_frames(copy))) == len(source.times) > 0
    return copy


def test_sound_of_a_codec_that_nobody_knows_is_left_out(tmp_path):
    path = write_beeps(tmp_path / "a.mp4", "aac", seconds=1)
    content = bytearray(path.read_bytes().replace(b"mp4a", b"xyza"))
    content[content.index(b"\x04\x80\x80\x80", content.index(b"esds")) + 5] = 0xC5  # the kind of its objects
    path.write_bytes(content)
    with av.open(str(with_sound(path))) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_sound_that_goes_on_in_another_layout_does_so(tmp_path):
    parts = [
        write_beeps(tmp_path / f"{layout}.ts", "ac3", 2, layout=layout, options={"output_ts_offset": str(offset)})
        for layout, offset in [("stereo", 10), ("5.1", 12)]
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert beeps(with_sound(path))[0] == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.03)


def test_mp3_of_fewer_samples_than_mp4_holds_is_encoded(tmp_path):
    path = write_beeps(tmp_path / "a.avi", "libmp3lame", rate=11025)
    began, _, codec = beeps(with_sound(path))
    assert began == pytest.approx(beeps(path)[0], abs=0.03) and codec == "aac" and len(began) == 4


def test_a_damaged_packet_of_sound_is_left_out(tmp_path, caplog):
    path = write_beeps(tmp_path / "a.ts", "aac")
    content = bytearray(path.read_bytes())
    headers = [at for at in range(len(content)) if content[at : at + 2] == b"\xff\xf1"]
    content[headers[len(headers) // 2]] = 0
    path.write_bytes(content)
    assert beeps(with_sound(path))[0] == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.03)
    assert f"the sound of {path} is damaged: 1 of its packets are left out" in caplog.messages


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(25, 2)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])  # the latter rounds times to milliseconds
def test_a_steady_rate_stays_to_the_last_digit(name, rate, tmp_path):
    write_video(tmp_path / "made.mp4", (np.zeros((48, 64, 3), np.uint8) for _ in range(50)), float(rate))
    assert stream_of(tmp_path / "made.mp4") == (rate, 50, pytest.approx(float(50 / rate)))
    with av.open(str(tmp_path / "made.mp4")) as made, av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream_from_template(made.streams.video[0])
        for packet in [packet for packet in made.demux() if packet.size]:
            packet.stream = stream
            container.mux(packet)
    source = open_frames(tmp_path / name)
    write_video(tmp_path / "out.mp4", source, source.fps, source.times)
    assert stream_of(tmp_path / "out.mp4") == (rate, 50, pytest.approx(float(50 / rate)))


def test_a_rate_that_varies_stays_as_it_is(tmp_path):
    source = open_frames(write_clip(tmp_path / "a.mkv", count=30, gaps=(20, 100, 60)))
    write_video(tmp_path / "out.mp4", source, source.fps, source.times)
    written = open_frames(tmp_path / "out.mp4")
    for got, expected in zip(written, source, strict=True):
        assert np.abs(got.astype(int) - expected).mean() < 8
    assert written.times == pytest.approx([time - source.times[0] for time in source.times], abs=0.0011)


def test_times_that_do_not_ascend_are_spread(tmp_path):
    frames = [np.zeros((48, 64, 3), np.uint8)] * 4
    write_video(tmp_path / "out.mp4", frames, 10, times=[3.0, 3.0, 2.5, 4.0])
    assert len(list(open_frames(tmp_path / "out.mp4"))) == 4


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_beeps("a.mp4", "aac", seconds=1)
    (tmp_path / "a.mp4").rename(tmp_path / "a:b.mp4")
    source = open_frames("a:b.mp4")
    write_video("c:d/e:f.mp4", source, source.fps, source.times, source.sound)
    assert beeps(tmp_path / "c:d" / "e:f.mp4")[0] == pytest.approx([0.5], abs=0.03)


def test_however_rare_frames_are_they_are_written(tmp_path):
    frames = [np.zeros((48, 64, 3), np.uint8)] * 3
    write_video(tmp_path / "out.mp4", frames, fps=25 / 100_000, times=[0.0, 4000.0, 8000.0])
    assert open_frames(tmp_path / "out.mp4").length == 3


def test_what_h264_does_not_take_is_told(tmp_path):
    told = r"out.mp4 cannot be written: frames of 16386 x 2 pixels .* write=\[tracks,masks\] needs no video"
    with pytest.raises(VideoError, match=told):
        write_video(tmp_path / "out.mp4", [np.zeros((2, 16_386, 3), np.uint8)], fps=10)
    assert not list(tmp_path.iterdir())


def test_text_in_a_file_that_is_not_in_utf8_is_no_fault(tmp_path):
    path = write_beeps(tmp_path / "a.mkv", "libopus", seconds=1)
    path.write_bytes(path.read_bytes().replace(b"Lavf", "Lävf".encode("latin-1")))
    assert beeps(with_sound(path))[0] == pytest.approx([0.5], abs=0.03)


def test_a_track_of_sound_in_which_nothing_comes_is_left_out(tmp_path):
    path = tmp_path / "muted.ts"
    with av.open(str(write_clip(tmp_path / "a.mp4"))) as source, av.open(str(path), "w") as container:
        video = container.add_stream_from_template(source.streams.video[0])
        container.add_stream("aac", rate=RATE, layout="stereo")
        for packet in [packet for packet in source.demux(video=0) if packet.size]:
            packet.stream = video
            container.mux(packet)
    with av.open(str(with_sound(path))) as container:
        assert [stream.type for stream in container.streams] == ["video"]
