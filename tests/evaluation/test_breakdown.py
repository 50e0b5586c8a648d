import json

import numpy as np
import pytest
from generated import HEIGHT, WIDTH, box_mask, compressed, uncompressed

from compfeat.evaluation.breakdown import KINDS, breakdown
from compfeat.evaluation.results import ResultsError
from compfeat.evaluation.tube_ap import evaluate
from compfeat.evaluation.tube_errors import TrueTube, TubeErrors
from compfeat.evaluation.tubes import FoundTube

FRAMES = 12
CAT, DOG = 7, 9
LEFT, RIGHT, ELSEWHERE = (2, 2), (2, 12), (21, 2)  # where tubes start; they never touch
SIDE = 6


def tube(place, frames=range(FRAMES), side=SIDE, shift=0):
    """A square that moves a pixel a frame."""
    x, y = place
    return [compressed(box_mask(x + shift + f, y, side, side)) if f in frames else None for f in range(FRAMES)]


def joined(*tubes):
    return [next(filter(None, masks), None) for masks in zip(*tubes, strict=True)]


def entry(masks, category=CAT, score=0.9, video=1):
    return {"video_id": video, "category_id": category, "score": score, "segmentations": masks}


def truth(*objects, videos=1):
    return {
        "videos": [{"id": i + 1, "height": HEIGHT, "width": WIDTH, "file_names": [""] * FRAMES} for i in range(videos)],
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
        "annotations": [{"id": i + 1, "iscrowd": 0, **found} for i, found in enumerate(objects)],
    }


FIRST, LAST = range(FRAMES // 2), range(FRAMES // 2, FRAMES)
TWO_CATS = truth(entry(tube(LEFT)), entry(tube(RIGHT)))
CAT_AND_DOG = truth(entry(tube(LEFT)), entry(tube(RIGHT), DOG))
HIDDEN_LATER = truth(entry(tube(LEFT, FIRST)), entry(tube(RIGHT)))
SWAPPED = joined(tube(LEFT, FIRST), tube(RIGHT, LAST)), joined(tube(RIGHT, FIRST), tube(LEFT, LAST))

ONE_KIND = {
    "class: another": ("class", CAT_AND_DOG, [entry(tube(LEFT), DOG), entry(tube(RIGHT), DOG)]),
    "class: another above the right one": (
        "class",
        CAT_AND_DOG,
        [entry(tube(LEFT), DOG, 0.8), entry(tube(LEFT), CAT, 0.3), entry(tube(RIGHT), DOG, 0.6)],
    ),
    "class: another below the right one, above what is of that class": (
        "class",
        CAT_AND_DOG,
        [entry(tube(LEFT), CAT, 0.8), entry(tube(LEFT), DOG, 0.7), entry(tube(RIGHT), DOG, 0.6)],
    ),
    "identity: a track in two": (
        "identity",
        TWO_CATS,
        [entry(tube(LEFT, FIRST)), entry(tube(LEFT, LAST), score=0.7), entry(tube(RIGHT), score=0.8)],
    ),
    "identity: a track in two that share frames": (
        "identity",
        TWO_CATS,
        [entry(tube(LEFT, range(7))), entry(tube(LEFT, range(5, FRAMES)), score=0.7), entry(tube(RIGHT), score=0.6)],
    ),
    "identity: a track in short pieces": (
        "identity",
        TWO_CATS,
        [*(entry(tube(LEFT, [f]), score=0.5 + f / 100) for f in range(FRAMES)), entry(tube(RIGHT), score=0.4)],
    ),
    "identity: two that change places": (
        "identity",
        TWO_CATS,
        [entry(SWAPPED[0]), entry(SWAPPED[1], score=0.8)],
    ),
    "identity: two of different classes that change places": (
        "identity",
        CAT_AND_DOG,
        [entry(SWAPPED[0]), entry(SWAPPED[1], DOG, score=0.8)],
    ),
    "identity: two of different classes that soon change places": (
        "identity",
        CAT_AND_DOG,
        [
            entry(joined(tube(LEFT, range(5)), tube(RIGHT))),
            entry(joined(tube(RIGHT, range(5)), tube(LEFT)), DOG, score=0.8),
        ],
    ),
    "identity: from one that disappears to one that appears": (
        "identity",
        truth(entry(tube(LEFT, FIRST)), entry(tube(RIGHT, LAST))),
        [entry(SWAPPED[0])],
    ),
    "mask: below every threshold": (
        "mask",
        TWO_CATS,
        [entry(tube(LEFT, side=SIDE // 2)), entry(tube(RIGHT), score=0.8)],
    ),
    "mask: below some thresholds": ("mask", TWO_CATS, [entry(tube(LEFT, shift=1)), entry(tube(RIGHT), score=0.8)]),
    "mask: beside the object in half of the frames": (
        "mask",
        TWO_CATS,
        [entry(joined(tube(LEFT, FIRST), tube(LEFT, shift=SIDE))), entry(tube(RIGHT), score=0.8)],
    ),
    "duplicate: the same masks": (
        "duplicate",
        TWO_CATS,
        [entry(tube(LEFT)), entry(tube(LEFT), score=0.8), entry(tube(RIGHT), score=0.7)],
    ),
    "duplicate: worse masks, but surer": (
        "duplicate",
        TWO_CATS,
        [entry(tube(LEFT, shift=1)), entry(tube(LEFT), score=0.8), entry(tube(RIGHT), score=0.7)],
    ),
    "duplicate: in some frames": (
        "duplicate",
        TWO_CATS,
        [entry(tube(LEFT)), entry(tube(LEFT, LAST), score=0.8), entry(tube(RIGHT), score=0.7)],
    ),
    "duplicate: of another class": (
        "duplicate",
        CAT_AND_DOG,
        [entry(tube(LEFT), CAT, 0.5), entry(tube(LEFT, side=SIDE - 1), DOG), entry(tube(RIGHT), DOG, 0.7)],
    ),
    "background: a tube": (
        "background",
        truth(entry(tube(LEFT))),
        [entry(tube(RIGHT)), entry(tube(LEFT), score=0.8)],
    ),
    "background: empty masks": (
        "background",
        truth(entry(tube(LEFT))),
        [entry(tube(LEFT, [])), entry(tube(LEFT), score=0.8)],
    ),
    "background: while the object is hidden": (
        "background",
        HIDDEN_LATER,
        [entry(tube(LEFT, range(FRAMES - 1))), entry(tube(RIGHT), score=0.8)],
    ),
    "background: in a video without objects": (
        "background",
        truth(entry(tube(LEFT)), videos=2),
        [entry(tube(RIGHT), video=2), entry(tube(LEFT), score=0.8)],
    ),
    "missed: one of its class": ("missed", TWO_CATS, [entry(tube(RIGHT))]),
    "missed: all of its class": ("missed", CAT_AND_DOG, [entry(tube(LEFT))]),
    "missed: everything": ("missed", CAT_AND_DOG, []),
    "missed: in some frames": ("missed", TWO_CATS, [entry(tube(LEFT, FIRST)), entry(tube(RIGHT), score=0.8)]),
}


@pytest.mark.parametrize(("kind", "ground_truth", "results"), ONE_KIND.values(), ids=ONE_KIND)
def test_what_one_kind_of_error_costs_is_gained_by_its_repair_and_by_no_other(kind, ground_truth, results):
    lost = 1 - evaluate(ground_truth, results)["AP"]
    gains = breakdown(ground_truth, results).overall
    assert lost > 0.01
    assert list(gains) == list(KINDS)
    assert gains == {other: pytest.approx(lost) if other == kind else 0 for other in KINDS}


def nothing(gains):
    return gains == dict.fromkeys(KINDS, 0)


def test_perfect_results_have_nothing_to_gain():
    gains = breakdown(CAT_AND_DOG, [entry(tube(LEFT)), entry(tube(RIGHT), DOG)])
    assert nothing(gains.overall)
    for groups in (gains.per_class, gains.per_size, gains.per_length):
        assert all(map(nothing, groups.values()))


def test_classes_listed_below_the_right_one_are_no_error_where_they_cost_nothing():
    results = [entry(tube(LEFT)), entry(tube(LEFT), DOG, 0.1), entry(tube(RIGHT), DOG), entry(tube(RIGHT), CAT, 0.1)]
    assert evaluate(CAT_AND_DOG, results)["AP"] == pytest.approx(1)
    assert nothing(breakdown(CAT_AND_DOG, results).overall)


def test_without_objects_there_is_nothing_to_gain():
    assert nothing(breakdown(truth(), [entry(tube(LEFT))]).overall)
    assert nothing(breakdown(truth(videos=0), []).overall)


def gained(ground_truth, results, repaired):
    return pytest.approx(evaluate(ground_truth, repaired)["AP"] - evaluate(ground_truth, results)["AP"])


def test_a_wrong_class_is_repaired_where_masks_would_count():
    small = entry(tube(LEFT, side=SIDE // 2), DOG)
    assert nothing(breakdown(TWO_CATS, [small, entry(tube(RIGHT), score=0.8)]).overall)
    # It stands before the true dog, but that is not for another class alone to repair.
    assert breakdown(CAT_AND_DOG, [small, entry(tube(RIGHT), DOG, 0.8)]).overall["class"] == 0


def test_of_two_tubes_of_one_object_the_one_of_the_right_class_is_no_duplicate():
    right = [entry(tube(LEFT, shift=1), CAT, 0.5), entry(tube(RIGHT), DOG, 0.7)]
    results = [entry(tube(LEFT), DOG), *right]
    gains = breakdown(CAT_AND_DOG, results).overall
    assert gains["class"] == 0
    assert gains["duplicate"] == gained(CAT_AND_DOG, results, right)


@pytest.mark.parametrize(("shift", "score"), [(1, 0.9), (3, 0.5)], ids=["counts", "overlaps too little"])
def test_what_was_found_twice_has_the_highest_score_that_counted(shift, score):
    cat = truth(entry(tube(LEFT)))
    false = entry(tube(RIGHT), score=0.7)
    results = [entry(tube(LEFT, shift=shift), score=0.9), false, entry(tube(LEFT), score=0.5)]
    expected = gained(cat, results, [entry(tube(LEFT), score=score), false])
    assert breakdown(cat, results).overall["duplicate"] == expected


def test_masks_of_an_object_that_has_its_own_tube_are_left_out_of_another():
    results = [entry(joined(tube(LEFT, range(9)), tube(RIGHT))), entry(tube(RIGHT), score=0.8)]
    expected = gained(TWO_CATS, results, [entry(tube(LEFT, range(9))), results[1]])
    assert breakdown(TWO_CATS, results).overall["identity"] == expected


def test_a_few_masks_of_an_object_are_not_made_a_tube():
    ground_truth = truth(entry(tube(LEFT)), entry(tube(RIGHT)), entry(tube(ELSEWHERE)))
    results = [entry(joined(tube(LEFT, range(9)), tube(RIGHT))), entry(tube(ELSEWHERE), score=0.8)]
    expected = gained(ground_truth, results, [entry(tube(LEFT, range(9))), results[1]])
    assert breakdown(ground_truth, results).overall["identity"] == expected


def test_errors_of_two_tubes_are_repaired_apart():
    results = [entry(tube(LEFT), DOG), entry(tube(RIGHT)), entry(tube(RIGHT), score=0.8)]
    gains = {"class": gained(TWO_CATS, results, [entry(tube(LEFT)), *results[1:]])}
    assert (
        breakdown(TWO_CATS, results).overall == dict.fromkeys(KINDS, 0) | gains
    )  # a duplicate at the end costs nothing


def test_a_repair_that_costs_gains_nothing():
    # Under its right class the tube still fails at most thresholds, and there it now comes before one that does not.
    results = [entry(tube(LEFT, shift=2), DOG), entry(tube(RIGHT), score=0.8)]
    right_class = [{**results[0], "category_id": CAT}, results[1]]
    assert evaluate(TWO_CATS, right_class)["AP"] < evaluate(TWO_CATS, results)["AP"]
    assert breakdown(TWO_CATS, results).overall["class"] == 0


def test_what_is_missed_altogether_is_put_in_with_the_median_score_of_what_is_found():
    results = [entry(tube(LEFT), score=0.5), *(entry(tube(ELSEWHERE), DOG, score) for score in (0.6, 0.4))]
    expected = gained(CAT_AND_DOG, results, [*results, entry(tube(RIGHT), DOG, 0.5)])
    assert breakdown(CAT_AND_DOG, results).overall["missed"] == expected


def test_crowds_are_neither_found_nor_missed():
    crowded = truth(entry(tube(LEFT)), {**entry(tube(RIGHT)), "iscrowd": 1})
    assert nothing(breakdown(crowded, [entry(tube(LEFT))]).overall)
    assert nothing(breakdown(crowded, [entry(tube(RIGHT)), entry(tube(LEFT), score=0.8)]).overall)


def test_gains_of_classes_are_their_own():
    gains = breakdown(CAT_AND_DOG, [entry(tube(LEFT))])
    assert gains.per_class["dog"] == {**dict.fromkeys(KINDS, 0), "missed": pytest.approx(1)}
    assert nothing(gains.per_class["cat"])


def test_gains_of_sizes_and_lengths_are_their_own():
    ground_truth = truth(entry(tube(LEFT, FIRST)), entry(tube(RIGHT)))  # short and medium, both small
    gains = breakdown(ground_truth, [entry(tube(RIGHT))])
    assert gains.per_length["short"] == {**dict.fromkeys(KINDS, 0), "missed": pytest.approx(1)}
    assert nothing(gains.per_length["medium"]) and nothing(gains.per_length["long"])
    assert gains.per_size["small"] == gains.overall
    assert nothing(gains.per_size["medium"]) and nothing(gains.per_size["large"])


def test_paths_and_every_form_of_mask_are_understood(tmp_path):
    masks = [uncompressed(box_mask(LEFT[0] + f, LEFT[1], SIDE, SIDE)) for f in range(FRAMES)]
    results = [entry(tube(LEFT, side=SIDE - 1))]
    for name, content in (("truth", truth(entry(masks))), ("results", results)):
        (tmp_path / name).write_text(json.dumps(content))
    assert breakdown(tmp_path / "truth", tmp_path / "results") == breakdown(truth(entry(tube(LEFT))), results)


def test_results_that_do_not_fit_are_refused():
    with pytest.raises(ResultsError, match="unknown video"):
        breakdown(TWO_CATS, [entry(tube(LEFT), video=5)])


def blundering(rng):
    """Ground truth of objects in lanes, and results: tubes that change lanes, drift and have gaps."""
    objects, results = [], []
    places = [(int(rng.integers(2, 20)), 1 + 7 * lane) for lane in range(3)]
    for place in places[: rng.integers(1, 4)]:
        objects.append(entry(tube(place, np.flatnonzero(rng.random(FRAMES) < 0.8)), int(rng.choice([CAT, DOG]))))
    for _ in range(rng.integers(6)):
        lanes = rng.integers(3, size=4)[np.sort(rng.integers(4, size=FRAMES))]
        masks = [
            tube(places[lane], side=int(rng.integers(4, 7)), shift=int(rng.choice([0, 0, 0, 1, 2, 9])))[f]
            if rng.random() < 0.9
            else None
            for f, lane in enumerate(lanes)
        ]
        results += [entry(masks, category, float(rng.random())) for category in (CAT, DOG) if rng.random() < 0.7]
    return truth(*objects), results


@pytest.mark.parametrize("seed", range(20))
def test_no_gain_is_negative_and_all_repairs_together_leave_nothing_to_gain(seed):
    ground_truth, results = blundering(np.random.default_rng(seed))
    lost = 1 - evaluate(ground_truth, results)["AP"]
    assert all(0 <= gain <= lost + 1e-9 for gain in breakdown(ground_truth, results).overall.values())

    true = [TrueTube(found["category_id"], found["segmentations"]) for found in ground_truth["annotations"]]
    tubes = [FoundTube({found["category_id"]: found["score"]}, found["segmentations"]) for found in results]
    for repair in (
        TubeErrors.with_identities,
        TubeErrors.without_duplicates,
        TubeErrors.without_background,
        TubeErrors.with_masks,
        lambda errors: errors.with_missed(0.5),
        TubeErrors.with_classes,
    ):
        tubes = repair(TubeErrors(tubes, true))
    repaired = [entry(found.masks, category, score) for found in tubes for category, score in found.scores.items()]
    assert evaluate(ground_truth, repaired)["AP"] == pytest.approx(1)
