"""That a folder in which a network was handed over is its checkpoint again, and builds nothing else."""

import json

import numpy as np
import pytest
import torch
from attacks import ATTACKS
from hydra.utils import instantiate
from untrained import checkpoint, recipe

from compfeat.inference.checkpoint import CheckpointError, read_checkpoint, read_run_state, write_folder
from compfeat.inference.predictor import VideoPredictor
from compfeat.models.weights import WeightsError, load_pretrained


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "a.ckpt"
    torch.manual_seed(0)
    torch.save(checkpoint(), path)
    return path


@pytest.fixture
def folder(ckpt, tmp_path):
    path = tmp_path / "network"
    path.mkdir()
    write_folder(path, *read_checkpoint(ckpt))
    return path


def test_weights_come_back_to_the_last_bit_and_predict_the_same(ckpt, folder):
    (written, weights), (again, weights_again) = read_checkpoint(ckpt), read_checkpoint(folder)
    assert again == written and weights_again.keys() == weights.keys()
    assert any(not value.is_contiguous() for value in weights.values())  # channels_last, which the format does not know
    for name, value in weights.items():
        assert value.dtype == weights_again[name].dtype and torch.equal(value, weights_again[name])

    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 80, 3), dtype=np.uint8)
    changes = {"labels": VideoPredictor.from_checkpoint(ckpt).labels}
    changes["labels"].score_threshold = 0.0  # of a network that has learned nothing
    tubes, tubes_again = (list(VideoPredictor.from_checkpoint(p, **changes).predict(frames)) for p in (ckpt, folder))
    assert tubes and tubes == tubes_again


def test_fine_tuning_starts_from_a_folder(folder):
    other = instantiate(recipe(), _convert_="all").detector
    report = load_pretrained(other, folder)
    assert not report.initialised and not report.skipped
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in read_checkpoint(folder)[1].items())
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no weights at .*model.safetensors"):
        load_pretrained(other, folder)


def of_classes(*names):
    written = recipe()
    written["detector"]["num_classes"] = len(names)
    written["categories"] = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
    return written, instantiate(written, _convert_="all").detector


@pytest.mark.parametrize("kept_as", ["checkpoint", "folder"])
def test_fine_tuning_on_other_classes_takes_the_rows_of_those_that_both_know(kept_as, tmp_path):
    written, source = of_classes("cat", "dog", "cow")
    state = source.state_dict()
    path = tmp_path / "source"
    if kept_as == "folder":
        path.mkdir()
        write_folder(path, written, state)
    else:
        torch.save({"predictor": written, "state_dict": {f"detector.{n}": x for n, x in state.items()}}, path)

    names = ["dog", "yak", "cat"]
    _, other = of_classes(*names)
    rows = "roi_heads.box_predictor.cls_score.weight"
    fresh = other.state_dict()[rows].clone()
    report = load_pretrained(other, path, classes=names)
    assert report.copied_rows == {0: 0, 1: 2, 3: 1}
    assert torch.equal(other.state_dict()[rows][[0, 1, 3]], state[rows][[0, 2, 1]])
    assert torch.equal(other.state_dict()[rows][2], fresh[2])
    assert not load_pretrained(other, path, classes=["cat", "dog", "cow"]).copied_rows  # all rows, as they are
    assert load_pretrained(other, path, classes=["cow", "cat", "dog"]).copied_rows == {0: 0, 1: 3, 2: 1, 3: 2}


def change_config(folder, change):
    recipe = json.loads((folder / "config.json").read_text())
    change(recipe)
    (folder / "config.json").write_text(json.dumps(recipe))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_config_that_names_anything_else_builds_nothing(attack, folder, tmp_path):
    trace = tmp_path / "trace"
    change_config(folder, lambda recipe: ATTACKS[attack](recipe, str(trace)))
    with pytest.raises(CheckpointError, match="was not written by scripts/export.py: .*nothing of it was built"):
        VideoPredictor.from_checkpoint(folder)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not json, or cut off"),
        ('{"_target_": "compfeat.inf', "is not json, or cut off"),
        ("[" * 100_000, "is not json, or cut off"),
        ("[" * 500 + "]" * 500, "is nested too deep"),
        ("[]", "does not describe a compfeat.inference.predictor.VideoPredictor"),
        ('{"_target_": "compfeat.inference.tracker.Cues"}', "does not describe a"),
        ('{"_target_": "compfeat.inference.predictor.VideoPredictor", "sise": 1}', "describes what cannot be built"),
    ],
)
def test_a_config_that_is_none_is_named_in_one_line(text, said, folder):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=said) as raised:
        VideoPredictor.from_checkpoint(folder)
    assert str(folder) in str(raised.value) and len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("kept", [0, 4, 1000, -1])
def test_weights_that_are_cut_off_are_named(kept, folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="model.safetensors is not a safetensors file, or cut off"):
        read_checkpoint(folder)
    with pytest.raises(WeightsError, match="model.safetensors is not a safetensors file, or cut off"):
        load_pretrained(torch.nn.Linear(1, 1), folder)


def test_a_pickle_in_place_of_the_weights_is_refused(ckpt, folder):
    (folder / "model.safetensors").write_bytes(ckpt.read_bytes())
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        read_checkpoint(folder)


@pytest.mark.parametrize("part", ["config.json", "model.safetensors"])
def test_a_part_that_is_missing_is_named(part, folder):
    (folder / part).unlink()
    with pytest.raises(FileNotFoundError, match=f"network has no {part}; give a checkpoint of train.py, or a folder"):
        VideoPredictor.from_checkpoint(folder)


def test_weights_that_do_not_fit_are_named(folder):
    change_config(folder, lambda recipe: recipe["detector"].update(box_channels=8))
    with pytest.raises(CheckpointError, match="its weights do not fit the network it describes: size mismatch"):
        VideoPredictor.from_checkpoint(folder)


def test_no_run_goes_on_from_weights_alone(folder):
    with pytest.raises(CheckpointError, match="weights=.*network starts from its weights"):
        read_run_state(folder)
