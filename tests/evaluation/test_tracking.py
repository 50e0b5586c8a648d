import gzip
import json
import math

import numpy as np
import pytest
from generated import HEIGHT, WIDTH, box_mask, compressed, uncompressed

from compfeat.evaluation.results import ResultsError
from compfeat.evaluation.tube_ap import evaluate

trackeval = pytest.importorskip("trackeval")
from compfeat.evaluation.tracking import TRACKING_METRICS, tracking_metrics  # noqa: E402

FRAMES = 12
FIRST, LAST = range(FRAMES // 2), range(FRAMES // 2, FRAMES)
CAT, DOG, BIRD = 7, 9, 11
LEFT, RIGHT = (2, 2), (2, 12)  # where tubes start; they never touch
SIDE = 6
ONE, HALF, THIRD = 1.0, 1 / 2, 1 / 3


def tube(place, frames=range(FRAMES), width=SIDE, encoded=compressed):
    """A square that moves a pixel a frame, or a rectangle with the same left edge."""
    x, y = place
    return [encoded(box_mask(x + f, y, width, SIDE)) if f in frames else None for f in range(FRAMES)]


def joined(*tubes):
    return [next(filter(None, masks), None) for masks in zip(*tubes, strict=True)]


def entry(masks, category=CAT, score=0.9, video=1, **more):
    return {"video_id": video, "category_id": category, "score": score, "segmentations": masks, **more}


def truth(*objects, videos=1):
    names = {CAT: "cat", DOG: "dog", BIRD: "bird"}
    return {
        "videos": [
            {"id": i + 1, "height": HEIGHT, "width": WIDTH, "file_names": [f"{i}/{f}.jpg" for f in range(FRAMES)]}
            for i in range(videos)
        ],
        "categories": [{"id": number, "name": name} for number, name in names.items()],
        "annotations": [{"id": i + 1, "iscrowd": 0, **found} for i, found in enumerate(objects)],
    }


ONE_CAT, TWO_CATS = truth(entry(tube(LEFT))), truth(entry(tube(LEFT)), entry(tube(RIGHT)))
CAT_AND_DOG = truth(entry(tube(LEFT)), entry(tube(RIGHT), DOG))
BOTH_FOUND = [entry(tube(LEFT)), entry(tube(RIGHT))]
CROWD = entry(tube(RIGHT), iscrowd=1)

# What HOTA counts are masks: TP, FN, FP; and for each TP, of its object and tube: TPA, FNA, FPA (Luiten et al., Eq. 3
# to 6). Where masks are equal or do not touch, all IoU thresholds agree.
CASES = {  # ground truth, results, DetA, AssA, IDF1
    "all found": (TWO_CATS, BOTH_FOUND, ONE, ONE, ONE),
    "a new identity halfway": (  # each TP: TPA = FNA = 6; IDTP = IDFN = IDFP = 6
        ONE_CAT,
        [entry(tube(LEFT, FIRST)), entry(tube(LEFT, LAST))],
        ONE,
        HALF,
        HALF,
    ),
    "two change places halfway": (  # each TP: TPA = FNA = FPA = 6; IDTP = IDFN = IDFP = 12
        TWO_CATS,
        [
            entry(joined(tube(LEFT, FIRST), tube(RIGHT, LAST))),
            entry(joined(tube(RIGHT, FIRST), tube(LEFT, LAST))),
        ],
        ONE,
        THIRD,
        HALF,
    ),
    "a new identity for a quarter": (  # 9 TP with 9 of 12, 3 with 3 of 12; IDTP = 9, IDFN = IDFP = 3
        ONE_CAT,
        [entry(tube(LEFT, range(9))), entry(tube(LEFT, range(9, 12)))],
        ONE,
        (9 * 9 / 12 + 3 * 3 / 12) / 12,
        9 / 12,
    ),
    "one of two missed": (TWO_CATS, [entry(tube(LEFT))], HALF, ONE, 24 / (24 + 12)),  # TP = FN = 12
    "a false one beside it": (ONE_CAT, BOTH_FOUND, HALF, ONE, 24 / (24 + 12)),  # TP = FP = 12
    "a false one in a video without objects": (
        truth(entry(tube(LEFT)), videos=2),
        [entry(tube(LEFT)), entry(tube(LEFT), video=2)],
        HALF,
        ONE,
        24 / (24 + 12),
    ),
    "missed in half of the frames": (  # TP = FN = 6, each TP: TPA = FNA = 6
        ONE_CAT,
        [entry(tube(LEFT, FIRST))],
        HALF,
        HALF,
        12 / (12 + 6),
    ),
    "nothing found": (CAT_AND_DOG, [], 0, 0, 0),
    "one class found, one missed": (CAT_AND_DOG, [entry(tube(LEFT))], HALF, HALF, HALF),
    "another class": (ONE_CAT, [entry(tube(LEFT), DOG)], 0, 0, 0),
    "listed under another class too": (ONE_CAT, [entry(tube(LEFT)), entry(tube(LEFT), DOG, 0.8)], ONE, ONE, ONE),
    "listed higher under another class": (ONE_CAT, [entry(tube(LEFT)), entry(tube(LEFT), DOG, 0.95)], 0, 0, 0),
    "a false one of a class without objects": (ONE_CAT, [entry(tube(LEFT)), entry(tube(RIGHT), BIRD)], ONE, ONE, ONE),
    "a false one that scores too little": (ONE_CAT, [entry(tube(LEFT)), entry(tube(RIGHT), CAT, 0.29)], ONE, ONE, ONE),
    "a true one that scores just enough": (ONE_CAT, [entry(tube(LEFT), CAT, 0.3)], ONE, ONE, ONE),
    "a crowd found": (truth(entry(tube(LEFT)), CROWD), BOTH_FOUND, ONE, ONE, ONE),
    "an object found inside a crowd": (
        truth(entry(tube(LEFT)), entry(tube(LEFT, width=SIDE + 2), iscrowd=1)),
        [entry(tube(LEFT))],
        ONE,
        ONE,
        ONE,
    ),
    "a crowd not found": (truth(entry(tube(LEFT)), CROWD), [entry(tube(LEFT))], ONE, ONE, ONE),
    "an object and a tube that are never seen": (
        truth(entry(tube(LEFT)), entry([None] * FRAMES)),
        [entry(tube(LEFT)), entry([None] * FRAMES)],
        ONE,
        ONE,
        ONE,
    ),
}


@pytest.mark.parametrize(("ground_truth", "results", "det", "ass", "idf1"), CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("error")
def test_what_can_be_reckoned_by_hand(ground_truth, results, det, ass, idf1):
    metrics = tracking_metrics(ground_truth, results)
    assert tuple(metrics) == TRACKING_METRICS
    expected = {"HOTA": math.sqrt(det * ass), "DetA": det, "AssA": ass, "IDF1": idf1}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("width", "thresholds", "idf1"), [(4, 13, 1), (2, 6, 0)])  # IoU 2/3 and 1/3
def test_masks_count_up_to_their_overlap(width, thresholds, idf1):
    metrics = tracking_metrics(ONE_CAT, [entry(tube(LEFT, width=width))])
    expected = dict.fromkeys(("HOTA", "DetA", "AssA"), thresholds / 19) | {"IDF1": idf1}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_classes_are_averaged_each_with_its_own_hota():
    results = [entry(tube(LEFT, FIRST)), entry(tube(LEFT, LAST)), entry(tube(RIGHT), DOG)]
    expected = {"HOTA": (math.sqrt(HALF) + 1) / 2, "DetA": 1, "AssA": (HALF + 1) / 2, "IDF1": (HALF + 1) / 2}
    metrics = tracking_metrics(CAT_AND_DOG, results)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_videos_of_a_class_are_one_count():
    # The second cat is in another video, and cut in two: of 24 TP half have TPA = 12 of 12, half 6 of 12.
    ground_truth = truth(entry(tube(LEFT)), entry(tube(LEFT), video=2), videos=3)
    results = [entry(tube(LEFT)), entry(tube(LEFT, FIRST), video=2), entry(tube(LEFT, LAST), video=2)]
    metrics = tracking_metrics(ground_truth, results)
    assert metrics["HOTA"] == pytest.approx(math.sqrt(3 / 4))
    assert metrics["IDF1"] == pytest.approx(18 / (18 + 6))


def test_the_score_from_which_tubes_count_is_a_choice():
    results = [entry(tube(LEFT)), entry(tube(RIGHT), score=0.1)]
    assert tracking_metrics(ONE_CAT, results)["DetA"] == pytest.approx(1)
    assert tracking_metrics(ONE_CAT, results, score=0.1)["DetA"] == pytest.approx(HALF)
    assert tracking_metrics(ONE_CAT, results, score=0.95)["DetA"] == 0
    assert tracking_metrics(ONE_CAT, results, score=0.95)["TrackmAP"] == pytest.approx(1)


def test_without_objects_nothing_counts():
    nothing = dict.fromkeys(TRACKING_METRICS, -1)
    assert tracking_metrics(truth(), [entry(tube(LEFT))]) == nothing
    assert tracking_metrics(truth(CROWD), [entry(tube(RIGHT))]) == nothing
    assert tracking_metrics(truth(videos=0), []) == nothing


def test_results_that_do_not_fit_are_refused():
    with pytest.raises(ResultsError, match="unknown video"):
        tracking_metrics(ONE_CAT, [entry(tube(LEFT), video=5)])


def test_nothing_is_printed_and_paths_are_understood(tmp_path, capfd):
    masks = [uncompressed(box_mask(LEFT[0] + f, LEFT[1], SIDE, SIDE)) for f in range(FRAMES)]
    for name, content in (("truth", truth(entry(masks))), ("results", BOTH_FOUND)):
        (tmp_path / name).write_text(json.dumps(content))
    assert tracking_metrics(tmp_path / "truth", tmp_path / "results") == tracking_metrics(ONE_CAT, BOTH_FOUND)
    assert capfd.readouterr() == ("", "")


def blundering(seed, encoded=compressed):
    """Three classes in four videos: tubes that change objects, are cut, poor or false; no two have equal masks."""
    rng = np.random.default_rng(seed)
    objects, results = [], []
    for video in range(1, 5):
        for category in (CAT, DOG, BIRD):
            places = [(int(rng.integers(2, 10)), y) for y in (0, 7, 14)[: rng.integers(1, 4)]]
            for place in places:
                frames = np.flatnonzero(rng.random(FRAMES) < 0.8)
                objects.append(entry(tube(place, frames, encoded=encoded), category, video=video))
            for _ in range(rng.integers(5)):
                parts = [tube(place, width=int(rng.integers(4, 9))) for place in places]
                order = np.sort(rng.integers(len(parts), size=FRAMES)) if rng.random() < 0.5 else np.zeros(FRAMES, int)
                masks = [parts[part][f] if rng.random() < 0.9 else None for f, part in enumerate(order)]
                results.append(entry(masks, category, int(rng.integers(11)) / 10, video))  # some score the same
    rng.shuffle(objects)
    return truth(*objects, videos=4), results


@pytest.mark.parametrize("seed", range(5))
def test_track_map_is_the_ap_of_the_evaluator(seed):
    ground_truth, results = blundering(seed)
    ap = evaluate(ground_truth, results)["AP"]
    assert 0.05 < ap < 0.95
    assert tracking_metrics(ground_truth, results)["TrackmAP"] == pytest.approx(ap)


def test_track_map_is_the_ap_of_real_results(shared_data):
    example = json.loads(gzip.decompress((shared_data / "eval_example.json.gz").read_bytes()))
    assert tracking_metrics(example["gt"], example["dt"])["TrackmAP"] == pytest.approx(example["stats"][0])


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_youtube_vis_benchmark_of_trackeval(seed, tmp_path):
    metrics = tracking_metrics(*blundering(seed), score=0)

    ground_truth, results = blundering(seed, encoded=uncompressed)
    for found in ground_truth["annotations"]:
        areas = [mask and sum(mask["counts"][1::2]) for mask in found["segmentations"]]
        found |= {"height": HEIGHT, "width": WIDTH, "areas": areas}
    folder = tmp_path / "youtube_vis_valid"
    (folder / "ours" / "data").mkdir(parents=True)
    (folder / "truth.json").write_text(json.dumps(ground_truth))
    (folder / "ours" / "data" / "results.json").write_text(json.dumps(results))
    place = {"GT_FOLDER": f"{tmp_path}/", "TRACKERS_FOLDER": f"{tmp_path}/", "SPLIT_TO_EVAL": "valid"}
    benchmark = trackeval.datasets.YouTubeVIS({**place, "TRACKERS_TO_EVAL": ["ours"]})
    benchmark.global_tid_counter = 1  # from 0 on the first tube could be matched twice
    extras = ("OUTPUT_SUMMARY", "OUTPUT_DETAILED", "PLOT_CURVES", "TIME_PROGRESS")
    evaluator = trackeval.Evaluator(dict.fromkeys(extras, False) | {"LOG_ON_ERROR": None})
    track_map = trackeval.metrics.TrackMAP({"USE_TIME_RANGES": False})
    kinds = [trackeval.metrics.HOTA(), trackeval.metrics.Identity(), track_map]
    expected = evaluator.evaluate([benchmark], kinds)[0]["YouTubeVIS"]["ours"]["COMBINED_SEQ"]["cls_comb_cls_av"]

    means = {name: np.mean(expected["HOTA"][name]) for name in ("HOTA", "DetA", "AssA")}
    means |= {"IDF1": expected["Identity"]["IDF1"], "TrackmAP": np.mean(expected["TrackMAP"]["AP_all"])}
    assert metrics == pytest.approx(means)
