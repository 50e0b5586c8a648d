"""results.json, the file by which VIS results are exchanged: made of tubes, checked, written, packed."""

import sys
import zipfile
from collections.abc import Container, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compfeat.masks import are_whole, json_rle, whole_rle
from compfeat.structures import Tube

ENTRIES = 10  # of a video
REQUIRED = ("video_id", "category_id", "score", "segmentations")


class ResultsError(ValueError):
    """Results do not fit the ground truth they are evaluated against."""


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
        where = f"results entry {number}"
        if not isinstance(entry, dict):
            problems.append(f"{where}: it is {entry!r:.40}, not an object of {', '.join(REQUIRED)}")
            continue
        where += f" (video {entry.get('video_id')!r:.40})"
        if missing := [key for key in REQUIRED if key not in entry]:
            problems.append(f"{where}: {', '.join(missing)} missing")
            continue
        if not _is_among(entry["category_id"], categories):
            problems.append(f"{where}: unknown category {entry['category_id']!r:.40}")
        if not isinstance(entry["score"], int | float) or not abs(entry["score"]) <= sys.float_info.max:
            problems.append(f"{where}: the score {entry['score']!r:.40} is not a finite number")
        if not _is_among(entry["video_id"], videos):
            problems.append(f"{where}: unknown video")
            continue
        masks, video = entry["segmentations"], videos[entry["video_id"]]
        if not isinstance(masks, list | tuple):
            problems.append(f"{where}: the segmentations are {masks!r:.40}, not a list")
            continue
        frames = len(video["file_names"])
        if len(masks) != frames:
            problems.append(f"{where}: {len(masks)} segmentations for {frames} frames")
        if fault := _fault(masks, video["height"], video["width"], whole):
            problems.append(f"{where}: {fault}")
    return problems


def _is_among(identity: Any, known: Container) -> bool:
    return isinstance(identity, Hashable) and identity in known


def _fault(masks: Sequence[Any], height: int, width: int, whole: set[tuple]) -> str | None:
    """What is wrong with the first mask of a tube that is not as it should be; notes in ``whole`` that none is."""
    shown = [mask for mask in masks if mask]
    if all(_is_compressed(mask, [height, width]) for mask in shown):
        tube = (height, width, *(mask["counts"] for mask in shown))
        if tube in whole or are_whole(_texts(tube[2:]), height * width):
            whole.add(tube)
            return None
    for frame, mask in enumerate(masks):  # each by itself, to say which and why
        try:
            if mask:
                whole_rle(mask, height, width)
        except ValueError as error:
            return f"the mask of frame {frame}: {error}"
    return None


def _texts(counts: Sequence[str | bytes]) -> list[bytes]:
    """Those that are text, as bytes, whatever characters a json may hold."""
    return [text.encode("utf-8", "surrogatepass") for text in counts if isinstance(text, str)]


def _is_compressed(mask: Any, size: list[int]) -> bool:
    return isinstance(mask, dict) and mask.get("size") == size and isinstance(mask.get("counts"), str | bytes)


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
