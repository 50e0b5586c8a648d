import os
import struct
import weakref
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from generated import write_photo_in_tiles
from PIL import Image

from compfeat.media.sinks import write_video
from compfeat.media.sources import VideoError, open_frames


def coloured(count, height=48, width=64):
    """Frame i is grey of value 10 * i, with a red upper left quarter."""
    for i in range(count):
        frame = np.full((height, width, 3), 10 * i, np.uint8)
        frame[: height // 2, : width // 2] = (255, 0, 0)
        yield frame


def test_a_written_video_reads_back_twice(tmp_path):
    path = tmp_path / "made" / "clip.mp4"
    write_video(path, coloured(8), fps=30000 / 1001)
    source = open_frames(path)
    assert (source.name, source.length, source.live) == ("clip", 8, False)
    assert source.fps == pytest.approx(30000 / 1001)
    for _ in range(2):
        frames = list(source)
        assert [f.shape for f in frames] == [(48, 64, 3)] * 8
        assert all(f.dtype == np.uint8 for f in frames)
        for got, want in zip(frames, coloured(8), strict=True):
            assert np.abs(got[:20, :28].astype(int) - want[:20, :28]).mean() < 6
            assert np.abs(got[28:, 36:].astype(int) - want[28:, 36:]).mean() < 6


def test_written_for_players(tmp_path):
    write_video(tmp_path / "odd.mp4", coloured(2, 47, 63), fps=10)
    assert next(iter(open_frames(tmp_path / "odd.mp4"))).shape == (48, 64, 3)
    content = (tmp_path / "odd.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(tmp_path / "odd.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert context.colorspace == Colorspace.ITU601  # named, so that nobody guesses


def test_a_failed_write_leaves_the_older_file_alone(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"older")

    def breaking():
        yield from coloured(3)
        raise RuntimeError("decoder died")

    with pytest.raises(RuntimeError, match="decoder died"):
        write_video(path, breaking(), fps=10)
    with pytest.raises(VideoError, match="no frames to write to .*clip.mp4"):
        write_video(path, [], fps=10)
    with pytest.raises(VideoError, match="differ in size"):
        write_video(path, [*coloured(1), *coloured(1, 50, 50)], fps=10)
    assert [f.name for f in tmp_path.iterdir()] == ["clip.mp4"]
    assert path.read_bytes() == b"older"


def test_no_frame_is_kept_once_it_is_written(tmp_path):
    written, most = [], 0

    def watched():
        nonlocal most
        for _ in range(30):
            frame = np.zeros((48, 64, 3), np.uint8)
            written.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in written))
            yield frame

    write_video(tmp_path / "clip.mp4", watched(), fps=10)
    assert len(written) == 30
    assert most <= 4


ORIENTATIONS = {  # by their number in EXIF: where x and y go to, and what is then seen of four quarters
    1: ((1, 0, 0, 1), "red green blue grey"),
    2: ((-1, 0, 0, 1), "green red grey blue"),
    3: ((-1, 0, 0, -1), "grey blue green red"),
    4: ((1, 0, 0, -1), "blue grey red green"),
    5: ((0, 1, 1, 0), "red blue green grey"),
    6: ((0, 1, -1, 0), "blue red grey green"),
    7: ((0, -1, -1, 0), "grey green blue red"),
    8: ((0, -1, 1, 0), "green grey red blue"),
}
QUARTERS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220), "grey": (120, 120, 120)}


def quarters(frame):
    """The names of the four colours, row by row."""
    height, width, _ = frame.shape
    middles = [frame[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return " ".join(min(QUARTERS, key=lambda name: np.abs(QUARTERS[name] - seen).sum()) for seen in middles)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_was_filmed_turned_or_mirrored_is_upright(orientation, tmp_path):
    path, picture = tmp_path / "phone.mp4", np.array(list(QUARTERS.values()), np.uint8).reshape(2, 2, 3)
    picture = picture.repeat(24, axis=0).repeat(32, axis=1)
    write_video(path, [picture], fps=10)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # in the track header, after 40 bytes of ids, times and reserved fields
    assert struct.unpack_from(">9i", content, matrix) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    (a, b, c, d), expected = ORIENTATIONS[orientation]
    struct.pack_into(">9i", content, matrix, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    for suffix in ("png", "webp", "tiff"):
        exif = Image.Exif()
        exif[0x112] = orientation
        Image.fromarray(picture).save(tmp_path / f"photo.{suffix}", exif=exif)
    for source in (path, *sorted(tmp_path.glob("photo.*"))):
        (frame,) = open_frames(source)
        assert frame.shape == ((48, 64, 3) if orientation < 5 else (64, 48, 3)) and quarters(frame) == expected
    write_video(tmp_path / "overlay.mp4", open_frames(path), fps=10)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        written = next(container.decode(video=0))
        assert (written.height, written.width, written.rotation) == (*frame.shape[:2], 0)


def test_where_a_frame_tells_what_pyav_does_not_know_it_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    moving = [Image.new("RGB", (64, 48), (index, 0, 0)) for index in (10, 20)]  # whose EXIF PyAV does not know
    moving[0].save(tmp_path / "a.png", save_all=True, append_images=moving[1:], exif=exif)
    assert next(iter(open_frames(tmp_path / "a.png"))).shape == (64, 48, 3)


def test_a_folder_of_videos_is_not_one_video(tmp_path):
    write_video(tmp_path / "a.mp4", coloured(3), fps=10)
    with pytest.raises(VideoError, match="no jpg or png images in .*: give a folder of one video's frames"):
        open_frames(tmp_path)


@pytest.mark.parametrize("suffix", ["m3u8", "ffconcat", "txt"])
def test_what_names_other_files_or_is_text_is_no_video(suffix, tmp_path):
    write_video(tmp_path / "private.mp4", coloured(3), fps=10)
    content = {
        "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nprivate.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat": "ffconcat version 1.0\nfile private.mp4\n",
        "txt": "milk and bread\n" * 30,
    }
    path = tmp_path / f"a.{suffix}"
    path.write_text(content[suffix])
    with pytest.raises(VideoError, match="cannot be read as a video: it is damaged, incomplete, or no video at all"):
        open_frames(path)


def test_a_folder_is_read_in_natural_order(tmp_path):
    for number in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 6, 3), (0, 0, number), np.uint8))
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._9.png").write_text("what a Mac puts beside it")
    (tmp_path / "x.jpg").mkdir()
    source = open_frames(str(tmp_path))
    assert (source.length, source.name, source.live) == (3, tmp_path.name, False)
    for _ in range(2):
        assert [f[0, 0].tolist() for f in source] == [[1, 0, 0], [9, 0, 0], [10, 0, 0]]
    cv2.imwrite(str(tmp_path / "11.png"), np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(VideoError, match="11.png has 6 x 5 pixels, those before it 6 x 4: a video has one size"):
        list(open_frames(tmp_path))


def test_a_camera_is_one_pass(monkeypatch, caplog):
    class Capture:
        def __init__(self, number):
            self.frames = iter([np.full((2, 2, 3), (0, 0, number), np.uint8)] * 2) if number < 2 else None

        def isOpened(self):
            return self.frames is not None

        def get(self, _):
            return 0.0

        def read(self):
            frame = next(self.frames, None)
            return frame is not None, frame

        def release(self):
            self.frames = iter(())

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    camera = open_frames("camera:1")
    assert (camera.length, camera.fps, camera.live) == (None, 30.0, True)
    assert [f[0, 0].tolist() for f in camera] == [[1, 0, 0]] * 2
    assert caplog.messages == ["camera:1 broke off: is it still plugged in?"]
    assert list(camera) == []
    ticks = iter([5.0, 5.5])
    monkeypatch.setattr("compfeat.media.live.time.monotonic", lambda: next(ticks))
    later = open_frames("camera:1", start=0.2, every=2)
    assert (len(list(later)), later.times, later.fps) == (1, [0.5], 15.0)
    with pytest.raises(VideoError, match="camera:2 does not answer"):
        open_frames("camera:2")
    with pytest.raises(VideoError, match="camera:front names no camera"):
        open_frames("camera:front")


def test_what_cannot_be_opened_is_named_in_one_line(tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise.mp4").write_bytes(b"not a video" * 100)
    (tmp_path / "torn.png").write_bytes(cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()[:40])
    names = {"gone.mp4": FileNotFoundError, "empty": VideoError, "noise.mp4": VideoError, "torn.png": VideoError}
    for name, error in names.items():
        with pytest.raises(error, match=name) as caught:
            open_frames(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(VideoError, match="camera:99 does not answer"):
        open_frames("camera:99")
    assert not capfd.readouterr().err


PICTURES = {  # encoder, pixel format, size
    "grey.mp4": ("libx264", "gray", (64, 48)),
    "grey-of-16-bits.mkv": ("ffv1", "gray16le", (64, 48)),
    "of-10-bits.mp4": ("libx264", "yuv420p10le", (64, 48)),
    "transparent.mov": ("qtrle", "argb", (64, 48)),
    "transparent.webm": ("libvpx-vp9", "yuva420p", (64, 48)),
    "odd.mp4": ("libx264", "yuv444p", (63, 47)),
    "odd.avi": ("rawvideo", "bgr24", (63, 47)),
    "portrait.mp4": ("libx264", "yuv420p", (48, 64)),
    "palette.gif": ("gif", "rgb8", (64, 48)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_all_kinds_become_rgb_of_their_size(name, tmp_path):
    encoder, pixels, (width, height) = PICTURES[name]
    if encoder not in av.codecs_available:
        pytest.skip(f"no encoder {encoder}")
    picture = np.full((height, width, 4), (200, 60, 20, 255), np.uint8)
    picture[: height // 2] = (20, 60, 200, 0 if "transparent" in name else 255)
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format=pixels)))
        container.mux(stream.encode())
    source = open_frames(tmp_path / name)
    frames = list(source)
    assert [(frame.shape, frame.dtype) for frame in frames] == [((height, width, 3), np.uint8)] * 3
    assert source.times == pytest.approx([0, 0.04, 0.08])
    expected = [(64, 64, 64), (97, 97, 97)] if "grey" in name else picture[[3, -3], 3, :3].astype(int)
    assert np.abs(frames[0][[3, -3], 3] - expected).max() < (40 if "gif" in name else 12)  # as opaque as the rest


@pytest.mark.parametrize(
    "image",
    [
        np.full((4, 6), 77, np.uint8),
        np.full((4, 6), 77 << 8, np.uint16),
        np.full((4, 6, 3), 77 << 8, np.uint16),
        np.full((4, 6, 4), (77, 77, 77, 0), np.uint8),
    ],
    ids=["grey", "grey of 16 bits", "16 bits", "transparent"],
)
def test_images_of_all_kinds_become_rgb(image, tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), image)
    (frame,) = open_frames(tmp_path)
    assert frame.dtype == np.uint8 and (frame == np.full((4, 6, 3), 77)).all()


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp", "bmp", "tiff"])
def test_a_lone_image_is_a_video_of_one_frame(suffix, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / f"photo.{suffix}"), picture)
    source = open_frames(tmp_path / f"photo.{suffix}")
    assert source.name == "photo" and [frame.shape for frame in source] == [(48, 64, 3)]


def test_an_image_that_is_cut_short_is_no_frame(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "0.jpg"), noise)
    cv2.imwrite(str(tmp_path / "1.jpg"), noise)
    os.truncate(tmp_path / "1.jpg", 1000)
    frames = iter(open_frames(tmp_path))
    next(frames)
    with pytest.raises(VideoError, match="1.jpg: it is broken or cut short"):
        next(frames)


def test_a_pattern_takes_the_images_that_match_in_natural_order(tmp_path):
    for name in ("a10.png", "a9.png", "b1.png"):
        cv2.imwrite(str(tmp_path / name), np.full((4, 6, 3), len(name), np.uint8))
    source = open_frames(f"{tmp_path}/a*.png")
    assert [frame[0, 0, 0] for frame in source] == [6, 7]
    assert (source.name, source.length) == (tmp_path.name, 2)
    with pytest.raises(FileNotFoundError, match="c\\*.png"):
        open_frames(f"{tmp_path}/c*.png")


def test_a_part_of_a_folder(tmp_path):
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 6, 3), number, np.uint8))
    source = open_frames(tmp_path, start=1, end=2.5, every=3)
    assert [frame[0, 0, 0] for frame in source] == [6, 9, 12]
    assert (source.length, source.fps) == (3, 2)
    assert source.times == [1, 1.5, 2]
    with pytest.raises(VideoError, match="holds no frames from 9 s on"):
        open_frames(tmp_path, start=9)


def test_the_picture_on_a_cover_is_no_video(tmp_path):
    cv2.imwrite(str(tmp_path / "cover.png"), np.zeros((16, 16, 3), np.uint8))
    with av.open(str(tmp_path / "song.mp3"), "w") as song, av.open(str(tmp_path / "cover.png")) as cover:
        sound = song.add_stream("libmp3lame", rate=44100, layout="mono")
        picture = song.add_stream_from_template(cover.streams.video[0])
        for packet in [packet for packet in cover.demux() if packet.size]:
            packet.stream = picture
            song.mux(packet)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.int16), format="s16", layout="mono")
        silence.rate = 44100
        song.mux([*sound.encode(silence), *sound.encode()])
    with pytest.raises(VideoError, match="song.mp3 cannot be read as a video: it has no video stream"):
        open_frames(tmp_path / "song.mp3")


@pytest.mark.parametrize("part", [{}, {"every": 2}])
def test_a_codec_that_nobody_knows_is_told(part, tmp_path):
    write_video(tmp_path / "a.mp4", coloured(3), fps=10)
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.mp4").read_bytes().replace(b"avc1", b"xyz1"))
    with pytest.raises(VideoError, match="a.mp4 cannot be read as a video: nobody here knows its codec; save it as"):
        open_frames(tmp_path / "a.mp4", **part)


def test_a_tile_is_not_taken_for_its_photo(tmp_path):
    with pytest.raises(VideoError, match=r"it is a photo in tiles \(HEIC\); save it as jpg or png"):
        open_frames(write_photo_in_tiles(tmp_path / "photo.heic"))


def test_real_footage(shared_data):
    source = open_frames(shared_data / "videos/dog.mp4")
    assert (source.name, source.length) == ("dog", 289)
    assert source.fps == pytest.approx(29.97, abs=0.01)
    assert next(iter(source)).shape == (720, 1280, 3)


@pytest.mark.parametrize("ratio, shape", [("2/1", (48, 128, 3)), ("1/2", (96, 64, 3)), ("100/1", (48, 64, 3))])
def test_pixels_that_are_not_square_become_so(ratio, shape, tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(ratio)
        for frame in coloured(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    for frame in open_frames(tmp_path / "a.mp4"):
        assert frame.shape == shape
        assert frame[: shape[0] // 2 - 3, : shape[1] // 2 - 3, 0].mean() > 200  # the red quarter
        assert frame[shape[0] // 2 + 3 :, :, 0].mean() < 60


def test_no_name_is_not_the_current_folder(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 6, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no video is named"):
        open_frames("")
    assert open_frames(".").length == 1


def test_a_name_that_is_not_in_utf8_is_told(tmp_path):
    name = str(tmp_path / "caf\udce9.png")
    Image.new("RGB", (6, 4)).save(name)
    for source in (name, tmp_path / "*.png"):
        with pytest.raises(
            ValueError, match=r"caf\\udce9.png' is not in UTF-8, as names of files must be here; rename"
        ):
            open_frames(source)


def test_a_moving_webp_is_told(tmp_path):
    moving = [Image.new("RGB", (64, 48), (index, 0, 0)) for index in (10, 200)]
    moving[0].save(tmp_path / "a.webp", save_all=True, append_images=moving[1:])
    with pytest.raises(VideoError, match="a.webp moves, and no webp that does can be read here; save it as gif or mp4"):
        open_frames(tmp_path / "a.webp")


def test_a_pattern_of_videos_is_told(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, coloured(1), fps=10)
    with pytest.raises(VideoError, match=r"a.mp4 is no image, as all must be that .*\*.mp4 matches; give one video"):
        open_frames(tmp_path / "*.mp4")


def test_a_pipe_is_told_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="pipe.mp4 is a pipe or a device, which cannot be read twice"):
        open_frames(tmp_path / "pipe.mp4")
    with pytest.raises(FileNotFoundError, match="no video at"):
        open_frames(tmp_path / "*.mp4")
