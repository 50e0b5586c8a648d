"""That the probes ask what they say they ask."""

import json
from functools import partial

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shell import command
from torch import nn
from untrained import checkpoint

from compfeat.commands.probe import _networks
from compfeat.data.datamodule import VISDataModule
from compfeat.data.shapes import ShapesGenerator
from compfeat.experiments.probes.attention import ClassProbe, Look, indicator, looks_of
from compfeat.experiments.probes.clips import Maps, held_out_clips, jittered
from compfeat.experiments.probes.looks import DARK, line
from compfeat.experiments.probes.matching import MatchingProbe, matches, of_other_videos
from compfeat.experiments.probes.side_by_side import Variant, train_side_by_side
from compfeat.experiments.record import Run
from compfeat.inference.predictor import VideoPredictor

SMALL = [
    "data.generator.train_videos=4",
    "data.generator.valid_videos=3",
    "data.generator.length=8",
    "videos=3",
    "steps=2",
    "batch_size=2",
    "seeds=[0,1]",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    generator = ShapesGenerator(train_videos=1, valid_videos=6, length=10, degraded=0.5)
    module = VISDataModule(str(root), generator=generator, size=(160, 96), cache=str(root))
    module.prepare_data()
    module.setup()
    return module


def test_held_out_clips_know_what_their_frames_hide(data):
    known = json.loads(data.val_annotations.path.read_text())
    degraded = {video["id"]: video["degraded"] for video in known["videos"]}
    boxes = {video: [e["bboxes"] for e in known["annotations"] if e["video_id"] == video] for video in degraded}
    seen = 0
    for clips in held_out_clips(data, videos=6, degraded=True):
        for name, clear, target, support in zip(
            clips.batch.names, clips.clear.tolist(), clips.batch.targets, clips.support_boxes, strict=True
        ):
            video, current = (int(part) for part in name.split("/"))
            hidden = degraded[video + 1]
            assert hidden[current] and current not in (1, 3, 6, 8)
            assert clear == sum(not hidden[frame] for frame in (1, 3, 6, 8))
            visible = [of_track for of_track in boxes[video + 1] if of_track[current] is not None]
            assert len(visible) == len(target["track_ids"])
            for column, of_track in enumerate(visible):
                for row, frame in enumerate((1, 3, 6, 8)):
                    box = of_track[frame]
                    wanted = [0, 0, 0, 0] if hidden[frame] or box is None else np.add(box, [0, 0, *box[:2]]).tolist()
                    assert support[row, column].tolist() == pytest.approx(wanted)
                    seen += any(wanted)
    assert seen > 0


def test_jitter_is_small_and_of_every_side():
    boxes = torch.tensor([[10.0, 20.0, 50.0, 40.0]]).repeat(2000, 1)
    moved = jittered(boxes, torch.Generator().manual_seed(0)) - boxes
    torch.testing.assert_close(moved.std(0), torch.tensor([2.0, 1.0, 2.0, 1.0]), rtol=0.1, atol=0)


def test_indicator_marks_the_support_positions_inside_boxes():
    boxes = torch.tensor([[0.0, 0.0, 0.0, 0.0], [8.0, 4.0, 24.0, 12.0]])
    inside = indicator(boxes, (4, 8), stride=4, pool=1).view(2, 4, 8)
    assert inside[0].sum() == 0 and inside[1].nonzero().tolist() == [[y, x] for y in (1, 2) for x in (2, 3, 4, 5)]
    pooled = indicator(boxes, (4, 8), stride=4, pool=2).view(2, 2, 4)
    assert pooled[1].tolist() == [[0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]]


def test_matches_are_told_by_case():
    target = {
        "boxes": torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [50.0, 0.0, 60.0, 10.0]]),
        "labels": torch.tensor([1, 1, 2]),
        "track_ids": torch.tensor([5, 6, 7]),
    }
    reference = {
        "boxes": torch.tensor([[20.0, 0.0, 30.0, 10.0], [6.0, 0.0, 16.0, 10.0]]),
        "labels": torch.tensor([1, 1]),
        "track_ids": torch.tensor([5, 6]),
    }
    score = torch.tensor([[0.0, 2.0, 1.0], [0.0, 2.0, 1.0], [0.0, 2.0, 1.0]])  # all are taken for the first
    found = list(matches(score, target, reference))
    assert [right for case, right in found if case == "all"] == [1, 0]  # the third is in one frame only
    assert [right for case, right in found if case == "look-alike"] == [1, 0]
    assert [right for case, right in found if case == "crossing"] == [1, 0]
    assert [right for case, right in found if case == "jump"] == [1]


def test_absent_objects_are_of_other_videos():
    references = list(torch.arange(5.0)[:, None])
    of_others = of_other_videos(["a/0", "a/3", "b/1", "b/2", "a/5"], references)
    assert [one.tolist() for one in of_others] == [[2], [2], [4], [4], [2]]
    assert [len(one) for one in of_other_videos(["a/0", "a/3"], references[:2])] == [0, 0]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    small = ["debug=smoke", "trainer.fast_dev_run=false", "trainer.max_epochs=1", "data.batch_size=2"]
    generator = ["data.generator.length=4", "callbacks.overlays=null", "callbacks.progress=null"]
    command("train.py", *small, *generator, f"hydra.run.dir={folder}", cache=cache)
    return folder / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("name", "variants", "measured"),
    [
        ("attention", "[baseline,both_dual]", {"clear 1+"}),
        ("scene", "[baseline,frame_spatial]", {"clear 0"}),
        ("masks", "[baseline,both_dual]", {"clear 1+"}),
        ("matching", "[baseline,'correlation model.detector.track_head.width=null']", {"all"}),
        ("map", "[correlation]", {"peak_inside", "visible", "absent"}),
    ],
)
def test_a_probe_compares_variants_and_measures_checkpoints(name, variants, measured, trained, cache):
    ran = command("scripts/probe.py", name, *SMALL, f"variants={variants}", f"weights={trained}", cache=cache)
    figures = json.loads(ran.stdout.splitlines()[-1])
    assert len(figures) == variants.count(",") + 1
    for values in figures.values():
        assert measured <= set(values) and all(len(of_seeds) == 2 for of_seeds in values.values())
    whole = command("scripts/probe.py", name, *SMALL, f"ckpt=[{trained}]", cache=cache)
    (figures,) = json.loads(whole.stdout.splitlines()[-1]).values()
    assert measured <= set(figures)


def test_the_checkpoints_of_a_row_are_its_seeds(trained, cache, tmp_path):
    for name, seed in (("baseline", 0), ("baseline", 1), ("compfeat", 1), ("compfeat", 2)):
        folder = tmp_path / f"{name}-{seed}"
        Run(name, seed, {}).write(folder)
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints/last.ckpt").symlink_to(trained)
    patterns = [f"{tmp_path}/{name}-*/checkpoints/last.ckpt" for name in ("baseline", "compfeat")]
    ran = command("scripts/probe.py", "map", *SMALL, f"ckpt={json.dumps(patterns)}", cache=cache)
    figures = json.loads(ran.stdout.splitlines()[-1])
    assert list(figures) == ["baseline", "compfeat"] and all(len(f["visible"]) == 2 for f in figures.values())
    assert "gain over baseline" in ran.stdout and "+0.000" in ran.stdout  # of the one seed that both have


def test_rows_of_other_folders_and_other_checkpoints_of_a_run_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, name, seed in (("old", "baseline", 0), ("old", "baseline", 1), ("old", "compfeat", 1)):
        Run(name, seed, {}).write(tmp_path / folder / f"{name}-{seed}")
    Run("compfeat", 1, {}).write(tmp_path / "new/compfeat-1")
    paths = [f"{run}/checkpoints/last.ckpt" for run in ("old/baseline-0", "old/baseline-1", "old/compfeat-1")]
    best, new = "old/baseline-1/checkpoints/best.ckpt", "new/compfeat-1/checkpoints/last.ckpt"
    assert list(_networks([*paths, best, new, "else.ckpt"])) == [
        ("baseline", 0, paths[0]),
        ("baseline", 1, paths[1]),
        ("old/compfeat", 1, paths[2]),
        (best, 1, best),
        ("new/compfeat", 1, new),
        ("else.ckpt", 0, "else.ckpt"),
    ]


class OwnHead(nn.Module):
    """What a track head must have, and no more."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def embed(self, objects):
        return self.weight * objects.mean((2, 3))

    def embed_frames(self, frames):
        return frames

    def compare(self, objects, boxes, frame, references):
        return F.pad(objects @ references.T, (1, 0))

    def losses(self, objects, frames, references, targets, reference_targets):
        return {"loss_track": self.weight**2, "loss_corr": 3 * self.weight, "match_accuracy": self.weight.detach()}


def test_matching_weighs_losses_as_training_does_and_tries_heads_of_ones_own(trained, data):
    detector = VideoPredictor.from_checkpoint(trained, "cpu").detector
    detector.track_head = OwnHead()
    sgd = partial(torch.optim.SGD, lr=0.1)
    for weights, gradient in (({"loss_corr": 0.3}, 2.9), ({"loss_track": 0.0}, 3.0)):
        nn.init.ones_(detector.track_head.weight)
        variant = Variant(detector, sgd, weights)
        train_side_by_side(MatchingProbe(), {"own": variant}, data, steps=1, batch_size=1, seed=0)
        assert detector.track_head.weight.grad.item() == pytest.approx(gradient)
    clips = held_out_clips(data, videos=6, degraded=False)
    found = MatchingProbe().measure(detector, [(one, Maps.of(detector, one.batch)) for one in clips])
    assert 0 <= found["all"] <= 1


class OwnAttention(nn.Module):
    """What attention must have, and no more: nobody is told what it looks at."""

    temporal = nn.Identity()

    def embed(self, support, pool):
        return None

    def refine(self, x, memory):
        return x


def test_classes_are_measured_of_attention_of_ones_own(trained, data):
    detector = VideoPredictor.from_checkpoint(trained, "cpu").detector
    detector.roi_heads.object_attention = OwnAttention()
    clips = held_out_clips(data, videos=6, degraded=True)
    found = ClassProbe().measure(detector, [(one, Maps.of(detector, one.batch)) for one in clips])
    assert 0 <= found["clear 1+"] <= 1 and "share frame" in found and "share object" not in found


def test_looks_add_up_and_light_the_frames_they_are_cast_at(trained, data):
    detector = VideoPredictor.from_checkpoint(trained, "cpu").detector
    clips, *_ = held_out_clips(data, videos=6, degraded=True)
    looks = list(looks_of(detector, clips, Maps.of(detector, clips.batch)))
    assert looks
    for i, n, levels in looks:
        assert clips.support_boxes[i][:, n].any() and set(levels) == {"frame", "object"}
        for look in levels.values():
            assert look.weights.sum().item() == pytest.approx(1, abs=1e-5)
            assert 0 <= look.share <= 1 and 0 < look.chance < 1

    i, n, _ = looks[0]
    weights = torch.zeros(4, 6, 10)
    weights[2] = 1 / 60  # all eyes on the third support frame
    current, *support = line(clips, i, n, Look(weights, 0.0, 0.0))
    light = [frame.float().mean().item() for frame in support]
    untouched = clips.batch.support[i].float().mean((1, 2, 3)).tolist()
    assert current.shape == (3, 192, 320)
    assert light == pytest.approx([DARK * whole if t != 2 else whole for t, whole in enumerate(untouched)], rel=0.1)


def test_looks_are_drawn_of_a_network_that_has_them(trained, cache, tmp_path):
    small = [*SMALL[:3], "videos=3", "objects=2"]
    command("scripts/probe.py", "looks", *small, f"ckpt={trained}", f"output={tmp_path}", cache=cache)
    for level in ("frame", "object"):
        assert cv2.imread(str(tmp_path / f"{level}.png")).shape == (2 * 192 + 3 * 2, 5 * 320 + 6 * 2, 3)
    torch.save(checkpoint("model=masktrack_rcnn"), tmp_path / "baseline.ckpt")
    said = command(
        "scripts/probe.py", "looks", *small, f"ckpt={tmp_path / 'baseline.ckpt'}", cache=cache, code=2
    ).stderr
    assert "no temporal attention" in said


def test_a_variant_that_cannot_be_is_told_in_one_line(trained, cache):
    def said(*arguments):
        return command("scripts/probe.py", *arguments, f"weights={trained}", cache=cache, code=2).stderr

    assert "model.detector.hovercraft" in said("attention", *SMALL, "variants=['baseline model.detector.hovercraft=1']")
    for other in ("backbone=resnet50_fpn", "model.detector.backbone.out_channels=32"):
        assert "another backbone" in said("attention", *SMALL, f"variants=[baseline,'baseline {other}']")
    for name, given in (
        ("matching", "data.sampler.support_frames=2"),
        ("matching", "scheduler@module.scheduler=multistep"),
    ):
        told = said(name, *SMALL, f"variants=['correlation {given}']")
        assert f"variant 'correlation {given}': {given} would change nothing here" in told
    assert "which here all variants share" in said("attention", *SMALL, "variants=[compfeat,uniform3]")
    assert "loss_weights.loss_corr" in said(
        "matching", *SMALL, "variants=['correlation module.loss_weights.loss_corr=-1']"
    )
    assert "a TrackHead makes no maps" in said("map", *SMALL, "variants=[baseline]")
    assert "no track head" in said("matching", *SMALL, "variants=['model=mask_rcnn']")
    assert "a probe needs the built-in data set" in said("matching", "data=ytvis", "data.root=nowhere")


def test_a_checkpoint_of_other_classes_is_not_measured(cache, tmp_path):
    torch.save(checkpoint(), tmp_path / "cats.ckpt")
    ran = command("scripts/probe.py", "attention", *SMALL, f"ckpt=['{tmp_path / 'cats.ckpt'}']", cache=cache, code=2)
    assert "cats.ckpt was trained for other classes (cat) than the data has" in ran.stderr
