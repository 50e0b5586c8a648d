"""That a checkpoint builds this project's parts and nothing else."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
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


@pytest.mark.parametrize("model", ["compfeat", "masktrack_rcnn"])
@pytest.mark.parametrize("tracker", ["scores", "cues"])
def test_every_part_that_a_config_names_is_let_through(model, tracker):
    def targets(node):
        if isinstance(node, dict):
            yield from ([node["_target_"]] if "_target_" in node else [])
            for value in node.values():
                yield from targets(value)

    assert set(targets(recipe(f"model={model}", f"tracker@model.tracker={tracker}"))) <= PARTS


def poison(target, *arguments, **named):
    return {"_target_": target, "_args_": list(arguments), **named}


ATTACKS = {  # each wrote, read or fetched something when recipes were built without a look at them
    "the whole": lambda r, p: r.update(poison("pathlib.Path.write_text", poison("pathlib.Path", p), "x")),
    "a part": lambda r, p: r["detector"]["backbone"].update(_target_="os.system", command=f"touch {p}"),
    "a new part": lambda r, p: r.update(extra=poison("os.system", f"touch {p}")),
    "deep in a list": lambda r, p: r["categories"].append([{"id": poison("os.mkdir", p), "name": "x"}]),
    "arguments of a part": lambda r, p: r["tracker"].update(_args_=[poison("os.mkdir", p)]),
    "a partial": lambda r, p: r["support"].update(_partial_=True),
    "torch.load": lambda r, p: r.update(support=poison("torch.load", p, weights_only=False)),
    "a download": lambda r, p: r.update(size=poison("urllib.request.urlretrieve", "file:///etc/hostname", p)),
    "pickles": lambda r, p: r.update(size=poison("numpy.load", p, allow_pickle=True)),
    "an interpolation": lambda r, p: r.update(tracker="${oc.create:{_target_: os.mkdir, path: " + p + "}}"),
    "the environment": lambda r, p: r["categories"][0].update(name="${oc.env:HOME}"),
    "no name": lambda r, p: r["tracker"].update(_target_=["os.mkdir"]),
}


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
