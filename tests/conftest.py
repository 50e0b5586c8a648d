import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from compfeat.media import decoding, seeking, video_file

SHARED = Path(__file__).parents[2] / "shared" / "data"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(autouse=True)
def no_account(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture(autouse=True)
def cache_of_its_own(monkeypatch, tmp_path_factory):
    """The indices of annotations that a test makes, away from the user's."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("COMPFEAT_CACHE", str(cache))
    return cache


@pytest.fixture
def shared_data():
    """The folder of real footage, which is not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("no folder of real footage")
    return SHARED


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens a file; at the end nothing may have gone wrong, and nothing have been asked of a network."""
    faults, asked, contexts = [], [], []

    def opened(path, **settings):
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", lambda request: faults.append(request.url))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.fixture
def decoded(monkeypatch):
    """Counts the frames that are decoded, in its only entry."""
    count = [0]
    plainly = decoding.decode

    def counting(packets, *lost):
        for frame in plainly(packets, *lost):
            count[0] += 1
            yield frame

    for module in (decoding, seeking, video_file):
        monkeypatch.setattr(module, "decode", counting)
    return count
