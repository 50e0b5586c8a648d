import copy
import gzip
import json
import random
import zipfile

import numpy as np
import pytest
from pycocotools import mask as rle

from compfeat.benchmarks.ytvis_reference import reference_metrics
from compfeat.evaluation.results import ResultsError, to_results, validate_results, zip_results
from compfeat.evaluation.tube_ap import METRICS, TubeEvaluation, ap_by_length, evaluate
from compfeat.files import write_json
from compfeat.structures import Tube

HEIGHT, WIDTH, FRAMES = 40, 60, 3


def encode(mask):
    encoded = rle.encode(np.asfortranarray(mask))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def tube(x, y, side=12, frames=FRAMES, step=3):
    masks = []
    for frame in range(frames):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[y : y + side, x + step * frame : x + step * frame + side] = 1
        masks.append(mask)
    return masks


def annotation(number, masks, video=1, category=5, **more):
    segmentations = [None if mask is None else encode(mask) for mask in masks]
    entry = {"id": number, "video_id": video, "category_id": category, "segmentations": segmentations}
    return {**entry, "iscrowd": 0, **more}


def result(masks, score=0.9, video=1, category=5):
    segmentations = [None if mask is None else encode(mask) for mask in masks]
    return {"video_id": video, "category_id": category, "score": score, "segmentations": segmentations}


def truth(*annotations, videos=1):
    return {
        "videos": [
            {"id": i + 1, "height": HEIGHT, "width": WIDTH, "file_names": [f"{i}/{f}.jpg" for f in range(FRAMES)]}
            for i in range(videos)
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": list(annotations),
    }


@pytest.fixture
def example(shared_data):
    with gzip.open(shared_data / "eval_example.json.gz") as file:
        return json.load(file)


def test_equals_the_reference_evaluator_to_the_last_bit(example):
    assert list(evaluate(example["gt"], example["dt"]).values()) == example["stats"]


def test_the_reference_of_the_benchmark_is_that_evaluator(example):
    assert reference_metrics(example["gt"], example["dt"]) == example["stats"]


def test_paths_and_loaded_json_are_the_same(example, tmp_path):
    (tmp_path / "gt.json").write_text(json.dumps(example["gt"]))
    write_json(tmp_path / "results.json", example["dt"])
    assert list(evaluate(tmp_path / "gt.json", tmp_path / "results.json").values()) == example["stats"]


def test_order_of_annotations_and_videos_does_not_matter(example):
    shuffled = copy.deepcopy(example["gt"])
    random.Random(3).shuffle(shuffled["annotations"])
    random.Random(4).shuffle(shuffled["videos"])
    assert list(evaluate(shuffled, example["dt"]).values()) == example["stats"]


def test_order_of_results_with_different_scores_does_not_matter(example):
    results = [{**entry, "score": 1 / (i + 2)} for i, entry in enumerate(example["dt"])]
    shuffled = random.Random(5).sample(results, len(results))
    assert evaluate(example["gt"], shuffled) == evaluate(example["gt"], results)


def test_showing_every_frame_twice_changes_nothing(example):
    def twice(frames):
        return [frame for frame in frames for _ in range(2)]

    doubled, results = copy.deepcopy(example["gt"]), copy.deepcopy(example["dt"])
    for video in doubled["videos"]:
        video["file_names"] = twice(video["file_names"])
    for entry in (*doubled["annotations"], *results):
        entry["segmentations"] = twice(entry["segmentations"])
    assert list(evaluate(doubled, results).values()) == example["stats"]


def test_splitting_a_video_between_its_objects_keeps_recall():
    first, second = tube(2, 2), tube(40, 20, step=0)
    whole = truth(annotation(1, first), annotation(2, second))
    split = truth(annotation(1, first), annotation(2, second, video=2), videos=2)
    found = [result(first, 0.9), result(second, 0.8)]
    apart = [found[0], {**found[1], "video_id": 2}]
    assert evaluate(whole, found)["AR10"] == evaluate(split, apart)["AR10"] == 1.0
    assert evaluate(whole, found)["AR1"] == 0.5 and evaluate(split, apart)["AR1"] == 1.0


def test_perfect_and_empty_results():
    gt = truth(annotation(1, tube(2, 2)), annotation(2, tube(20, 20), category=9))
    perfect = evaluate(gt, [result(tube(2, 2)), result(tube(20, 20), category=9)])
    assert list(perfect) == list(METRICS)
    assert [perfect[name] for name in ("AP", "AP50", "AR1", "APs")] == pytest.approx([1.0] * 4)
    assert perfect["APm"] == perfect["APl"] == -1.0  # nothing of that size
    assert evaluate(gt, [])["AP"] == 0.0
    assert set(evaluate(truth(), []).values()) == {-1.0}


def test_overlap_is_that_of_the_tubes_not_of_the_frames():
    # Right in one frame of three and absent in the others: IoU 1/3, below every threshold.
    masks = tube(2, 2)
    assert evaluate(truth(annotation(1, masks)), [result([masks[0], None, None])])["AP50"] == 0.0
    # 2 of 3 frames: IoU 2/3 counts at 0.50 to 0.65, four of ten thresholds.
    assert evaluate(truth(annotation(1, masks)), [result([*masks[:2], None])])["AP"] == pytest.approx(0.4)


def test_crowds_absorb_detections():
    gt = truth(annotation(1, tube(2, 2)), annotation(2, tube(40, 20, step=0), iscrowd=1))
    found = [result(tube(40, 20, step=0), 0.9), result(tube(2, 2), 0.5)]
    assert evaluate(gt, found)["AP"] == pytest.approx(1.0)


def test_only_the_best_hundred_tubes_of_a_video_and_class_count():
    gt = truth(annotation(1, tube(2, 2)))
    wrong = [result(tube(40, 20, step=0), 0.9)] * 100
    assert evaluate(gt, [*wrong, result(tube(2, 2), 0.1)])["AR100"] == 0.0
    assert evaluate(gt, [*wrong[:99], result(tube(2, 2), 0.1)])["AR100"] == 1.0


def test_equal_scores_keep_the_order_of_the_file():
    gt = truth(annotation(1, tube(2, 2)))
    right, wrong = result(tube(2, 2), 0.5), result(tube(40, 20, step=0), 0.5)
    assert evaluate(gt, [right, wrong])["AP"] == pytest.approx(1.0)
    assert evaluate(gt, [wrong, right])["AP"] == pytest.approx(0.5)


def test_every_form_of_segmentation_is_understood():
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:15, 10:30] = 1
    column_major = mask.T.flatten()
    edges = np.flatnonzero(np.diff(column_major)) + 1
    counts = np.diff([0, *edges, mask.size]).tolist()
    uncompressed = {"size": [HEIGHT, WIDTH], "counts": counts}
    gt = truth(
        {**annotation(1, [mask] * 3), "segmentations": [encode(mask), uncompressed, [[10, 5, 30, 5, 30, 15, 10, 15]]]}
    )
    assert evaluate(gt, [result([mask] * 3)])["AP"] == pytest.approx(1.0)


def test_per_class_ap():
    gt = truth(annotation(1, tube(2, 2)), annotation(2, tube(20, 20), category=9))
    scores = TubeEvaluation(gt, [result(tube(2, 2))])
    assert scores.per_class == pytest.approx({"cat": 1.0, "dog": 0.0})
    assert scores.metrics["AP"] == pytest.approx(0.5)


def test_classes_of_one_name_are_told_apart():
    gt = truth(annotation(1, tube(2, 2)), annotation(2, tube(20, 20), category=9))
    gt["categories"][1]["name"] = "cat"
    assert TubeEvaluation(gt, [result(tube(2, 2))]).per_class == pytest.approx({"cat (5)": 1.0, "cat (9)": 0.0})


def test_ap_by_length_does_not_count_tubes_of_other_lengths():
    longer, shorter, false = (tube(x, 2, step=0, frames=frames) for x, frames in ((2, 9), (20, 8), (40, 8)))
    gt = truth(annotation(1, longer), annotation(2, [*shorter, None]))
    gt["videos"][0]["file_names"] = [""] * len(longer)
    found = [result([*false, None], 0.9), result(longer, 0.8)]
    assert ap_by_length(gt, found) == pytest.approx({"short": 0.0, "medium": 1.0, "long": -1.0})


def test_what_is_wrong_with_results_is_named():
    gt = truth(annotation(1, tube(2, 2)))
    good = result(tube(2, 2))
    bad = [
        {**good, "video_id": 7},
        {**good, "category_id": 1},
        {**good, "score": float("nan")},
        {**good, "segmentations": good["segmentations"][:2]},
        {**good, "segmentations": [{"size": [1, 1], "counts": "0"}, None, None]},
        {"video_id": 1},
    ]
    problems = validate_results([good, *bad], gt)
    assert [p.split(":")[0] for p in problems] == [
        f"results entry {i} (video {7 if i == 1 else 1})" for i in range(1, 7)
    ]
    for problem, said in zip(
        problems, ["video", "category 1", "nan", "2 segmentations for 3", "size", "missing"], strict=True
    ):
        assert said in problem
    with pytest.raises(ResultsError, match="unknown video"):
        evaluate(gt, bad)
    assert validate_results({"a": 1}, gt) == ["results must be a list of entries"]


RUNS = HEIGHT * WIDTH
NO_LIST = "the segmentations are"
NO_RLE = "the mask of frame 1: it is "
NO_TEXT = "the mask of frame 1: its counts are not compressed RLE"


def masks(second):
    return {"segmentations": [None, second, None]}


def counts(value, size=(HEIGHT, WIDTH)):
    return masks({"size": list(size), "counts": value})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (1, "it is 1, not an object of video_id, "),
        (None, "it is None, not an object of video_id, "),
        (" ".join(result(tube(2, 2))), "it is 'video_id category_id score"),
        ([], r"it is \[\], not an object"),
        ({"segmentations": None}, NO_LIST),
        ({"segmentations": 3}, NO_LIST),
        ({"segmentations": "abc"}, NO_LIST),
        ({"category_id": [5]}, r"unknown category \[5\]"),
        ({"video_id": [1]}, "unknown video"),
        ({"score": 10**400}, "is not a finite number"),
        ({"score": True}, "the score True is not a finite number"),
        (masks([[1, 1, 9, 1, 9, 9]]), NO_RLE),
        (masks("abc"), NO_RLE),
        (masks(np.zeros((HEIGHT, WIDTH), bool)), "the mask of frame 1 is an array of pixels, not RLE"),
        (masks({"size": [HEIGHT, WIDTH]}), NO_RLE),
        (masks({"counts": "abc"}), NO_RLE),
        (masks({"size": HEIGHT, "counts": [RUNS]}), NO_RLE),
        (counts(None), NO_RLE),
        (counts([-5, RUNS + 5]), NO_RLE),
        (counts([0.5, RUNS - 0.5]), NO_RLE),
        (counts("abc"), NO_TEXT),
        (counts("é"), NO_TEXT),
        (counts("\ud800"), "the mask of frame 1: "),
        (counts(""), NO_TEXT),
        (counts(result(tube(2, 2))["segmentations"][1]["counts"][:-1]), "the mask of frame 1: its "),
        (counts([5]), f"its runs fill 5 pixels of {HEIGHT} x {WIDTH}"),
        (counts([0, 4 * RUNS]), f"its runs fill {4 * RUNS} pixels of {HEIGHT} x {WIDTH}"),
        (counts([0] * 2 * RUNS + [RUNS]), "its runs fill"),  # more of them than pycocotools has room for
        (counts([RUNS], (WIDTH, HEIGHT)), r"its size is \[60, 40\], that of the video \[40, 60\]"),
    ],
)
def test_what_is_no_result_is_named_and_not_scored(entry, said):
    good = result(tube(2, 2))
    wrong = good | entry if isinstance(entry, dict) else entry
    with pytest.raises(ResultsError, match=rf"^results entry 1( \(video .*\))?: .*{said}.*\(1 problems in all\)$"):
        evaluate(truth(annotation(1, tube(2, 2))), [good, wrong])


def test_tubes_become_results_and_a_zip(tmp_path):
    mask = rle.encode(np.asfortranarray(tube(2, 2)[1]))
    found = Tube(4, [1], [(0, 0, 1, 1)], [mask], [[0.0, 0.5]])
    entries = to_results(1, FRAMES, [found], category_ids=[5, 9])
    assert len(entries) == 1 and entries[0]["category_id"] == 9 and entries[0]["score"] == 0.5
    assert [s is None for s in entries[0]["segmentations"]] == [True, False, True]
    write_json(tmp_path / "out" / "results.json", entries)
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "results.json"]
    with zipfile.ZipFile(zip_results(tmp_path / "out" / "results.json")) as archive:
        assert json.loads(archive.read("results.json")) == entries


def test_a_zip_that_cannot_be_finished_leaves_the_one_of_before(tmp_path):
    (tmp_path / "results.zip").write_text("of before")
    with pytest.raises(FileNotFoundError):
        zip_results(tmp_path / "results.json")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["of before"]


def test_a_tube_is_listed_once_for_each_of_its_likeliest_classes():
    mask = rle.encode(np.asfortranarray(tube(2, 2)[1]))
    sure, unsure = (
        Tube(n, [1], [(0, 0, 1, 1)], [mask], [classes]) for n, classes in ((1, [0.1, 0.8]), (2, [0.3, 0.4]))
    )
    entries = to_results(1, FRAMES, [sure, unsure], category_ids=[5, 9])
    assert [(entry["category_id"], entry["score"]) for entry in entries] == [(9, 0.8), (9, 0.4), (5, 0.3), (5, 0.1)]
    assert entries[1]["segmentations"] == entries[2]["segmentations"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": None}, "the ground truth has no annotations"),
        ({"videos": None, "categories": None}, "the ground truth has no videos, no categories"),
        ({"categories": []}, "the ground truth names no categories"),
        ({"videos": [{"id": 1}]}, "the ground truth: videos 0 is no object of id, height, width, file_names"),
        ({"videos": truth()["videos"] * 2}, "two of its videos have the same id"),  # whose tubes would count twice
        ({"categories": truth()["categories"] * 2}, "two of its categories have the same id"),
        ({"videos": [truth()["videos"][0] | {"id": [1]}]}, r"videos 0 is not .*: id is \[1\]"),
        ({"videos": [truth()["videos"][0] | {"height": None}]}, "videos 0 is not .*: height is None"),
        ({"videos": [truth()["videos"][0] | {"file_names": "abc"}]}, "videos 0 is not .*: file_names is 'abc'"),
        ({"categories": [*truth()["categories"], {"id": "5", "name": "cow"}]}, "categories 2 is not .*: id is '5'"),
        ({"annotations": [annotation(1, tube(2, 2)) | {"video_id": 7}]}, "annotation 0 .video 7.: unknown video"),
        ({"annotations": [annotation(1, tube(2, 2)[:2])]}, "annotation 0 .*: 2 segmentations for 3 frames"),
        (
            {"annotations": [annotation(1, tube(2, 2)) | {"segmentations": [[[1, 1, 9, 1, 9, 1e9]], None, None]}]},
            "annotation 0 .*: a mask: a polygon leaves the frame",
        ),
        (
            {
                "annotations": [
                    annotation(1, tube(2, 2)) | {"segmentations": [encode(np.ones((2, 2), np.uint8)), None, None]}
                ]
            },
            "annotation 0 .*: a mask: its size is",
        ),
        (
            {"annotations": [annotation(1, tube(2, 2)) | {"segmentations": tube(2, 2)}]},
            "annotation 0 .*: the mask of frame 0 is an array of pixels",
        ),
    ],
)
def test_broken_ground_truth_is_named_and_not_scored(change, said):
    with pytest.raises(ResultsError, match=said):
        evaluate(truth(annotation(1, tube(2, 2))) | change, [])
    with pytest.raises(ResultsError, match="no object of videos"):
        evaluate([], [])


def test_scores_may_be_those_of_numpy():
    gt = truth(annotation(1, tube(2, 2)))
    assert evaluate(gt, [result(tube(2, 2)) | {"score": np.float32(0.5)}])["AP"] == pytest.approx(1.0)
