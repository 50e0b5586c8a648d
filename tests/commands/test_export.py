"""A network as it is handed over: the folder, its model card, the program."""

import json
import re
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import torch
from made_up_runs import COMMIT, DATA, write_run
from shell import command
from untrained import checkpoint

from compfeat.commands.export import ONNX_PACKAGES
from compfeat.experiments.card import _start
from compfeat.experiments.record import Run
from compfeat.inference.checkpoint import rebuild
from compfeat.inference.predictor import VideoPredictor
from compfeat.models.frame_program import FrameProgram, save_program

CONFIG = {
    "data": DATA | {"sampler": {"support_frames": 2}},
    "module": {"optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.0005}, "batch_size": 4},
    "trainer": {"max_epochs": 12, "precision": "bf16-mixed"},
    "weights": "/home/somebody/secret/outputs/detector/checkpoints/last.ckpt",
}
FEW = ["data.generator.train_videos=1", "data.generator.valid_videos=1", "data.generator.length=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run, with two checkpoints of one network."""
    folder = tmp_path_factory.mktemp("runs")
    measured = {"scores": {"AP": 0.512}, "cues": {"AP": 0.534, "AR10": 0.6}}
    place = write_run(folder, "compfeat", 3, measured, config=CONFIG, best=0.611)
    (place / "checkpoints").mkdir()
    torch.manual_seed(0)
    for name in ("best", "last"):
        torch.save(checkpoint(), place / "checkpoints" / f"{name}.ckpt")
    return place


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def export(*arguments, cache, **more):
    return command("scripts/export.py", *arguments, cache=cache, **more)


def test_what_is_handed_over_is_used_as_a_checkpoint_is(run, cache, tmp_path):
    folder = tmp_path / "new" / "cats"
    said = export(f"ckpt={run / 'checkpoints' / 'last.ckpt'}", f"output={folder}", cache=cache)
    assert f"handed over: {folder}" in said.stdout
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert [path.name for path in folder.parent.iterdir()] == ["cats"]
    assert json.loads((folder / "config.json").read_text())["categories"] == [{"id": 1, "name": "cat"}]
    assert all(path.stat().st_mode & 0o044 for path in folder.iterdir())  # for others to read

    frame = tmp_path / "video" / "0.png"
    frame.parent.mkdir()
    cv2.imwrite(str(frame), np.full((48, 80, 3), 90, np.uint8))
    command("scripts/predict.py", f"ckpt={folder}", f"video={frame.parent}", f"output={tmp_path / 'out'}", cache=cache)
    assert (tmp_path / "out" / "results.json").is_file()
    assert "other classes (cat)" in command("scripts/evaluate.py", f"ckpt={folder}", *FEW, cache=cache, code=2).stderr


def card(run, name, cache, tmp_path):
    export(f"ckpt={run / 'checkpoints' / name}", f"output={tmp_path / 'cats'}", cache=cache)
    return (tmp_path / "cats" / "README.md").read_text()


def test_the_card_tells_where_the_network_comes_from_and_how_good_it_is(run, cache, tmp_path):
    text = card(run, "last.ckpt", cache, tmp_path)
    assert text.startswith("# compfeat, seed 3\n")
    assert 'from_checkpoint("cats")' in text and "ckpt=cats" in text
    assert "\n1: cat.\n" in text
    assert "| scores | 51.2 | –" in text and "| cues | 53.4 | –" in text
    for told in (COMMIT, "split test", "AdamW", "0.0005", "bf16-mixed", "detector/checkpoints/last.ckpt", "Apache-2.0"):
        assert told in text
    assert "somebody" not in text and "61.1" not in text


@pytest.mark.parametrize(
    ("weights", "resume", "told"),
    [
        (None, None, "random weights"),
        ("coco", None, "COCO"),
        ("/home/somebody/a/checkpoints/last.ckpt", None, "a/checkpoints/last.ckpt"),
        ("coco", "/home/somebody/b/checkpoints/last.ckpt", "b/checkpoints/last.ckpt, whose steps are counted"),
    ],
)
def test_the_card_tells_what_a_run_started_from(weights, resume, told):
    assert _start(Run("a", 0, {"weights": weights, "resume": resume})).startswith(told)


def test_numbers_of_another_checkpoint_are_not_told(run, cache, tmp_path):
    text = card(run, "best.ckpt", cache, tmp_path)
    assert "51.2" not in text and "Measured on" not in text
    assert "AP 61.1 on the videos of validation, by which this checkpoint was chosen" in text


def test_a_checkpoint_without_its_run_is_handed_over_with_what_is_known(run, cache, tmp_path):
    (tmp_path / "a.ckpt").write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    export(f"ckpt={tmp_path / 'a.ckpt'}", f"output={tmp_path / 'cats'}", cache=cache)
    text = (tmp_path / "cats" / "README.md").read_text()
    assert text.startswith("# cats\n") and "No run.json was found beside `a.ckpt`" in text


def test_a_wrong_call_leaves_nothing_behind(run, cache, tmp_path):
    ckpt = f"ckpt={run / 'checkpoints' / 'last.ckpt'}"
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "a.txt").write_text("mine")
    (tmp_path / "text.ckpt").write_text("hello")
    calls = {
        (ckpt, f"output={kept}"): "kept is there already: move it away",
        (f"ckpt={tmp_path / 'text.ckpt'}", f"output={tmp_path / 'x'}"): "text.ckpt is not a checkpoint",
        (ckpt, f"output={tmp_path / 'x'}", "onnx=true"): "add exported=[WIDTH,HEIGHT]",
        (ckpt, f"output={tmp_path / 'x'}", "exported=[0,8]"): "exported",
        (ckpt, f"output={kept / 'a.txt' / 'x'}"): "a.txt",
    }
    for call, told in calls.items():
        lines = export(*call, cache=cache, code=2).stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and told in lines[0], lines
    here = tmp_path / "here"  # which would be another folder than the one that is looked at afterwards
    here.mkdir()
    told = export(ckpt, "output=.", cache=cache, code=2, cwd=here).stderr
    assert told == "error: . is there already: move it away, or give another output=FOLDER\n"
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "text.ckpt", "here"} and not any(here.iterdir())
    assert (kept / "a.txt").read_text() == "mine"


def test_a_program_is_told_of_and_computes_what_the_network_does(run, cache, tmp_path, monkeypatch):
    call = [f"ckpt={run / 'checkpoints' / 'last.ckpt'}", f"output={tmp_path / 'cats'}", "exported=[100,60]"]
    said = export(*call, cache=cache)
    assert "detector.pt2: differs by 0 at most" in said.stdout and not said.stderr
    text = (tmp_path / "cats" / "README.md").read_text()
    assert "[1, 3, 60, 100]" in text and "found = program(frame, support)" in text and "**Not in it**" in text

    network = VideoPredictor.from_checkpoint(tmp_path / "cats", "cpu").detector
    frame = torch.randint(0, 256, (1, 3, 60, 100), dtype=torch.uint8)
    maps = network.extract(torch.nn.functional.pad(frame, (0, 28, 0, 4)), [(60, 100)]).maps
    support = {level: torch.stack([maps[level]] * 4, 1) for level in "0123"}
    (shown,) = re.findall(r"```python\n(import torch\n.*?)```", text, re.DOTALL)
    known = {"frame": frame, "support": support}
    monkeypatch.chdir(tmp_path)
    exec(shown, known)
    found = known["found"]
    torch.testing.assert_close(found["maps"], maps, rtol=1e-3, atol=1e-3)  # Winograd's way rounds otherwise
    assert found["boxes"].shape == (len(found["objectness"]), 4)
    assert not torch.equal(found["refined"]["0"], found["maps"]["0"])


@pytest.mark.parametrize("overrides", [["model=masktrack_rcnn"], ["experiment=object_temporal"]])
def test_a_network_that_gathers_nothing_at_frame_level_takes_the_frame_alone(overrides, tmp_path):
    torch.save(checkpoint(*overrides), tmp_path / "a.ckpt")
    program = FrameProgram(rebuild(tmp_path / "a.ckpt").detector.eval(), (64, 32), 4)
    assert save_program(program, tmp_path / "a.pt2") == {"a.pt2": 0.0}
    torch.export.load(tmp_path / "a.pt2").module()(torch.zeros(1, 3, 32, 64, dtype=torch.uint8))


def test_a_program_that_computes_something_else_is_not_handed_over(tmp_path, monkeypatch):
    torch.save(checkpoint("model=masktrack_rcnn"), tmp_path / "a.ckpt")
    program = FrameProgram(rebuild(tmp_path / "a.ckpt").detector.eval(), (64, 32), 4)
    traced = torch.export.export

    def wrongly(module, *arguments, **options):
        module.detector.mean += 1
        return traced(module, *arguments, **options)

    monkeypatch.setattr(torch.export, "export", wrongly)
    with pytest.raises(ArithmeticError, match="a.pt2 computes something else than the network"):
        save_program(program, tmp_path / "a.pt2")


MISSING = [package for package in ONNX_PACKAGES if find_spec(package) is None]


@pytest.mark.skipif(bool(MISSING), reason="packages of the extra onnx")
def test_onnx_computes_what_the_network_does(tmp_path):
    torch.save(checkpoint(), tmp_path / "a.ckpt")
    program = FrameProgram(rebuild(tmp_path / "a.ckpt").detector.eval(), (64, 32), 4)
    assert save_program(program, tmp_path / "a.pt2", tmp_path / "a.onnx")["a.onnx"] < 1e-3


@pytest.mark.skipif(not MISSING, reason="packages of the extra onnx are there")
def test_what_onnx_needs_is_told(run, cache, tmp_path):
    call = [f"ckpt={run / 'checkpoints' / 'last.ckpt'}", f"output={tmp_path / 'x'}", "exported=[64,32]", "onnx=true"]
    assert "pip install -e '.[onnx]'" in export(*call, cache=cache, code=2).stderr
