"""What the caller would wait for is done in threads beside it."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
END: Any = object()
MOST_THREADS = 8


def read_ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """The items in their order, of which a thread makes up to ``depth`` before they are asked for.

    Threads run beside each other where an item is made by what lets go of Python's lock: decoding, resizing, copying.
    What making an item raises is raised when that item is asked for.
    """
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="read_ahead") as thread:
        coming: deque[Future[T]] = deque(thread.submit(next, source, END) for _ in range(depth))
        while (item := coming.popleft().result()) is not END:
            coming.append(thread.submit(next, source, END))
            yield item


def read_each(items: Sequence[T]) -> Iterator[T]:
    """The items of a sequence in their order, several made at the same time: the frames of a folder, decoded."""
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="read_each") as pool:
        coming: deque[Future[T]] = deque()
        for index in range(len(items)):
            coming.append(pool.submit(items.__getitem__, index))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
