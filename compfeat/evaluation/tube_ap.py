"""Tube AP and AR of YouTube-VIS (Yang et al. 2019), with masks read by stock pycocotools."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from compfeat.evaluation.average_precision import precision_and_recall
from compfeat.evaluation.ground_truth import sound_truth
from compfeat.evaluation.results import ResultsError, validate_results
from compfeat.evaluation.tube_matching import THRESHOLDS, Bins, MeasuredTube, judge
from compfeat.evaluation.tubes import areas_of, compressed
from compfeat.files import read_json

Metric = Literal["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
METRICS: tuple[str, ...] = get_args(Metric)
AREAS = ((0, 1e5**2), (0, 128**2), (128**2, 256**2), (256**2, 1e5**2))  # all, small, medium, large; pixels
LENGTHS = ((0, 1e5), (0, 8), (9, 16), (17, 1e5))  # all, short, medium, long; visible frames, so short to long are apart

Truth = str | Path | Mapping[str, Any]  # annotations of YouTube-VIS, a path or loaded json
Results = str | Path | Sequence[dict]  # results.json, a path or loaded
Measure = Callable[[np.ndarray], float]  # of a tube, from the areas of its masks


class TubeEvaluation:
    """Matches results with ground truth once; holds all metrics of them.

    Attributes:
        metrics: the twelve numbers of ``METRICS``, fractions in [0, 1]; -1 where nothing counts.
        per_class: AP by category name; those that share one have their id behind it.

    Args:
        ground_truth: YouTube-VIS annotations, a path or loaded json. Segmentations may be RLE, compressed or not,
            polygons or None.
        results: entries ``{video_id, category_id, score, segmentations}``, a path or loaded json.

    Raises:
        ResultsError: the results do not fit the ground truth, or that is none.
    """

    def __init__(self, ground_truth: Truth, results: Results) -> None:
        truth, entries = loaded(ground_truth, results)
        precision, recall = _evaluated(truth, entries, _mean_area, AREAS)
        self.metrics = _metrics(precision, recall)
        names = _class_names(truth["categories"])
        self.per_class = {names[number]: _mean(precision[:, :, k, 0]) for k, number in enumerate(sorted(names))}


def evaluate(ground_truth: Truth, results: Results) -> dict[str, float]:
    """The twelve numbers of ``METRICS``, equal to the YouTube-VIS reference evaluator's; see ``TubeEvaluation``."""
    return TubeEvaluation(ground_truth, results).metrics


def ap_by_length(ground_truth: Truth, results: Results) -> dict[str, float]:
    """AP of "short", "medium" and "long" true tubes, the bins of ``LENGTHS``; -1 where nothing counts.

    Lengths are to it what areas are to APs, APm and APl: true tubes of other lengths do not count, nor do unmatched
    results of other lengths. The bounds are half those of TIVE (Jia et al. 2022), for videos of 12 to 36 frames.

    Raises:
        ResultsError: the results do not fit the ground truth, or that is none.
    """
    precision, _ = _evaluated(*loaded(ground_truth, results), np.count_nonzero, LENGTHS)
    return {name: _mean(precision[..., a]) for a, name in enumerate(("short", "medium", "long"), start=1)}


def loaded(ground_truth: Truth, results: Results) -> tuple[Mapping[str, Any], Sequence[dict]]:
    """Ground truth, with compressed masks, and results as loaded json, which fit each other.

    Raises:
        ResultsError: the results do not fit the ground truth, or that is none.
    """
    truth, entries = sound_truth(_loaded(ground_truth)), _loaded(results)
    if problems := validate_results(entries, truth):
        raise ResultsError(f"{problems[0]} ({len(problems)} problems in all)")
    return truth, entries


def _evaluated(
    truth: Mapping[str, Any], results: Sequence[dict], measure: Measure, bins: Bins
) -> tuple[np.ndarray, np.ndarray]:
    """Precision ``[T, R, K, A]`` and recall ``[T, K, A, 3]`` of K classes, by their ids, for A bins of a measure."""
    nothing = judge([], [], bins)
    judged = {category["id"]: [nothing] for category in truth["categories"]}
    # A class of which there is nothing to be found has no precision, whatever was found: it need not be measured.
    present = {entry["category_id"] for entry in truth["annotations"] if not entry.get("iscrowd")}
    true = _by_video(truth["annotations"])
    found = _by_video(entry for entry in results if entry["category_id"] in present)
    for video in sorted(truth["videos"], key=itemgetter("id")):
        true_tubes = _by_class(video, true[video["id"]], measure)
        tubes = _by_class(video, found[video["id"]], measure)
        for category in judged.keys() & (true_tubes.keys() | tubes.keys()):
            judged[category].append(judge(tubes[category], true_tubes[category], bins))
    classes = [precision_and_recall(judged[category]) for category in sorted(judged)]
    precision, recall = ([of_class[i] for of_class in classes] for i in (0, 1))
    return np.stack(precision, axis=2), np.stack(recall, axis=1)


def _by_video(entries: Iterable[dict]) -> dict[int, list[dict]]:
    videos = defaultdict(list)
    for entry in entries:
        videos[entry["video_id"]].append(entry)
    return videos


def _by_class(video: Mapping[str, Any], entries: Sequence[dict], measure: Measure) -> dict[int, list[MeasuredTube]]:
    size = video["height"], video["width"]
    tubes = [[compressed(mask, *size) for mask in entry["segmentations"]] for entry in entries]
    classes = defaultdict(list)
    for entry, masks, areas in zip(entries, tubes, areas_of(tubes), strict=True):
        tube = MeasuredTube(masks, areas, measure(areas), entry.get("score", 1), bool(entry.get("iscrowd")))
        classes[entry["category_id"]].append(tube)
    return classes


def _class_names(categories: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """By id, no two the same."""
    shared = Counter(category["name"] for category in categories)
    return {c["id"]: c["name"] if shared[c["name"]] == 1 else f"{c['name']} ({c['id']})" for c in categories}


def _metrics(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    every, small, medium, large = range(len(AREAS))
    counted = {
        "AP": precision[..., every],
        "AP50": precision[THRESHOLDS == 0.5, ..., every],
        "AP75": precision[THRESHOLDS == 0.75, ..., every],
        "APs": precision[..., small],
        "APm": precision[..., medium],
        "APl": precision[..., large],
        "AR1": recall[..., every, 0],
        "AR10": recall[..., every, 1],
        "AR100": recall[..., every, 2],
        "ARs": recall[..., small, 2],
        "ARm": recall[..., medium, 2],
        "ARl": recall[..., large, 2],
    }
    return {name: _mean(values) for name, values in counted.items()}


def _mean(values: np.ndarray) -> float:
    """The mean of what counts; -1 where nothing does."""
    counted = values[values > -1]
    return float(counted.mean()) if len(counted) else -1.0


def _mean_area(areas: np.ndarray) -> float:
    return areas.sum() / max(1, np.count_nonzero(areas))


def _loaded(source: Any) -> Any:
    return read_json(source) if isinstance(source, str | Path) else source
