"""Serves a page into which videos are dropped."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from compfeat.commands.console import console
from compfeat.commands.finder import Finder
from compfeat.commands.loading import find_device, predictor_maker
from compfeat.commands.looking import LookConfig, known
from compfeat.media.scenes import SceneCuts
from compfeat.quantities import Count, Port, Positive


class ServeConfig(LookConfig, Protocol):
    """The keys of ``conf/serve.yaml``."""

    host: str
    port: Port
    waiting: Count
    megabytes: Count
    seconds: Positive
    keep: Positive


def serve(cfg: ServeConfig) -> None:
    """Serves the page that ``conf/serve.yaml`` describes, until Ctrl-C.

    Raises:
        ValueError: the package that makes the page is not installed, or the port cannot be had.
    """
    with suppress(KeyboardInterrupt), TemporaryDirectory(prefix="compfeat-") as folder:
        # Read by gradio as it is imported: nothing is told to anybody, and what is dropped goes with the folder.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": f"{folder}/dropped"}
        try:
            from compfeat.commands.drop_page import Server, drop_page, served
        except ImportError as error:
            raise ValueError("the page needs a package more: pip install -e '.[serve]'") from error
        with listening(cfg.host, cfg.port) as listener:
            predictor = predictor_maker(cfg)(find_device(cfg.device))
            classes = known(cfg.classes, predictor.class_names)
            predictor.scenes = SceneCuts() if cfg.cuts else None
            predictor.tracker.keep_unseen = cfg.forget
            finder = Finder(predictor, Path(folder, "found"), cfg.seconds, 60 * cfg.keep)
            page = drop_page(finder, cfg.score, classes, cfg.every, cfg.waiting, cfg.megabytes)
            server = Server(served(page, finder.folder, cfg.megabytes), finder)
            # What ends services ends this one as Ctrl-C does: nothing is left behind.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            host, port = listener.getsockname()[:2]
            console.print(f"http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)", soft_wrap=True)
            server.run([listener])


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at which calls can be taken; ValueError where there can be none."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ValueError(f"host={host} port={port} cannot be listened at: {reason}; port=0 takes any") from error
    with listener:
        yield listener
