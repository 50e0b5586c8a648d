"""Annotations that results are measured against, checked before anything is."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from compfeat.evaluation.results import ResultsError, entry_faults, is_compressed, place, texts
from compfeat.masks import are_whole, polygons_rle, whole_rle

LISTS = ("videos", "categories", "annotations")
REQUIRED: dict[str, dict[str, Any]] = {  # of what kind each is
    "videos": {"id": Integral, "height": Integral, "width": Integral, "file_names": list | tuple},
    "categories": {"id": Integral, "name": str | int},
}
OF_ANNOTATIONS = ("video_id", "category_id", "segmentations")


def sound_truth(ground_truth: Any) -> dict[str, Any]:
    """Loaded annotations of YouTube-VIS, with every mask as compressed RLE or None.

    Masks may be RLE, compressed or not, polygons or nothing. Those whose ``counts`` are bytes, as only pycocotools
    makes them, are taken as whole.

    Raises:
        ResultsError: a part of them is missing or not as it should be; the first one is named.
    """
    if not isinstance(ground_truth, Mapping):
        raise ResultsError(f"the ground truth is no object of {', '.join(LISTS)}")
    if lacking := [key for key in LISTS if not isinstance(ground_truth.get(key), list)]:
        raise ResultsError(f"the ground truth has no {', no '.join(lacking)}")
    if not ground_truth["categories"]:
        raise ResultsError("the ground truth names no categories")
    for key, required in REQUIRED.items():
        for number, entry in enumerate(ground_truth[key]):
            if not isinstance(entry, Mapping) or not entry.keys() >= required.keys():
                raise ResultsError(f"the ground truth: {key} {number} is no object of {', '.join(required)}")
            if wrong := [name for name, kind in required.items() if not isinstance(entry[name], kind)]:
                said = f"{wrong[0]} is {entry[wrong[0]]!r:.40}"
                raise ResultsError(f"the ground truth: {key} {number} is not as YouTube-VIS has them: {said}")
        if len({entry["id"] for entry in ground_truth[key]}) < len(ground_truth[key]):
            raise ResultsError(f"the ground truth: two of its {key} have the same id")
    videos = {video["id"]: video for video in ground_truth["videos"]}
    categories = {category["id"] for category in ground_truth["categories"]}
    annotations = []
    for number, entry in enumerate(ground_truth["annotations"]):
        where = f"the ground truth, {place('annotation', number, entry)}"
        if faults := entry_faults(entry, OF_ANNOTATIONS, videos, categories):
            raise ResultsError(f"{where}: {faults[0]}")
        video = videos[entry["video_id"]]
        try:
            masks = _sound_masks(entry["segmentations"], video["height"], video["width"])
        except ValueError as error:
            raise ResultsError(f"{where}: a mask: {error}") from error
        annotations.append(entry | {"segmentations": masks})
    return {**ground_truth, "annotations": annotations}


def _sound_masks(masks: Sequence[Any], height: int, width: int) -> list[dict | None]:
    compressed = [mask for mask in masks if mask and is_compressed(mask, height, width)]
    whole = are_whole(texts(compressed), height * width)
    sound: list[dict | None] = []
    for mask in masks:
        if not mask:
            sound.append(None)
        elif isinstance(mask, list):
            sound.append(polygons_rle(mask, height, width))
        else:
            known = whole and is_compressed(mask, height, width)
            sound.append(mask if known else whole_rle(mask, height, width))
    return sound
