"""That an oracle errs by what it is not told, and by nothing else."""

import json

import numpy as np
import pytest
from generated import box_mask
from pycocotools import mask as rle
from shell import command

from compfeat.data.shapes import ShapesGenerator
from compfeat.evaluation import evaluate
from compfeat.experiments.oracle import Oracle, _tracked
from compfeat.structures import Tube


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    knobs = dict(train_videos=1, test_videos=1, valid_videos=24, degraded=0.7, fringed=0.5, colour_hint=0.7, jumps=0.1)
    folder = ShapesGenerator(**knobs).write(tmp_path_factory.mktemp("shapes"), ["valid"])
    return json.loads((folder / "valid/instances.json").read_text())


def ap(truth, *hidden, support=0, letter=False):
    return evaluate(truth, Oracle(hidden, support, letter).results(truth, seed=0))["AP"]


@pytest.mark.parametrize("letter", [False, True])
def test_who_is_told_everything_errs_in_nothing(truth, letter):
    assert ap(truth, letter=letter) == 1.0


@pytest.mark.parametrize("hidden", ["classes", "masks"])
def test_what_is_hidden_costs_and_support_frames_tell_some_of_it(truth, hidden):
    alone, told = (ap(truth, hidden, support=support, letter=True) for support in (0, 4))
    assert alone < told < 1.0
    assert ap(truth, hidden, support=12, letter=True) >= told


def test_support_frames_tell_nothing_of_identities(truth):
    assert ap(truth, "identities") == ap(truth, "identities", support=4) < 1.0


def test_a_mean_over_frames_finds_most_classes_that_a_vote_does_not(truth):
    assert ap(truth, "classes", letter=True) < ap(truth, "classes") < 1.0


def test_a_frame_in_which_nothing_is_seen_changes_no_identity():
    mask = box_mask(4, 4, 8, 6)
    tube = Tube(1, [0, 2], [(4.0, 4.0, 12.0, 10.0)] * 2, [rle.encode(np.asfortranarray(mask))] * 2, [[1.0, 0.0]] * 2)
    assert [(one.track_id, one.frames) for one in _tracked([tube], 3)] == [(1, [0, 2])]


def test_the_command_prints_what_each_ambiguity_costs(tmp_path):
    small = [f"data.generator.{split}_videos=2" for split in ("train", "valid", "test")]
    done = command("scripts/oracle.py", *small, "support_frames=2", cache=tmp_path)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["nothing"] == {"soft, 0": 1.0, "soft, 2": 1.0, "letter, 0": 1.0, "letter, 2": 1.0}
    assert set(figures) == {"nothing", "classes", "masks", "classes and masks", "identities"}


def test_data_that_does_not_say_what_it_hides_is_refused(tmp_path):
    failed = command("scripts/oracle.py", "data=ytvis", f"data.root={tmp_path}", cache=tmp_path, code=2)
    assert "built-in" in failed.stderr
