"""Videos shared out among devices, each with a process and a copy of the network."""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from multiprocessing import get_context
from multiprocessing.queues import Queue

import numpy as np
import torch

from compfeat.inference.predictor import VideoPredictor
from compfeat.structures import Tube

Video = Iterable[np.ndarray]


def predict_in_shares(
    make: Callable[[torch.device], VideoPredictor], videos: Iterable[Video], devices: Sequence[torch.device]
) -> Iterator[list[Tube]]:
    """The tubes of each video, in the order of the videos, as one predictor gives them.

    Args:
        make: builds the predictor on a device, in a process there; must be a function or object that can be pickled.
        videos: as `VideoPredictor.predict` takes them; can be pickled too, so not decoded yet if they are large.
        devices: a process on each; one that stands there twice has two. On a CPU they share its cores.

    Raises:
        MemoryError: a process was killed.
    """
    context = get_context("spawn")  # CUDA cannot be used in a fork
    vacant = context.Queue()
    for device in devices:
        vacant.put(device)
    threads = max(1, torch.get_num_threads() // len(devices))
    with ProcessPoolExecutor(len(devices), context, initializer=_start, initargs=(make, vacant, threads)) as pool:
        try:
            yield from pool.map(_predict, videos)
        except BrokenProcessPool as error:
            raise MemoryError(
                "a process that predicts was killed; with fewer devices=... each has more memory"
            ) from error


def _start(make: Callable[[torch.device], VideoPredictor], vacant: "Queue[torch.device]", threads: int) -> None:
    global _predictor
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted caller ends the pool
    torch.set_num_threads(threads)
    _predictor = cache(partial(make, vacant.get()))  # made by the first video, so that what goes wrong is told


def _predict(video: Video) -> list[Tube]:
    return _predictor().predict(video)


_predictor: Callable[[], VideoPredictor]  # of this process
