"""The YouTube-VIS reference evaluator as its algorithm has it: what our evaluation must equal, and is timed against."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

AREAS = [[0, 1e5**2], [0, 128**2], [128**2, 256**2], [256**2, 1e5**2]]


def reference_metrics(ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> list[float]:
    """The twelve numbers, in the order of ``METRICS``, of loaded json, which is left as it is.

    As in the evaluator that YouTube-VIS publishes, a fork of pycocotools, true areas are those of the annotations, and
    areas and boxes of results are found mask by mask. The matching and the averages are pycocotools', of which the
    fork has a copy. Nothing is shared with ``compfeat.evaluation``, for that is what is checked.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        evaluation = _Reference(_true_tubes(ground_truth), _found_tubes(ground_truth, results), iouType="bbox")
        evaluation.params.areaRng = AREAS
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(map(float, evaluation.stats))


class _Reference(COCOeval):
    def computeIoU(self, imgId: int, catId: int) -> Any:
        truths, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not truths and not found:
            return []
        order = np.argsort([-entry["score"] for entry in found], kind="mergesort")
        found = [found[i] for i in order[: self.params.maxDets[-1]]]
        ious = np.zeros((len(found), len(truths)))
        for row, column in np.ndindex(ious.shape):
            ious[row, column] = _tube_iou(found[row]["masks"], truths[column]["masks"])
        return ious


def _tube_iou(found: Sequence[dict | None], true: Sequence[dict | None]) -> float:
    intersection = union = 0.0
    for a, b in zip(found, true, strict=False):
        if a and b:
            intersection += rle.area(rle.merge([a, b], True))
            union += rle.area(rle.merge([a, b], False))
        elif a or b:
            union += rle.area(a or b)
    return intersection / union if union > 0 else 0.0


def _true_tubes(ground_truth: Mapping[str, Any]) -> COCO:
    videos = {video["id"]: video for video in ground_truth["videos"]}
    entries = []
    for entry in ground_truth["annotations"]:
        video = videos[entry["video_id"]]
        masks = [_compressed(mask, video["height"], video["width"]) for mask in entry["segmentations"]]
        entries.append(_entry(entry, entry["id"], masks, entry["areas"]) | {"iscrowd": entry["iscrowd"]})
    return _index(ground_truth, entries)


def _found_tubes(ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> COCO:
    entries = []
    for number, entry in enumerate(results, start=1):
        masks = entry["segmentations"]
        areas = [rle.area(mask) if mask else None for mask in masks]
        boxes = [rle.toBbox(mask) if mask else None for mask in masks]
        entries.append(_entry(entry, number, masks, areas) | {"score": entry["score"], "boxes": boxes, "iscrowd": 0})
    return _index(ground_truth, entries)


def _entry(entry: Mapping[str, Any], number: int, masks: Sequence[dict | None], areas: Sequence[Any]) -> dict[str, Any]:
    shown = [area for area in areas if area]
    return {
        "id": number,
        "image_id": entry["video_id"],
        "category_id": entry["category_id"],
        "masks": masks,
        "area": np.array(shown).mean() if shown else 0,
    }


def _index(ground_truth: Mapping[str, Any], entries: list[dict]) -> COCO:
    index = COCO()
    images = [{"id": video["id"]} for video in ground_truth["videos"]]
    index.dataset = {"images": images, "categories": ground_truth["categories"], "annotations": entries}
    index.createIndex()
    return index


def _compressed(segmentation: Any, height: int, width: int) -> dict | None:
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        return rle.merge(rle.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return rle.frPyObjects(segmentation, height, width)
    return segmentation
