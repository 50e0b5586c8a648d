"""Which tubes found in a video match its true ones of the same class, by COCO's rules."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle

from compfeat.evaluation.average_precision import LIMITS, Judged
from compfeat.evaluation.tubes import Masks

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU

Bins = Sequence[tuple[float, float]]  # of the size of tubes; their bounds belong to them


class MeasuredTube(NamedTuple):
    """A true tube, or one that was found."""

    masks: Masks
    areas: np.ndarray  # of the masks, pixels, float64 [F]
    size: float  # what places it in one of the bins
    score: float = 1.0
    crowd: bool = False


def judge(found: Sequence[MeasuredTube], true: Sequence[MeasuredTube], bins: Bins) -> Judged:
    """What the tubes of one class in one video are worth; the surest hundred of those found.

    In each bin true tubes of other sizes, and crowds in all, may be found but need not be. A tube that matches one of
    them does not count, and without a match it counts as wrong only in the bin of its own size.
    """
    found = sorted(found, key=lambda tube: tube.score, reverse=True)[: LIMITS[-1]]
    crowds = np.array([tube.crowd for tube in true], bool)
    optional = crowds | _outside(true, bins)
    ious = np.array([[tube_iou(tube, other) for other in true] for tube in found]).reshape(len(found), len(true))
    right, excused = _matched(ious, crowds, optional)
    wrong = ~(right | excused | _outside(found, bins)[:, None])
    return Judged(np.array([tube.score for tube in found], float), right, wrong, (~optional).sum(1))


def tube_iou(found: MeasuredTube, true: MeasuredTube) -> float:
    """Intersection over union of two tubes, summed exactly over frames; 0 where it is too small for any match.

    What masks can share at most is known from their areas: this, or a few frames, tells most pairs apart.
    """
    at_most = list(map(min, found.areas.tolist(), true.areas.tolist()))
    both = float(found.areas.sum() + true.areas.sum())
    shared = sum(at_most)
    for frame, area in enumerate(at_most):
        if shared < THRESHOLDS[0] * (both - shared):
            return 0.0
        if area:
            merged = rle.merge([found.masks[frame], true.masks[frame]], intersect=True)
            shared += int(rle.area(merged)) - area
    return shared / (both - shared) if both else 0.0


def _outside(tubes: Sequence[MeasuredTube], bins: Bins) -> np.ndarray:
    """Bool ``[A, N]`` of N tubes and A bins."""
    sizes = np.array([tube.size for tube in tubes], float)
    low, high = np.array(bins, float).T[..., None]
    return (sizes < low) | (sizes > high)


def _matched(ious: np.ndarray, crowds: np.ndarray, optional: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives each of N found tubes, in turn, the one of M true tubes that it overlaps most of those that are left.

    Optional ones come last, and crowds are never used up; of equal overlaps the last counts.

    Args:
        ious: ``[N, M]``.
        crowds: bool ``[M]``.
        optional: in each of A bins, bool ``[A, M]``.

    Returns:
        Which of those found match one that is not optional, and which one that is; bool ``[A, T, N]`` each.
    """
    right = np.zeros((len(optional), len(THRESHOLDS), len(ious)), bool)
    excused = np.zeros_like(right)
    least = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    optional = optional[:, None]  # [A, 1, M]
    taken = np.zeros((*right.shape[:2], len(crowds)), bool)  # [A, T, M]
    for n in np.flatnonzero((ious >= least[0]).any(1)):
        ranks = ious[n].argsort(kind="stable").argsort() + 1
        allowed = (ious[n] >= least) & ~(taken & ~crowds)
        preference = allowed * (ranks + len(ranks) * ~optional)
        chosen = allowed & (preference == preference.max(2, keepdims=True))
        right[..., n] = (chosen & ~optional).any(2)
        excused[..., n] = (chosen & optional).any(2)
        taken |= chosen
    return right, excused
