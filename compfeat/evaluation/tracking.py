"""How well objects are kept apart over time: HOTA, IDF1 and track mAP, by the package trackeval (extra ``metrics``)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from trackeval.metrics import HOTA, Identity, TrackMAP

from compfeat.evaluation.tube_ap import Results, Truth, loaded
from compfeat.evaluation.tubes import Masks, found_tubes, intersections, with_masks

TRACKING_METRICS = ("HOTA", "DetA", "AssA", "IDF1", "TrackmAP")
SCORE = 0.3  # from which on scripts/predict.py shows a tube


def tracking_metrics(ground_truth: Truth, results: Results, score: float = SCORE) -> dict[str, float]:
    """The numbers of ``TRACKING_METRICS``, fractions in [0, 1]; -1 where there are no objects.

    - HOTA and its halves DetA and AssA (Luiten et al. 2021): means over mask IoUs of 0.05, 0.1, ..., 0.95. At one IoU
      and for one class HOTA is the geometric mean of its halves; the averages need not be.
    - IDF1 (Ristani et al. 2016): at a mask IoU of 0.5.
    - TrackmAP (Yang et al. 2019): trackeval's reckoning of the AP of ``evaluate``, from which it differs only where
      there are crowds, or more than 100 tubes of a class in a video.

    All are reckoned class by class, over all videos, and averaged over the classes that have objects, as AP is. This is
    the class average of trackeval's YouTube-VIS benchmark, which however counts a class without objects as 0. An object
    under a wrong class is missed in one and false in another; of that AssA, which is of matched masks, sees nothing.

    TrackmAP is that of the results as they are. HOTA and IDF1 know no scores: every entry would count in full, even the
    least likely class of a tube. They are those of what a user is shown: of entries with equal masks only the
    likeliest, and only if its score is ``score`` or more. So they depend on how a system scores; to compare systems
    whose scores mean different things, give each the threshold that suits it on other videos.

    Crowds are no objects, and masks with more than half of their area in crowds of their class do not count where they
    find no object at a mask IoU of 0.5, as in the KITTI MOTS benchmark.

    Args:
        ground_truth, results: as of ``TubeEvaluation``.
        score: the least at which HOTA and IDF1 count a tube.

    Raises:
        ResultsError: the results do not fit the ground truth.
    """
    classes = _by_class(*loaded(ground_truth, results), score)
    if not classes:
        return dict.fromkeys(TRACKING_METRICS, -1.0)

    def averaged(metric: Any, classes: Sequence[Sequence[dict]]) -> dict[str, Any]:
        of_classes = [metric.combine_sequences(dict(enumerate(map(metric.eval_sequence, of)))) for of in classes]
        return metric.combine_classes_class_averaged(dict(enumerate(of_classes)))

    masks = [[_mask_by_mask(video) for video in videos] for videos in classes]
    tubes = [[_tube_by_tube(video) for video in videos] for videos in classes]
    track_map = TrackMAP({"PRINT_CONFIG": False, "USE_AREA_RANGES": False, "USE_TIME_RANGES": False})
    averages = averaged(HOTA(), masks) | averaged(Identity({"PRINT_CONFIG": False}), masks)
    averages["TrackmAP"] = averaged(track_map, tubes)["AP_all"]
    return {name: float(np.mean(averages[name])) for name in TRACKING_METRICS}  # over IoUs


@dataclass
class _Video:
    """What there is of one class in one video."""

    objects: list[Masks] = field(default_factory=list)
    crowds: list[Masks] = field(default_factory=list)
    shown: list[Masks] = field(default_factory=list)
    listed: list[tuple[float, Masks]] = field(default_factory=list)  # with scores


def _by_class(truth: Mapping[str, Any], results: Sequence[dict], score: float) -> list[list[_Video]]:
    """Of each class that has objects, the videos in which there is something of it, in the order of their ids."""
    classes: dict[int, dict[int, _Video]] = defaultdict(lambda: defaultdict(_Video))
    for entry, masks in with_masks(truth["annotations"], truth):
        video = classes[entry["category_id"]][entry["video_id"]]
        (video.crowds if entry.get("iscrowd") else video.objects).append(masks)
    for entry, masks in with_masks(results, truth):
        classes[entry["category_id"]][entry["video_id"]].listed.append((entry["score"], masks))
    for number, tubes in found_tubes(truth, results).items():
        for tube in tubes:
            if tube.score >= score:
                classes[tube.category][number].shown.append(tube.masks)
    with_objects = [videos for videos in classes.values() if any(video.objects for video in videos.values())]
    return [[videos[number] for number in sorted(videos)] for videos in with_objects]


def _mask_by_mask(video: _Video) -> dict[str, Any]:
    """What HOTA and IDF1 take: for each frame the ids of the objects and tubes that are seen in it, and their IoUs."""
    shared, areas, true_areas = intersections(video.shown, [*video.objects, *video.crowds])
    count = len(video.objects)
    ious = shared / np.maximum(areas[:, :, None] + true_areas[:, None] - shared, 1)
    counts = (ious[:, :, :count] >= 0.5).any(2) | (shared[:, :, count:].sum(2) <= areas / 2)
    visible, present = true_areas[:, :count] > 0, (areas > 0) & counts  # [F, M], [F, N]
    # Only what is seen in some frame has an id: trackeval would divide by the number of frames of each.
    columns, rows = np.flatnonzero(visible.any(0)), np.flatnonzero(present.any(0))
    visible, present, ious = visible[:, columns], present[:, rows], ious[:, rows][:, :, columns]
    return {
        "num_gt_ids": len(columns),
        "num_tracker_ids": len(rows),
        "num_gt_dets": visible.sum(),
        "num_tracker_dets": present.sum(),
        "gt_ids": [np.flatnonzero(seen) for seen in visible],
        "tracker_ids": [np.flatnonzero(seen) for seen in present],
        "similarity_scores": [
            of_frame[np.ix_(found, true)].T for of_frame, found, true in zip(ious, present, visible, strict=True)
        ],
    }


def _tube_by_tube(video: _Video) -> dict[str, Any]:
    """What track mAP takes: masks by frame, tubes by falling score. What is matched with id 0 it would match again."""
    truths = [*video.objects, *video.crowds]
    listed = sorted(video.listed, key=lambda entry: entry[0], reverse=True)
    return {
        "iou_type": "mask",
        "gt_track_ids": list(range(1, 1 + len(truths))),
        "gt_tracks": [dict(enumerate(masks)) for masks in truths],
        "gt_track_iscrowd": [False] * len(video.objects) + [True] * len(video.crowds),
        "dt_track_ids": list(range(1, 1 + len(listed))),
        "dt_tracks": [dict(enumerate(masks)) for _, masks in listed],
        "dt_track_scores": [score for score, _ in listed],
    }
