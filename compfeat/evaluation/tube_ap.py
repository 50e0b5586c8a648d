"""Tube AP and AR of YouTube-VIS (Yang et al. 2019) on stock pycocotools."""

import contextlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from compfeat.evaluation.results import ResultsError, validate_results
from compfeat.evaluation.tubes import compressed, overlaps

Metric = Literal["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
METRICS: tuple[str, ...] = get_args(Metric)
AREAS = ((0, 1e5**2), (0, 128**2), (128**2, 256**2), (256**2, 1e5**2))  # all, small, medium, large; pixels
LENGTHS = ((0, 1e5), (0, 8), (9, 16), (17, 1e5))  # all, short, medium, long; visible frames, so short to long are apart

Truth = str | Path | Mapping[str, Any]  # annotations of YouTube-VIS, a path or loaded json
Results = str | Path | Sequence[dict]  # results.json, a path or loaded
Measure = Callable[[Sequence[float]], float]  # of a tube, from the areas of its masks that are not empty


class TubeEvaluation:
    """Matches results with ground truth once; holds all metrics of them.

    Attributes:
        metrics: the twelve numbers of ``METRICS``, fractions in [0, 1]; -1 where nothing counts.
        per_class: AP by category name.

    Args:
        ground_truth: YouTube-VIS annotations, a path or loaded json. Segmentations may be RLE, compressed or not,
            polygons or None.
        results: entries ``{video_id, category_id, score, segmentations}``, a path or loaded json.

    Raises:
        ResultsError: the results do not fit the ground truth.
    """

    def __init__(self, ground_truth: Truth, results: Results) -> None:
        truth, entries = loaded(ground_truth, results)
        self._evaluation = _evaluated(truth, entries, _mean, AREAS)
        self.metrics = dict(zip(METRICS, map(float, self._evaluation.stats), strict=True))
        self.per_class = self._per_class(truth)

    def _per_class(self, truth: Mapping[str, Any]) -> dict[str, float]:
        names = {category["id"]: category["name"] for category in truth["categories"]}
        precision = self._evaluation.eval["precision"][:, :, :, 0, -1]  # thresholds x recalls x classes
        return {
            names[identity]: float(np.mean(values[values > -1])) if (values > -1).any() else -1.0
            for identity, values in zip(self._evaluation.params.catIds, np.moveaxis(precision, 2, 0), strict=True)
        }


def evaluate(ground_truth: Truth, results: Results) -> dict[str, float]:
    """The twelve numbers of ``METRICS``, equal to the YouTube-VIS reference evaluator's; see ``TubeEvaluation``."""
    return TubeEvaluation(ground_truth, results).metrics


def ap_by_length(ground_truth: Truth, results: Results) -> dict[str, float]:
    """AP of "short", "medium" and "long" true tubes, the bins of ``LENGTHS``; -1 where nothing counts.

    Lengths are to it what areas are to APs, APm and APl: true tubes of other lengths do not count, nor do unmatched
    results of other lengths. The bounds are half those of TIVE (Jia et al. 2022), for videos of 12 to 36 frames.

    Raises:
        ResultsError: the results do not fit the ground truth.
    """
    stats = _evaluated(*loaded(ground_truth, results), len, LENGTHS).stats
    short, medium, long = (float(stats[METRICS.index(name)]) for name in ("APs", "APm", "APl"))
    return {"short": short, "medium": medium, "long": long}


def loaded(ground_truth: Truth, results: Results) -> tuple[Mapping[str, Any], Sequence[dict]]:
    """Ground truth and results as loaded json, which fit each other.

    Raises:
        ResultsError: the results do not fit the ground truth.
    """
    truth, entries = _loaded(ground_truth), _loaded(results)
    if problems := validate_results(entries, truth):
        raise ResultsError(f"{problems[0]} ({len(problems)} problems in all)")
    return truth, entries


def _evaluated(
    truth: Mapping[str, Any], results: Sequence[dict], measure: Measure, bins: Sequence[tuple[float, float]]
) -> "_TubeEval":
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        evaluation = _TubeEval(truth, results, measure, bins)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _mean(areas: Sequence[float]) -> float:
    return float(np.mean(areas)) if areas else 0.0


class _TubeEval(COCOeval):
    """COCO's evaluation with a video for an image and a tube for a mask.

    Args:
        measure: what places a tube in one of ``bins``, whose bounds belong to them.
    """

    def __init__(
        self, truth: Mapping[str, Any], results: Sequence[dict], measure: Measure, bins: Sequence[tuple[float, float]]
    ) -> None:
        sizes = {video["id"]: (video["height"], video["width"]) for video in truth["videos"]}
        images = [{"id": video["id"]} for video in truth["videos"]]
        super().__init__(
            _index(images, truth["categories"], truth["annotations"], sizes, measure),
            _index(images, truth["categories"], results, sizes, measure),
            iouType="bbox",  # "segm" would look for masks; the overlap is computed below in either case
        )
        self.params.areaRng = [list(bounds) for bounds in bins]

    def computeIoU(self, imgId: int, catId: int) -> Any:
        """Intersection over union of every detected with every true tube, summed exactly over frames."""
        truths = self._gts[imgId, catId]
        found = self._dts[imgId, catId]
        if not truths and not found:
            return []
        order = np.argsort([-entry["score"] for entry in found], kind="mergesort")
        found = [found[i] for i in order[: self.params.maxDets[-1]]]
        if not truths or not found:
            return np.zeros((len(found), len(truths)))
        by_frame, areas, true_areas = overlaps([entry["tube"] for entry in found], [entry["tube"] for entry in truths])
        intersection = by_frame.sum(0)
        union = areas.sum(0)[:, None] + true_areas.sum(0) - intersection
        return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def _index(
    images: list,
    categories: list,
    entries: Sequence[dict],
    sizes: Mapping[int, tuple[int, int]],
    measure: Measure,
) -> COCO:
    index = COCO()
    index.dataset = {"images": images, "categories": categories, "annotations": []}
    for number, entry in enumerate(entries, start=1):
        tube = [compressed(segmentation, *sizes[entry["video_id"]]) for segmentation in entry["segmentations"]]
        areas = [area for area in (float(rle.area(mask)) for mask in tube if mask) if area]
        index.dataset["annotations"].append(
            {
                "id": number,
                "image_id": entry["video_id"],
                "category_id": entry["category_id"],
                "iscrowd": entry.get("iscrowd", 0),
                "score": entry.get("score"),
                "area": measure(areas),
                "tube": tube,
            }
        )
    index.createIndex()
    return index


def _loaded(source: Any) -> Any:
    return json.loads(Path(source).read_bytes()) if isinstance(source, str | Path) else source
