"""results.json, the file by which VIS results are exchanged: made of tubes, checked, written, packed."""

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compfeat.masks import json_rle
from compfeat.structures import Tube

ENTRIES = 10  # of a video
REQUIRED = ("video_id", "category_id", "score", "segmentations")


class ResultsError(ValueError):
    """Results do not fit the ground truth they are evaluated against."""


def validate_results(results: Any, ground_truth: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with loaded results, each named by entry and video; empty if nothing is."""
    if not isinstance(results, list):
        return ["results must be a list of entries"]
    videos = {video["id"]: video for video in ground_truth["videos"]}
    categories = {category["id"] for category in ground_truth["categories"]}
    problems = []
    for number, entry in enumerate(results):
        missing = [key for key in REQUIRED if key not in entry]
        where = f"results entry {number} (video {entry.get('video_id')})"
        if missing:
            problems.append(f"{where}: {', '.join(missing)} missing")
            continue
        if entry["category_id"] not in categories:
            problems.append(f"{where}: unknown category {entry['category_id']}")
        if not isinstance(entry["score"], int | float) or not math.isfinite(entry["score"]):
            problems.append(f"{where}: the score {entry['score']} is not a finite number")
        video = videos.get(entry["video_id"])
        if video is None:
            problems.append(f"{where}: unknown video")
            continue
        frames = len(video["file_names"])
        if len(entry["segmentations"]) != frames:
            problems.append(f"{where}: {len(entry['segmentations'])} segmentations for {frames} frames")
        size = [video["height"], video["width"]]
        wrong = [i for i, mask in enumerate(entry["segmentations"]) if mask and list(mask["size"]) != size]
        if wrong:
            problems.append(f"{where}: the mask of frame {wrong[0]} is not of the video's size {size}")
    return problems


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
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "results.json")
    return target
