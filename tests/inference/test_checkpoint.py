"""That a checkpoint builds this project's parts and nothing else."""

import copy
import pickle
import re
from pathlib import Path

import pytest
import torch
from attacks import ATTACKS
from untrained import checkpoint, recipe

from compfeat.inference.checkpoint import PARTS, CheckpointError, read_checkpoint, read_run_state
from compfeat.inference.predictor import VideoPredictor


@pytest.fixture(scope="module")
def content():
    return checkpoint()


@pytest.fixture
def write(content, tmp_path):
    """Writes the checkpoint with something changed in its recipe; returns its path."""

    def write(change=lambda recipe: None):
        changed = copy.copy(content) | {"predictor": copy.deepcopy(content["predictor"])}
        change(changed["predictor"])
        torch.save(changed, tmp_path / "a.ckpt")
        return tmp_path / "a.ckpt"

    return write


def test_what_train_writes_is_read(write):
    predictor = VideoPredictor.from_checkpoint(write())
    assert predictor.class_names == ["cat"] and not predictor.detector.training


def test_it_runs_on_the_best_device_there_is(write, monkeypatch):
    asked = []
    monkeypatch.setattr("compfeat.inference.predictor.best_device", lambda: asked.append(None) or torch.device("cpu"))
    VideoPredictor.from_checkpoint(write(), "cpu")
    assert not asked
    VideoPredictor.from_checkpoint(write())
    assert asked


@pytest.mark.parametrize("model", ["compfeat", "masktrack_rcnn"])
@pytest.mark.parametrize("tracker", ["scores", "cues"])
def test_every_part_that_a_config_names_is_let_through(model, tracker):
    def targets(node):
        if isinstance(node, dict):
            yield from ([node["_target_"]] if "_target_" in node else [])
            for value in node.values():
                yield from targets(value)

    assert set(targets(recipe(f"model={model}", f"tracker@model.tracker={tracker}"))) <= PARTS


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_recipe_that_names_anything_else_builds_nothing(attack, write, tmp_path):
    trace = tmp_path / "trace"
    path = write(lambda recipe: ATTACKS[attack](recipe, str(trace)))
    with pytest.raises(CheckpointError, match="was not written by train.py: .*nothing of it was built"):
        VideoPredictor.from_checkpoint(path)
    assert not trace.exists()


class Mkdir:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("read", [read_checkpoint, read_run_state, VideoPredictor.from_checkpoint])
def test_a_pickle_runs_nothing(read, tmp_path):
    for name, save in (("zip", torch.save), ("pickle", lambda c, p: p.write_bytes(pickle.dumps(c)))):
        save({"predictor": Mkdir(tmp_path / "trace"), "state_dict": {}}, tmp_path / name)
        with pytest.raises(CheckpointError, match="not a checkpoint written by train.py"):
            read(tmp_path / name)
    assert not (tmp_path / "trace").exists()


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*none.ckpt"):
        read_checkpoint(tmp_path / "none.ckpt")
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="other.ckpt is not a checkpoint written by train.py"):
        read_checkpoint(tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(CheckpointError, match="text.ckpt"):
        read_checkpoint(tmp_path / "text.ckpt")


def test_weights_that_do_not_fit_are_named(write):
    with pytest.raises(CheckpointError, match="its weights do not fit the network it describes"):
        VideoPredictor.from_checkpoint(write(lambda recipe: recipe["detector"].update(box_channels=8)))


STRANGE = {
    "size='ab'": (lambda recipe: recipe.update(size="ab"), 'predictor.size="ab"'),
    "batch_size=-1": (lambda recipe: recipe.update(batch_size=-1), "predictor.batch_size=-1"),
    "a text as a threshold": (
        lambda recipe: recipe["labels"].update(detections="x"),
        'predictor.labels.detections="x"',
    ),
    "a number as a key": (lambda recipe: recipe.update({1: 2}), "predictor has 1"),
    "a number as a name": (lambda recipe: recipe.update(categories=[{"id": 1, "name": 5}]), "these are [5]"),
    "one name twice": (
        lambda recipe: recipe.update(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]),
        "these are ['cat', 'cat']",
    ),
    "too few classes": (
        lambda recipe: recipe.update(categories=[]),
        "names 0 classes for a network that tells 1 apart",
    ),
    "too many classes": (
        lambda recipe: recipe["categories"].append({"id": 2, "name": "dog"}),
        "names 2 classes for a network that tells 1 apart",
    ),
    "classes that are none": (lambda recipe: recipe.update(categories=[{"a": 1}]), "unexpected keyword argument 'a'"),
}


@pytest.mark.parametrize("change", STRANGE)
def test_a_recipe_that_cannot_be_is_told_before_a_frame_is_looked_at(change, write):
    strange, told = STRANGE[change]
    with pytest.raises(CheckpointError, match=f"a.ckpt .*{re.escape(told)}") as caught:
        VideoPredictor.from_checkpoint(write(strange))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", [[], "abc", {1: torch.zeros(1)}, {"detector.mean": "x"}, {}])
def test_weights_that_are_none_are_told(weights, content, tmp_path):
    torch.save(content | {"state_dict": weights}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="a.ckpt"):
        VideoPredictor.from_checkpoint(tmp_path / "a.ckpt")
