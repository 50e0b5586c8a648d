"""Named arrays in one file, read by memory map: processes share its pages, and only what is touched is loaded."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from compfeat.files import written_whole


class DamagedStore(ValueError):
    """The file is not what was written."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an uncompressed ``.npz``, whole or not at all, also when several processes write the same one at once."""
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path, verify: bool = True) -> dict[str, np.ndarray]:
    """The arrays of a file of ``write_arrays``, read-only and mapped into memory.

    Args:
        path: of the file.
        verify: compares every byte with the file's checksums first.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedStore: it is cut short, or its bytes are not those that were written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if verify and archive.testzip() is not None:
                raise DamagedStore(f"{path} is damaged")
            return {info.filename.removesuffix(".npy"): _map(path, archive, info) for info in archive.infolist()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise DamagedStore(f"{path} is damaged: {error}") from error


def _map(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Maps the member in place: it is stored as it is, so its array begins after zip's and numpy's own headers."""
    with archive.open(info) as member:
        npy.read_magic(member)
        shape, _, dtype = npy.read_array_header_1_0(member)
        header = member.tell()
    if 0 in shape:
        return np.zeros(shape, dtype)
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # where zip's local header says how long its name and extra fields are
        lengths = np.frombuffer(file.read(4), "<u2")
    offset = info.header_offset + 30 + int(lengths.sum()) + header
    return np.memmap(path, dtype, "r", offset, shape).view(np.ndarray)
