"""Why a tube AP is what it is: what it would gain if one kind of error, and nothing else, were repaired."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, get_args

from compfeat.evaluation.tube_ap import Results, Truth, TubeEvaluation, ap_by_length, loaded
from compfeat.evaluation.tube_errors import TrueTube, TubeErrors
from compfeat.evaluation.tubes import FoundTube, found_tubes, with_masks

Kind = Literal["class", "identity", "mask", "duplicate", "background", "missed"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SIZES = {"small": "APs", "medium": "APm", "large": "APl"}

Gains = dict[Kind, float]  # of AP, fractions, in the order of KINDS
Tubes = Mapping[int, Sequence[FoundTube]]  # by video


@dataclass(frozen=True)
class Breakdown:
    """What AP would gain by the repair of each kind of error, over all and by groups of true tubes.

    A group in which nothing counts gains 0.

    Attributes:
        overall: of AP.
        per_class: of the AP of each class, by its name.
        per_size: of APs, APm and APl: "small", "medium", "large".
        per_length: of ``ap_by_length``: "short", "medium", "long".
    """

    overall: Gains
    per_class: dict[str, Gains]
    per_size: dict[str, Gains]
    per_length: dict[str, Gains]


def breakdown(ground_truth: Truth, results: Results) -> Breakdown:
    """What AP would gain if all errors of one kind were repaired and nothing else.

    - class: an object is found, but listed under a wrong class, instead of the right one or beside it;
    - identity: a track is split into several tubes, or a tube switches to another object;
    - mask: masks are not quite those of their objects;
    - duplicate: an object is found once more;
    - background: a tube, or a mask of one, is of no object;
    - missed: no tube shows an object, or shows it in some of its frames.

    They are told apart once for a tube, not for each IoU threshold anew; how, and what each repair does, says
    ``TubeErrors``. Entries with equal masks are one tube under several classes. Objects that are missed altogether are
    put in with the median score of those that are found. Crowds are neither found nor missed.

    After all six repairs AP is 1, but their gains do not add up to that: a tube with two errors may count after two
    repairs only. A repair can even cost AP, where what it repairs has another error too and now gets into the way of
    others; as in TIDE it then gains 0.

    Args:
        ground_truth, results: as of ``TubeEvaluation``.

    Raises:
        ResultsError: the results do not fit the ground truth.
    """
    truth, entries = loaded(ground_truth, results)
    found = found_tubes(truth, entries)
    errors = {video: TubeErrors(found[video], true) for video, true in _true_tubes(truth).items()}
    sure = median([score for video in errors.values() for score in video.owner_scores] or [1.0])
    repairs: dict[Kind, Callable[[TubeErrors], list[FoundTube]]] = {
        "class": TubeErrors.with_classes,
        "identity": TubeErrors.with_identities,
        "mask": TubeErrors.with_masks,
        "duplicate": TubeErrors.without_duplicates,
        "background": TubeErrors.without_background,
        "missed": lambda video: video.with_missed(sure),
    }
    before = _ap_by_groups(truth, found)
    after = {
        kind: _ap_by_groups(truth, {number: repairs[kind](video) for number, video in errors.items()}) for kind in KINDS
    }

    def gains(groups: str) -> dict[str, Gains]:
        return {
            group: {kind: max(0.0, after[kind][groups][group] - ap) for kind in KINDS}
            for group, ap in before[groups].items()
        }

    return Breakdown(gains("overall")["all"], gains("per_class"), gains("per_size"), gains("per_length"))


def _ap_by_groups(truth: Mapping[str, Any], tubes: Tubes) -> dict[str, dict[str, float]]:
    results = [
        {"video_id": video, "category_id": category, "score": score, "segmentations": tube.masks}
        for video, in_video in tubes.items()
        for tube in in_video
        for category, score in tube.scores.items()
    ]
    evaluation = TubeEvaluation(truth, results)
    return {
        "overall": {"all": evaluation.metrics["AP"]},
        "per_class": evaluation.per_class,
        "per_size": {size: evaluation.metrics[metric] for size, metric in SIZES.items()},
        "per_length": ap_by_length(truth, results),
    }


def _true_tubes(truth: Mapping[str, Any]) -> dict[int, list[TrueTube]]:
    tubes: dict[int, list[TrueTube]] = {video["id"]: [] for video in truth["videos"]}
    for entry, masks in with_masks(truth["annotations"], truth):
        if not entry.get("iscrowd"):
            tubes[entry["video_id"]].append(TrueTube(entry["category_id"], masks))
    return tubes
