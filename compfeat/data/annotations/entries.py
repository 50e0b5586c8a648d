"""The entries of an annotation file in the YouTube-VIS form; a COCO image is there a video of one frame."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compfeat.data.annotations.json_stream import stream_json
from compfeat.data.errors import AnnotationError


def read_text(path: Path) -> str:
    """The text of an annotation file; AnnotationError when it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path} is not text in UTF-8: {error}") from error


def read_entries(text: str) -> Iterator[tuple[str, Any]]:
    """Yields ("videos" | "annotations" | "categories", entry) in the order of the file, and other members as they are.

    Raises:
        json.JSONDecodeError: the text is not a json object.
    """
    for key, entry in stream_json(text):
        if key == "images" and isinstance(entry, dict):
            yield "videos", _image_as_video(entry)
        elif key == "annotations" and isinstance(entry, dict) and "image_id" in entry:
            yield "annotations", _object_as_track(entry)
        else:
            yield key, entry


def _image_as_video(image: dict) -> dict:
    return image | ({"file_names": [image["file_name"]]} if "file_name" in image else {})


def _object_as_track(entry: dict) -> dict:
    lists = {f"{key}{plural}": [entry[key]] for key, plural in _PLURALS.items() if key in entry}
    return {key: value for key, value in entry.items() if key not in _PLURALS} | {"video_id": entry["image_id"]} | lists


_PLURALS = {"segmentation": "s", "bbox": "es", "area": "s"}
