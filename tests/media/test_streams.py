"""Videos that come over the network."""

import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server

import pytest
from generated import write_clip, write_clip_of_two_sizes

from compfeat.media import live
from compfeat.media.sources import VideoError, open_frames


@contextmanager
def served(content, stated_length=None, seconds=0):
    """The host of a file; or of a stream of so many seconds, as fast as it is to be shown, whose size is not told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            if not seconds:
                self.send_header("Content-Length", str(stated_length or len(content)))
            self.end_headers()
            pieces = max(1, 20 * seconds)
            with suppress(OSError):  # nobody listens any longer
                for i in range(pieces):
                    self.wfile.write(content[i * len(content) // pieces : (i + 1) * len(content) // pieces])
                    time.sleep(seconds / pieces)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_stream_is_one_pass_and_keeps_its_password(tmp_path, caplog):
    content = write_clip(tmp_path / "clip.mkv").read_bytes()
    frames = list(open_frames(tmp_path / "clip.mkv"))
    with served(content) as host:
        stream = open_frames(f"http://me:secret@{host}/live/clip.mkv?token=1", start=0.2, end=1, every=2)
        assert (stream.name, stream.fps, stream.length, stream.sound) == ("clip", 12.5, None, None)
        assert stream.live
        for got, expected in zip(stream, frames[5:25:2], strict=True):
            assert (got == expected).all()
        assert stream.times == pytest.approx([0.2 + 0.08 * i for i in range(10)], abs=0.002)
        assert list(stream) == []
    with pytest.raises(VideoError) as caught:
        open_frames(f"http://me:secret@{host}/live/clip.mkv")
    assert str(caught.value) == f"http://{host}/live/clip.mkv cannot be read as a video: Connection refused"
    assert not caplog.records


def test_a_stream_that_breaks_off_ends(tmp_path, caplog):
    content = write_clip(tmp_path / "clip.ts", count=100).read_bytes()
    with served(content[: len(content) // 2], stated_length=len(content)) as host:
        assert 20 < len(list(open_frames(f"http://{host}/clip.ts"))) < 70
    assert [record.message for record in caplog.records] == [f"http://{host}/clip.ts broke off: Input/output error"]


def test_who_is_slow_sees_what_is_new_of_a_stream(tmp_path):
    path = write_clip(tmp_path / "clip.ts", count=200, b_frames=0)
    frames = list(open_frames(path))
    with served(path.read_bytes(), seconds=8) as host:
        stream = open_frames(f"http://{host}/clip.ts")
        began = time.monotonic()
        for frame in stream:
            assert (frame == frames[round(25 * stream.times[-1])]).all()
            if time.monotonic() > began + 4:
                break
            time.sleep(0.2)
    assert stream.times[-1] > 3  # all frames that came before it would have taken half a minute
    assert len(stream.times) < 25


def test_a_size_that_changes_is_told_of_files_and_streams(tmp_path):
    path = write_clip_of_two_sizes(tmp_path)
    with served(path.read_bytes()) as host:
        for source in (str(path), f"http://{host}/two.ts"):
            shapes = []
            with pytest.raises(VideoError, match=f"s of {source} has 96 x 80 pixels, those before it 64 x 48"):
                shapes.extend(frame.shape for frame in open_frames(source))
            assert len(shapes) >= 8 and set(shapes) == {(48, 64, 3)}


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_nobody_waits_for_ever_for_a_stream(scheme, monkeypatch):
    monkeypatch.setattr(live, "TIMEOUT", 0.5)
    with create_server(("127.0.0.1", 0)) as silent:
        address = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/live"
        with pytest.raises(VideoError, match=f"{address} cannot be read as a video: no answer for 0.5 s"):
            open_frames(address)
