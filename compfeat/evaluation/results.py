"""results.json, the file by which VIS results are exchanged: made of tubes, checked, written, packed."""

import sys
import zipfile
from collections.abc import Container, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compfeat.files import read_json, written_whole
from compfeat.masks import are_whole, json_rle, whole_runs
from compfeat.structures import Tube

ENTRIES = 10  # of a video
REQUIRED = ("video_id", "category_id", "score", "segmentations")


class ResultsError(ValueError):
    """Results do not fit the ground truth they are evaluated against, or that is none."""


def read_results(path: str | Path) -> Any:
    """What a results.json holds, not validated yet.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no json.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no results file at {path}")
    return read_json(path)


def validate_results(results: Any, ground_truth: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with loaded results, each named by entry and video; empty if nothing is.

    Masks must be RLE or nothing. Those whose ``counts`` are bytes, as only pycocotools makes them, are taken as whole.
    """
    if not isinstance(results, list):
        return ["results must be a list of entries"]
    videos = {video["id"]: video for video in ground_truth["videos"]}
    categories = {category["id"] for category in ground_truth["categories"]}
    whole: set[tuple] = set()  # tubes whose masks were found to be so: one may be listed under several classes
    problems = []
    for number, entry in enumerate(results):
        faults = entry_faults(entry, REQUIRED, videos, categories)
        if not faults:
            video = videos[entry["video_id"]]
            faults = _mask_faults(entry["segmentations"], video["height"], video["width"], whole)
        problems += [f"{place('results entry', number, entry)}: {fault}" for fault in faults]
    return problems


def place(what: str, number: int, entry: Any) -> str:
    """Which entry of a list this is, and of which video."""
    return f"{what} {number}" + (f" (video {entry.get('video_id')!r:.40})" if isinstance(entry, dict) else "")


def entry_faults(entry: Any, required: Sequence[str], videos: Mapping[Any, dict], categories: Container) -> list[str]:
    """What is wrong with an entry of results or annotations, but for its masks.

    Args:
        entry: as loaded.
        required: the members it must have, with or without a score.
        videos: by id, with their ``file_names``.
        categories: the ids of the classes.
    """
    if not isinstance(entry, dict):
        return [f"it is {entry!r:.40}, not an object of {', '.join(required)}"]
    if missing := [key for key in required if key not in entry]:
        return [f"{', '.join(missing)} missing"]
    faults = []
    if not _is_among(entry["category_id"], categories):
        faults.append(f"unknown category {entry['category_id']!r:.40}")
    if "score" in required and not _is_finite(entry["score"]):
        faults.append(f"the score {entry['score']!r:.40} is not a finite number")
    masks = entry["segmentations"]
    if not _is_among(entry["video_id"], videos):
        faults.append("unknown video")
    elif not isinstance(masks, list | tuple):
        faults.append(f"the segmentations are {masks!r:.40}, not a list")
    elif len(masks) != (frames := len(videos[entry["video_id"]]["file_names"])):
        faults.append(f"{len(masks)} segmentations for {frames} frames")
    elif arrays := [frame for frame, mask in enumerate(masks) if hasattr(mask, "shape")]:
        faults.append(f"the mask of frame {arrays[0]} is an array of pixels, not RLE as pycocotools encodes it")
    return faults


def _is_finite(score: Any) -> bool:
    score = score.item() if isinstance(score, np.number) else score
    return isinstance(score, int | float) and not isinstance(score, bool) and abs(score) <= sys.float_info.max


def _is_among(identity: Any, known: Container) -> bool:
    return isinstance(identity, Hashable) and identity in known


def _mask_faults(masks: Sequence[Any], height: int, width: int, whole: set[tuple]) -> list[str]:
    """What is wrong with the first mask of a tube that is not as it should be; notes in ``whole`` that none is."""
    shown = [mask for mask in masks if mask]
    if all(is_compressed(mask, height, width) for mask in shown):
        tube = (height, width, *(mask["counts"] for mask in shown))
        if tube in whole or are_whole(texts(shown), height * width):
            whole.add(tube)
            return []
    for frame, mask in enumerate(masks):  # each by itself, to say which and why
        try:
            if mask:
                whole_runs(mask, height, width)
        except ValueError as error:
            return [f"the mask of frame {frame}: {error}"]
    return []


def is_compressed(mask: Any, height: int, width: int) -> bool:
    """Whether this is compressed RLE of a size, whatever its runs are."""
    return (
        isinstance(mask, dict) and mask.get("size") == [height, width] and isinstance(mask.get("counts"), str | bytes)
    )


def texts(masks: Sequence[dict]) -> list[bytes]:
    """The counts of those masks that have text, whatever characters a json may hold; bytes need no check."""
    return [m["counts"].encode("utf-8", "surrogatepass") for m in masks if isinstance(m["counts"], str)]


def to_results(video_id: int, length: int, tubes: Sequence[Tube], category_ids: Sequence[int]) -> list[dict]:
    """Entries of results.json for the tubes of a video of ``length`` frames; ``category_ids`` in label order.

    A tube has an entry for each class it may be, scored by its probability; of all, the likeliest ``ENTRIES`` are kept.
    """
    found = [
        (probability, number, label)
        for number, tube in enumerate(tubes)
        for label, probability in enumerate(tube.probabilities)
        if probability > 0
    ]
    likeliest = sorted(found, key=lambda entry: entry[0], reverse=True)[:ENTRIES]
    segmentations = {number: _segmentations(tubes[number], length) for number in {number for _, number, _ in likeliest}}
    return [
        _entry(video_id, category_ids[label], probability, segmentations[number])
        for probability, number, label in likeliest
    ]


def to_whole_results(video_id: int, length: int, tubes: Sequence[Tube], category_ids: Sequence[int]) -> list[dict]:
    """Entries of results.json for all tubes of a video, each with its class: of people's videos nothing is left out."""
    return [_entry(video_id, category_ids[tube.label - 1], tube.score, _segmentations(tube, length)) for tube in tubes]


def _entry(video_id: int, category_id: int, score: float, segmentations: list[dict | None]) -> dict:
    return {"video_id": video_id, "category_id": category_id, "score": score, "segmentations": segmentations}


def _segmentations(tube: Tube, length: int) -> list[dict | None]:
    segmentations: list[dict | None] = [None] * length
    for frame, mask in zip(tube.frames, tube.masks, strict=True):
        segmentations[frame] = json_rle(mask)
    return segmentations


def zip_results(path: str | Path) -> Path:
    """Packs results.json for a submission: a zip beside it with results.json at its root; returns its path."""
    target = Path(path).with_suffix(".zip")
    with written_whole(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "results.json")
    return target
