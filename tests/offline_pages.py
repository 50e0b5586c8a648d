"""What Weights & Biases has kept on disk of the pages of runs that were not sent."""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

from wandb.proto import wandb_internal_pb2 as pb

BLOCK = 32768  # bytes; the file is a log of LevelDB's format behind a header of seven bytes


@dataclass
class Page:
    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    logged: set[str] = field(default_factory=set)
    files: list[str] = field(default_factory=list)
    exit_code: int | None = None


def pages(folder: Path) -> list[Page]:
    """Every page under a folder, in the order in which they were opened."""
    return [_page(path) for path in sorted(folder.rglob("*.wandb"), key=lambda path: path.stat().st_mtime)]


def _page(path: Path) -> Page:
    page = Page()
    for content in _records(path.read_bytes()):
        record = pb.Record()
        record.ParseFromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            page.id, page.name, page.group, page.job_type = run.run_id, run.display_name, run.run_group, run.job_type
            page.tags = list(run.tags)
            page.config |= {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "config":
            page.config |= {_key(item): json.loads(item.value_json) for item in record.config.update}
        elif kind == "summary":
            page.summary |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "history":
            page.logged |= {_key(item) for item in record.history.item}
        elif kind == "files":
            page.files += [file.path for file in record.files.files]
        elif kind == "exit":
            page.exit_code = record.exit.exit_code
    return page


def _key(item) -> str:
    return item.key or "/".join(item.nested_key)


def _records(content: bytes):
    position, record = 7, b""
    while position < len(content):
        left = BLOCK - position % BLOCK
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part of several
            yield record
            record = b""
