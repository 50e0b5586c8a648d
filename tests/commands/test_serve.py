"""The page into which videos are dropped: in a browser, from a server as a user starts it."""

import asyncio
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from threading import Event, Thread
from types import SimpleNamespace
from urllib.request import Request, urlopen
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from shell import ROOT
from untrained import checkpoint

from compfeat.commands.finder import Finder, Visit
from compfeat.commands.serve import listening, serve
from compfeat.inference.predictor import VideoPredictor
from compfeat.media.sinks import write_video

gradio = pytest.importorskip("gradio")
FRAMES, LONGEST = 12, 3
WATCHED = """
import sys

def asks_a_network(event, arguments):
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "127.0.0.1", "localhost"):
        print("asked for", arguments[0], file=sys.stderr)

sys.addaudithook(asks_a_network)
"""


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "last.ckpt"
    torch.manual_seed(0)
    torch.save(checkpoint(), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A video, and what is none, or too long or too large for the server, or lacks its end."""
    folder = tmp_path_factory.mktemp("files")

    def write(name, count, noise=0):
        rng = np.random.default_rng(0)
        pictures = []
        for i in range(count):
            picture = rng.integers(90 - noise, 91 + noise, (72, 128, 3), dtype=np.uint8)
            picture[20:50, 10 + 4 * i % 90 : 40 + 4 * i % 90] = (220, 60, 40)
            pictures.append(picture)
        write_video(folder / name, pictures, 6)

    write("a <b> #1.mp4", FRAMES)
    write("long.mp4", LONGEST * 6 + 1)
    write("whole.mp4", LONGEST * 6, noise=60)
    content = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    (folder / "notes.mp4").write_text("milk, bread, and no video")
    (folder / "large.mp4").write_bytes(bytes(1_200_000))
    return folder


@pytest.fixture(scope="module")
def server(ckpt, tmp_path_factory):
    """The address of one that finds all there is; it leaves nothing behind, and has asked no network for anything."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "sitecustomize.py").write_text(WATCHED)
    (folder / "temporary").mkdir()
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    limits = [f"seconds={LONGEST}", "megabytes=1"]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, ROOT / "scripts/serve.py", f"ckpt={ckpt}", "port=0", "score=0", *limits],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path, "TMPDIR": str(folder / "temporary"), "OMP_NUM_THREADS": "1"},
        )
        address = re.match(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        yield address[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert list((folder / "temporary").iterdir()) == []
    refused = (
        r"Traceback(?:(?!Traceback).)*?InvalidPathError: Cannot move .*? was not uploaded by a user\."  # by gradio
    )
    said = re.sub(refused, "", (folder / "said").read_text(), flags=re.DOTALL)
    assert not re.search("asked for|Traceback|rror", said), said


@pytest.fixture
def page(browser, server):
    """A visitor's page, who is asked for nothing but by the server."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, asked, faults = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(server)
    page.get_by_role("button", name="Find objects").wait_for()
    yield page
    context.close()
    assert faults == []
    assert [url for url in asked if not url.startswith((server, "data:", f"blob:{server}"))] == []


def drop(page, path):
    page.locator("input[type=file]").set_input_files(path)


def test_a_video_is_played_inside_with_its_objects_and_all_files_are_given(page, server, files, tmp_path):
    drop(page, files / "a <b> #1.mp4")
    inside = page.frame_locator(".found iframe")
    inside.locator("tbody tr").first.wait_for()
    saved = {}
    links = page.locator(".found a")
    assert links.first.evaluate("link => getComputedStyle(link).padding") == "0px"  # words of a sentence, not buttons
    for link in links.all():
        with page.expect_download() as download:
            link.click()
        saved[download.value.suggested_filename] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[download.value.suggested_filename])
    archive = ZipFile(next(path for name, path in saved.items() if name.endswith(".zip")))
    inside_zip = {Path(name).name for name in archive.namelist()}
    assert inside_zip == {"tracks.csv", "overlay.mp4", "results.json", "frames.jsonl", "page.html", "video.mp4"}
    assert set(saved) - inside_zip == {Path(archive.filename).name} and archive.testzip() is None

    rows = list(csv.DictReader(saved["tracks.csv"].open()))
    shown = [int(text) for text in inside.locator("tbody th").all_inner_texts()]
    assert shown and sorted(shown) == sorted({int(row["identity"]) for row in rows})
    assert f"{FRAMES} frames" in page.locator(".found p").first.inner_text()

    inside.locator("#play").click()
    inside.locator("#frame", has_text=re.compile("[2-9]")).wait_for()
    for key, frame in (("Home", 0), ("End", FRAMES - 1)):
        page.keyboard.press(key)
        inside.locator("#frame", has_text=re.compile(f"^{frame}$")).wait_for()
    assert inside.locator("#video").evaluate("video => video.seekable.end(0) > 1 && !video.error")

    address = page.locator(".found iframe").evaluate("frame => frame.src").rpartition("/")[0]
    part = urlopen(Request(f"{address}/video.mp4", headers={"Range": "bytes=10-19"}))
    assert part.status == 206 and len(part.read()) == 10
    token = address.rpartition("/")[2]
    assert address == f"{server}/found/{token}" and len(token) >= 40  # nobody guesses it
    page.locator("summary").click()
    page.locator(".found video").evaluate("video => video.play()")
    page.wait_for_function("document.querySelector('.found video').currentTime > 0.2")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("notes.mp4", "notes.mp4 cannot be read as a video: it is damaged, incomplete, or no video at all"),
        ("long.mp4", f"long.mp4 is too long: at most {LONGEST} seconds are taken here"),
        ("cut.mp4", "cut.mp4 ends after"),
    ],
)
def test_what_is_wrong_with_a_video_is_said(page, files, name, said):
    drop(page, files / name)
    page.get_by_role("alert").first.wait_for()
    message = page.get_by_role("alert").inner_text()
    assert message.startswith(said) and "\n" not in message
    page.get_by_role("button", name="Find objects", disabled=False).wait_for()  # another one can be dropped


def test_what_is_too_large_is_not_taken(page, files):
    drop(page, files / "large.mp4")
    page.get_by_text("exceed the maximum allowed size").wait_for()


def asked(server, data):
    """What becomes of a request that no page makes: to look at what is named, whatever it is."""
    event = {"fn_index": 1, "data": data, "session_hash": token_hex(5)}
    call = Request(f"{server}/gradio_api/queue/join", json.dumps(event).encode(), {"Content-Type": "application/json"})
    urlopen(call).close()
    with urlopen(f"{server}/gradio_api/queue/data?session_hash={event['session_hash']}", timeout=60) as messages:
        for message in messages:
            if b"process_completed" in message:
                return json.loads(message.removeprefix(b"data: "))


@pytest.mark.parametrize("control", [0, 1])  # gradio takes files for values of any
@pytest.mark.parametrize("named", ["whole.mp4", "http://elsewhere.example.org/whole.mp4"])
def test_nothing_is_looked_at_but_what_was_dropped(server, files, named, control):
    data = [None, 0.0, [], 1]
    path = named if "://" in named else str(files / named)
    data[control] = {"path": path, "meta": {"_type": "gradio.FileData"}}
    answer = asked(server, data)
    assert answer["success"] is False and "found/" not in json.dumps(answer)


class SlowFinder:
    """Looks at a video until it is told to end, or the visitor wants no more."""

    keep = 60.0

    def __init__(self):
        self.looked_at, self.go_on = [], Event()

    def find(self, visit, *_):
        self.looked_at.append(visit.video)
        while not (self.go_on.wait(0.01) or visit.left):
            pass


@pytest.fixture
def reception(monkeypatch):
    from compfeat.commands import drop_page

    monkeypatch.setattr(drop_page, "PAUSE", 0.01)
    return drop_page.Reception(SlowFinder(), waiting=1, dropped=gradio.File())


def run(visit):
    with ThreadPoolExecutor(1) as thread:  # in the test's own the browser runs
        thread.submit(asyncio.run, visit).result()


FIRST, SECOND, THIRD = (SimpleNamespace(session_hash=name) for name in "abc")


def looked(reception, video, visitor):
    return asyncio.create_task(reception.look(str(video), 0.0, [], 1, visitor, lambda *_: None))


def test_nobody_has_two_videos_looked_at_and_only_so_many_wait(reception, files):
    finder, video = reception._finder, files / "whole.mp4"

    async def visit():
        for _ in range(9):  # who only says so does not wait
            reception.begin(THIRD)
        first = looked(reception, video, FIRST)
        await asyncio.sleep(0.1)
        with pytest.raises(gradio.Error, match="of yours is still being looked at"):
            reception.begin(FIRST)
        second = looked(reception, files / "long.mp4", SECOND)
        await asyncio.sleep(0.1)
        with pytest.raises(gradio.Error, match="As many videos are waiting as may wait, 1"):
            reception.begin(THIRD)
        with pytest.raises(gradio.Error, match="As many videos are waiting as may wait, 1"):
            await looked(reception, video, THIRD)
        reception.stop(SECOND)
        assert await asyncio.wait_for(second, 9) == "" and finder.looked_at == [video]
        third = looked(reception, files / "long.mp4", THIRD)
        reception.leave(FIRST)
        await asyncio.wait_for(first, 9)
        finder.go_on.set()
        await asyncio.wait_for(third, 9)
        assert finder.looked_at == [video, files / "long.mp4"]
        reception.begin(FIRST)

    run(visit())


def test_a_video_stays_while_it_is_looked_at_or_waits_and_is_removed_later(reception, tmp_path):
    from gradio.route_utils import delete_files_created_by_app

    videos = [tmp_path / name for name in ("first.mp4", "second.mp4")]
    with gradio.Blocks() as page:
        reception._dropped.render()
    page.temp_file_sets.append({str(video) for video in videos})
    for video in videos:
        video.touch()

    async def visit():
        visits = [looked(reception, video, who) for video, who in zip(videos, (FIRST, SECOND), strict=True)]
        await asyncio.sleep(0.5)
        delete_files_created_by_app(page, 0.2)
        assert all(video.exists() for video in videos)
        reception._finder.go_on.set()
        await asyncio.gather(*visits)
        delete_files_created_by_app(page, 0.2)  # its age counts from now on: it can be looked at again
        assert all(video.exists() for video in videos)
        await asyncio.sleep(0.3)
        delete_files_created_by_app(page, 0.2)
        assert not any(video.exists() for video in videos)

    run(visit())


@pytest.fixture
def finder(ckpt, tmp_path):
    return Finder(VideoPredictor.from_checkpoint(ckpt), tmp_path / "found", longest=LONGEST, keep=0.5)


def find(finder, visit, change=lambda: None):
    """What is found in a video where something happens with its fourth step."""
    steps = []

    @contextmanager
    def show(description, total, unit):
        def advance(count):
            steps.append(description)
            if len(steps) == 4:
                change()

        yield advance

    return finder.find(visit, 0.0, [], 1, show)


def test_what_was_found_until_it_was_stopped_is_given_and_removed_later(finder, files):
    visit = Visit(files / "a <b> #1.mp4")
    found = find(finder, visit, lambda: setattr(visit, "stopped", True))
    assert found.frames == 4 and (found.folder / "overlay.mp4").is_file() and found.archive.is_file()
    end = time.monotonic() + 10
    while found.folder.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert list(finder.folder.iterdir()) == []


@pytest.mark.parametrize("way", ["left", "closed", "stopped before"])
def test_nothing_is_left_of_what_nobody_waits_for(finder, files, way):
    visit = Visit(files / "a <b> #1.mp4", stopped=way == "stopped before")
    closing = Thread(target=finder.close)

    def leave():
        if way == "left":
            visit.left = True
        else:
            closing.start()
            time.sleep(0.1)

    assert find(finder, visit, leave) is None
    assert list(finder.folder.iterdir()) == []


def test_an_address_that_cannot_be_had_is_named():
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        message = f"host=127.0.0.1 port={port} cannot be listened at: Address already in use; port=0 takes any"
        with pytest.raises(ValueError, match=re.escape(message)), listening("127.0.0.1", port):
            pass


def test_a_missing_package_is_told_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.delitem(sys.modules, "compfeat.commands.drop_page", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ValueError, match=re.escape("pip install -e '.[serve]'")):
        serve(None)
