"""That tube AP is that of the YouTube-VIS reference evaluator, to the last bit, whatever there is to evaluate."""

import numpy as np
import pytest
from pycocotools import mask as rle

from compfeat.benchmarks.ytvis_reference import reference_metrics
from compfeat.evaluation.tube_ap import METRICS, evaluate

CELLS, SIDE = 6, 64  # so that mean areas are often just those of the bins' bounds, 4 and 16 cells
SIZE = [CELLS * SIDE, CELLS * SIDE]
CLASSES = (9, 5, 7)


def random_mask(rng, kind):
    """None, an empty mask, or a box of cells: small, medium or large, and like others of its kind."""
    if rng.random() < 0.15:
        return None
    dense = np.zeros(SIZE, np.uint8, order="F")
    if rng.random() < 0.9:
        right, bottom = SIDE * (2 * kind + 1 + rng.integers(2, size=2))
        dense[:bottom, :right] = 1
    return {"size": SIZE, "counts": rle.encode(dense)["counts"].decode()}


def random_split(seed):
    """Ground truth and results: tubes share masks, classes share tubes, scores are tied, some objects are crowds."""
    rng = np.random.default_rng(seed)
    videos, annotations, results = [], [], []
    for number in rng.permutation(4).tolist():
        length = int(rng.integers(1, 4))
        videos.append({"id": number, "height": SIZE[0], "width": SIZE[1], "file_names": [""] * length})
        masks = [[random_mask(rng, kind) for _ in range(4)] for kind in range(3)]
        tubes = [[masks[kind][rng.integers(4)] for _ in range(length)] for kind in range(3) for _ in range(4)]

        def entry(video=number, tubes=tubes):
            category = int(rng.choice(CLASSES, p=(0.6, 0.3, 0.1)))
            return {"video_id": video, "category_id": category, "segmentations": tubes[rng.integers(len(tubes))]}

        for _ in range(rng.integers(6)):
            content = entry()
            areas = [None if mask is None else int(rle.area(mask)) for mask in content["segmentations"]]
            more = {"id": len(annotations) + 1, "areas": areas, "iscrowd": int(rng.random() < 0.2)}
            annotations.append(content | more)
        results += [entry() | {"score": rng.choice((0.2, 0.5, 0.9, 1)).item()} for _ in range(rng.integers(18))]
    categories = [{"id": category, "name": str(category)} for category in CLASSES]
    truth = {"videos": videos, "categories": categories, "annotations": annotations}
    return truth, [results[i] for i in rng.permutation(len(results))]


@pytest.mark.parametrize("seeds", [range(first, first + 50) for first in range(0, 200, 50)], ids=str)
def test_equals_the_reference_evaluator_to_the_last_bit(seeds):
    for seed in seeds:
        split = random_split(seed)
        assert evaluate(*split) == dict(zip(METRICS, reference_metrics(*split), strict=True)), seed
