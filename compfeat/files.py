"""Files and folders that are there whole or not at all, json in files, and which files are frames."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from secrets import token_hex
from typing import Any

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")  # of frames, in lower case


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A file beside ``path`` to write into, which takes its place once all is written; its folder is made if need be.

    Where writing fails nothing is left, and an older file stays. Several processes, on whatever machines, may write the
    same file at once.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{token_hex(8)}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to write into, which gets its name once all is written; its parent is made if need be.

    Where writing fails nothing is left.

    Raises:
        OSError: there is something by that name already, other than an empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
        folder = Path(temporary) / path.name
        folder.mkdir()
        yield folder
        folder.rename(path)


def require_utf8(name: str) -> None:
    """Raises ValueError of the name of a file that is not in UTF-8, in which all is written that tells of it."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{ascii(name)} is not in UTF-8, as names of files must be here; rename it") from error


def find_files(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder by a pattern, sorted: also in folders that are links, and none that is hidden, as below."""
    return sorted(folder / name for name in glob(pattern, root_dir=folder, recursive=True))


def image_files(folder: Path) -> list[Path]:
    """The images of a folder that may be frames, in no order: none that is hidden, as those that a Mac puts beside
    files that it copies (``._0.jpg``)."""
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]


def write_json(path: str | Path, content: Any, indent: int | None = None) -> None:
    """Writes a json file, as ``written_whole``."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=indent), encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """The content of a json file; ValueError, which names the file, where it is not json."""
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:  # the latter where it is nested too deeply
        raise ValueError(f"{path} is not json: {error}") from error
