"""Precision and recall of a class over all videos, as COCO reckons them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RECALLS = np.linspace(0, 1, 101)  # at which precision is read; R of them
LIMITS = (1, 10, 100)  # at most this many highest-scoring tubes a video count (COCO's maxDets)


class Judged(NamedTuple):
    """What N tubes of one class in one video are worth, in A bins of sizes at T thresholds of IoU."""

    scores: np.ndarray  # float64 [N], falling
    right: np.ndarray  # bool [A, T, N]; a tube that is neither right nor wrong does not count
    wrong: np.ndarray  # bool [A, T, N]
    objects: np.ndarray  # int64 [A], how many should be found


def precision_and_recall(videos: Sequence[Judged]) -> tuple[np.ndarray, np.ndarray]:
    """Of one class in all videos, one of them at least; -1 where there is nothing to be found.

    Of equal scores that of the earlier video counts first.

    Returns:
        The precision at each of ``RECALLS``, ``[T, R, A]``: the best there or at any higher recall. The recall if
        no more tubes of a video count than each of ``LIMITS``, ``[T, A, 3]``. Both float64.
    """
    scores = np.concatenate([video.scores for video in videos])
    right = np.concatenate([video.right for video in videos], axis=2)
    wrong = np.concatenate([video.wrong for video in videos], axis=2)
    objects = np.sum([video.objects for video in videos], axis=0)
    places = np.concatenate([np.arange(len(video.scores)) for video in videos])
    order = np.argsort(-scores, kind="stable")
    bins, thresholds, _ = right.shape
    precision = np.full((thresholds, len(RECALLS), bins), -1.0)
    recall = np.full((thresholds, bins, len(LIMITS)), -1.0)
    for a in map(int, np.flatnonzero(objects)):
        for m, limit in enumerate(LIMITS):
            recall[:, a, m] = right[a][:, places < limit].sum(1) / objects[a]
        true, false = (flags[a][:, order].cumsum(1) for flags in (right, wrong))
        precisions = true / (false + true + np.spacing(1))  # COCO's way to make 0 of 0 / 0
        best = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
        best = np.pad(best, ((0, 0), (0, 1)))  # of recalls that are never reached
        for t in range(thresholds):
            precision[t, :, a] = best[t, np.searchsorted(true[t] / objects[a], RECALLS)]
    return precision, recall
