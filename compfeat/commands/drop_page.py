"""The page into which videos are dropped, made by gradio, and the server of it."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from time import monotonic
from types import FrameType
from urllib.parse import quote

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from markupsafe import Markup

from compfeat.commands.finder import Finder, Found, Visit
from compfeat.commands.launch import USER_ERRORS, one_line
from compfeat.progress import ShowProgress

FOUND = "found"  # path under which what was found is served
LISTED = ("overlay.mp4", "tracks.csv", "results.json", "frames.jsonl")
PAUSE = 0.5  # seconds after which one that waits asks whether it is its turn
SANS = ("-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "Liberation Sans", "system-ui", "sans-serif")
THEME = gr.themes.Default(  # the colours and the fonts, all of the system's, of the pages of videos
    primary_hue=gr.themes.colors.sky,
    neutral_hue=gr.themes.colors.zinc,
    font=SANS,
    font_mono=("ui-monospace", "Consolas", "monospace"),
).set(
    body_background_fill="#fdfdfb",
    body_background_fill_dark="#15171a",
    button_primary_background_fill="#0072b2",
    button_primary_background_fill_hover="#005f96",
    button_primary_background_fill_dark="#56b4e9",
    button_primary_background_fill_hover_dark="#7cc5ee",
    button_primary_text_color="white",
    button_primary_text_color_dark="#10222e",
    slider_color="#0072b2",
    slider_color_dark="#56b4e9",
)
STYLE = """
.found.block { min-height: 9rem; }
.found .html-container { padding-inline: 0; }
.found.prose.gradio-style a { margin: 0; padding: 0; }
.found iframe { width: 100%; height: 94vh; border: 0; }
.found video { max-width: 100%; max-height: 80vh; }
.found [role="alert"] {
  border-left: 3px solid #d55e00;
  padding: 0.6rem 1rem;
  background: var(--background-fill-secondary);
}
"""
log = logging.getLogger(__name__)


class Reception:
    """What the page's controls do, each for the visitor who uses it, who has one video looked at at a time.

    Args:
        finder: looks at videos.
        waiting: videos that may wait while one is looked at.
        dropped: the control into which videos are dropped.
    """

    def __init__(self, finder: Finder, waiting: int, dropped: gr.File) -> None:
        self._finder = finder
        self._waiting = waiting
        self._dropped = dropped
        self._visits: dict[str | None, Visit] = {}  # by the visitors' sessions, in turn: the first is looked at

    def begin(self, request: gr.Request) -> tuple[dict, dict, str]:
        """Where there is room, Find is off, Stop is on, and what was found before goes."""
        self._require_room(request)
        return gr.update(interactive=False), gr.update(interactive=True), ""

    async def look(
        self,
        video: str | None,
        score: float,
        classes: list[str],
        every: int | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - as gradio wants it
    ) -> str:
        """What was found in a video, or what is wrong with it, as html; the visitor is there from now on until then."""
        self._require_room(request)
        if video is None or not Path(video).is_file():
            minutes = self._finder.keep / 60
            return _said(f"Drop a video first; one that was dropped {minutes:g} minutes ago is no longer here.")
        visit = self._visits[request.session_hash] = Visit(Path(video))
        self._keep_videos()
        try:
            while before := list(self._visits).index(request.session_hash):
                if visit.stopped or visit.left:
                    return ""
                progress(0, f"waiting, {before} before yours")
                await asyncio.sleep(PAUSE)
            found = await asyncio.to_thread(
                self._finder.find, visit, score, classes, 1 if every is None else every, _shown_by(progress)
            )
        except USER_ERRORS as error:
            return _said(_by_name(one_line(error), video))
        except Exception:
            log.exception("a video could not be looked at")
            return _said("Something went wrong here, which is no fault of yours: the server's terminal says what.")
        finally:
            visit.left = True  # where this was cut off
            del self._visits[request.session_hash]
            self._keep_videos()
            with suppress(OSError):
                os.utime(video)  # from now on its age counts
        if found is None:
            return ""
        warnings = [_said(_by_name(warning, video)) for warning in found.warnings]
        return Markup("").join([*warnings, _described(found, self._finder.keep)])

    def end(self) -> tuple[dict, dict]:
        """Then Find is on again, and Stop is off."""
        return gr.update(interactive=True), gr.update(interactive=False)

    def stop(self, request: gr.Request) -> None:
        """Ends a visitor's video where it is; one that waits is not looked at."""
        if visit := self._visits.get(request.session_hash):
            visit.stopped = True

    def leave(self, request: gr.Request) -> None:
        """Gives up the video of a visitor who closed the page."""
        if visit := self._visits.get(request.session_hash):
            visit.left = True

    def _require_room(self, request: gr.Request) -> None:
        if request.session_hash in self._visits:
            raise _refused("A video of yours is still being looked at: wait for it, or press Stop.")
        if len(self._visits) > self._waiting:
            raise _refused(f"As many videos are waiting as may wait, {self._waiting}: try again in a while.")

    def _keep_videos(self) -> None:
        """Has gradio, which removes files by their age, spare those that are looked at or wait, however long."""
        self._dropped.keep_in_cache = {str(visit.video) for visit in self._visits.values()}


def drop_page(
    finder: Finder, score: float, classes: Sequence[str], every: int, waiting: int, megabytes: int
) -> gr.Blocks:
    """The page, on which a video that is dropped is looked at and what was found in it is shown.

    Args:
        finder: looks at videos.
        score, classes, every: initial values of the controls.
        waiting: videos that may wait while one is looked at.
        megabytes: of a video at most.
    """
    removed = (60, round(finder.keep))  # every minute, what is older
    with gr.Blocks(title="CompFeat", fill_width=True, analytics_enabled=False, delete_cache=removed) as page:
        gr.Markdown(
            "# CompFeat\nMasks, classes and identities of the objects in a video. Drop one of at most "
            f"{finder.longest:g} seconds and {megabytes} MB; nothing of it leaves the machine that serves this page."
        )
        with gr.Row(equal_height=True):
            video = gr.File(label="Video", height=146, scale=2)
            with gr.Column(scale=3):
                with gr.Row(equal_height=True):
                    scores = gr.Slider(0, 1, score, step=0.05, label="Score at least")
                    steps = gr.Number(every, label="Every n-th frame", precision=0)
                    names = finder.predictor.class_names
                    wanted = gr.Dropdown(names, value=list(classes), multiselect=True, label="Classes (none: all)")
                with gr.Row():
                    find = gr.Button("Find objects", variant="primary", scale=2)
                    stop = gr.Button("Stop", interactive=False)
        found = gr.HTML(
            "<p>What is found is shown here: the video, with objects switched on and off, and files to keep.</p>",
            elem_classes="found",
        )
        reception = Reception(finder, waiting, video)
        gr.on(
            [video.upload, find.click],
            reception.begin,
            None,
            [find, stop, found],
            concurrency_limit=None,
            show_progress="hidden",
            api_visibility="private",
        ).success(
            reception.look,
            [video, scores, wanted, steps],
            found,
            concurrency_limit=None,
            scroll_to_output=True,
            api_visibility="private",
        ).then(reception.end, None, [find, stop], queue=False, show_progress="hidden", api_visibility="private")
        stop.click(reception.stop, queue=False, api_visibility="private")
        page.unload(reception.leave)
    return page


def served(page: gr.Blocks, folder: Path, megabytes: int) -> FastAPI:
    """The page at ``/``, and beside it what was found, in parts as browsers that play videos ask for them.

    Args:
        page: as ``drop_page`` makes it.
        folder: of what was found.
        megabytes: of a video at most.
    """
    # As its launch() does, which is not called here: before, gradio takes any file of this machine for a dropped one.
    page.has_launched = page.is_running = True
    gr.processing_utils.async_ssrf_protected_download = _not_downloaded
    app = FastAPI(openapi_url=None)
    app.mount(f"/{FOUND}", StaticFiles(directory=folder))
    return gr.mount_gradio_app(
        app, page, "/", footer_links=[], run_history=False, max_file_size=f"{megabytes}mb", theme=THEME, css=STYLE
    )


class Server(uvicorn.Server):
    """Ends at the first signal to end: what is being looked at is given up, and browsers that still listen are cut off.

    Args:
        app: what is served.
        finder: looks at videos.
    """

    def __init__(self, app: FastAPI, finder: Finder) -> None:
        super().__init__(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        self._finder = finder

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._finder.close()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # a traceback for each browser that is cut off
        super().handle_exit(sig, frame)


def _shown_by(progress: gr.Progress) -> ShowProgress:
    """Progress on the page; it may be made in other threads, to which gradio's context is unknown."""
    context = copy_context()

    @contextmanager
    def shown(description: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        began, done = monotonic(), 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            pace = done / max(1e-9, monotonic() - began)
            context.run(progress, (done, total), f"{description}, {pace:.3g} {unit} a second", unit=unit)

        yield advance

    return shown


async def _not_downloaded(url: str, cache_dir: str) -> str:
    """In the place of what fetches whatever address is given as a dropped file."""
    raise _refused("Only a video that is dropped here is looked at.")


def _refused(message: str) -> gr.Error:
    return gr.Error(message, print_exception=False)


def _by_name(message: str, video: str) -> str:
    """A message about a file, which its owner does not know by the folder that it was put into."""
    return message.replace(f"{Path(video).parent}/", "")


def _said(message: str) -> Markup:
    return Markup('<p role="alert">{}</p>').format(message)


def _described(found: Found, keep: float) -> Markup:
    """What was found as html: how much it is, files to download, the page of the video, the overlay video."""
    at = f"{FOUND}/{found.folder.name}"
    names = [name for name in (*LISTED, found.archive.name) if (found.folder / name).exists()]
    link = Markup('<a href="{}/{}" download>{}</a> ({})')
    links = [link.format(at, quote(name), name, _size(found.folder / name)) for name in names]
    page = Markup('<iframe src="{0}/page.html" title="Objects of {1}" allowfullscreen></iframe>').format(at, found.name)
    if not (found.folder / "page.html").exists():
        page = Markup("<p>These are more masks than a browser holds: there is the overlay video, but no page.</p>")
    return Markup(
        "<p>Objects found in {} frames: {}, drawn: {}. To keep (here only for {:g} minutes): {}</p>"
        "{}<details><summary>Overlay video</summary>"
        '<video src="{}/overlay.mp4" controls preload="none"></video></details>'
    ).format(found.frames, found.objects, found.drawn, keep / 60, Markup(", ").join(links), page, at)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
