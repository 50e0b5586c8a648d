import itertools
import json
import shutil
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from compfeat.categories import labels_of_stills
from compfeat.data.clips.coco import COCOPseudoClips
from compfeat.data.clips.mixture import MixedClips
from compfeat.data.clips.transforms import AffineMotion, ClipFlip, frame_target
from compfeat.data.datamodule import VISDataModule
from compfeat.structures import Category

CATEGORIES = [Category(1, "person"), Category(6, "sedan"), Category(21, "motorbike"), Category(33, "snowboard")]


def pseudo_clips(shared_data, motion=None, flip=0.0, **options):
    defaults = {"categories": CATEGORIES, "support_frames": 2, "size": (320, 180), "seed": 0}
    motion = motion or AffineMotion()
    return COCOPseudoClips(
        shared_data / "coco_mini", "train2017", flip=ClipFlip(flip), motion=motion, **defaults | options
    )


def matrices(motion, count=2000, size=(100, 200)):
    """The affine matrices that a motion draws, as albumentations reports them."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        motion(np.zeros((*size, 3), np.uint8), np.zeros((0, *size), np.uint8), rng)
        found.append(motion.affine.params["matrix"])
    return np.array(found)


def test_rotation_translation_and_shear_are_drawn_evenly_within_their_bounds():
    height, width = 100, 200
    rotation = matrices(AffineMotion(rotate=20, translate=0, shear=0))
    angles = np.degrees(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    translation = matrices(AffineMotion(rotate=0, translate=0.1, shear=0))
    shifts = translation[:, :2, 2] / (width, height)
    shear = matrices(AffineMotion(rotate=0, translate=0, shear=12))
    assert np.allclose(rotation[:, :2, :2] @ rotation[:, :2, :2].transpose(0, 2, 1), np.eye(2), atol=1e-6)
    assert np.allclose(translation[:, :2, :2], np.eye(2))
    slants = np.degrees(np.arctan(shear[:, 0, 1])), np.degrees(np.arctan(shear[:, 1, 0] / shear[:, 0, 0]))
    for drawn, bound in ((angles, 20), (shifts[:, 0], 0.1), (shifts[:, 1], 0.1), *((slant, 12) for slant in slants)):
        quantiles = np.quantile(drawn, [0, 0.25, 0.5, 0.75, 1])
        tolerance = max(0.08 * bound, 1 / height if bound == 0.1 else 0)  # shifts are whole pixels
        assert np.allclose(quantiles, bound * np.array([-1, -0.5, 0, 0.5, 1]), atol=tolerance)
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.06  # the axes are drawn on their own


def test_an_image_and_its_masks_move_alike_and_about_the_centre():
    height, width = 101, 201
    image = np.zeros((height, width, 3), np.uint8)
    cv2.circle(image, (100, 50), 8, (255, 255, 255), cv2.FILLED)
    cv2.circle(image, (150, 50), 8, (255, 255, 255), cv2.FILLED)
    masks = np.stack([image[..., 0] > 0] * 2).astype(np.uint8)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        frame, moved = AffineMotion(rotate=30, translate=0, shear=0)(image, masks, rng)
        assert frame.shape == image.shape and moved.shape == masks.shape and frame.dtype == moved.dtype == np.uint8
        assert (moved[0] == moved[1]).all() and frame[50, 100, 0] == 255  # the centre stays
        both = (frame[..., 0] > 127) & (moved[0] > 0)
        assert both.sum() > 0.95 * moved[0].sum()
        seen.add(frame.tobytes())
    assert len(seen) == 20
    still = AffineMotion(rotate=0, translate=0, shear=0)(image, masks, rng)
    assert (still[0] == image).all() and (still[1] == masks).all()
    assert AffineMotion()(image, masks[:0], rng)[1].shape == (0, height, width)


def test_boxes_are_those_of_the_moved_masks_and_identities_those_of_the_annotations(shared_data):
    clips = pseudo_clips(shared_data)
    own = {track.id: track for image in clips.annotations for track in image.tracks}
    labels = labels_of_stills(clips.annotations.categories, CATEGORIES)
    for index in range(len(clips)):
        clip = clips[0, index]
        assert clip.support.shape == (2, *clip.current.shape) and clip.current.dtype == torch.uint8
        for target in (clip.target, clip.reference_target):
            expected = frame_target(target["masks"].numpy(), target["labels"].tolist(), target["track_ids"].tolist())
            assert all(torch.equal(target[key], expected[key]) for key in target)
            for label, identity in zip(target["labels"].tolist(), target["track_ids"].tolist(), strict=True):
                track = own[identity]
                assert not track.crowd
                assert labels[track.label - 1] == label
    assert {int(label) for i in range(len(clips)) for label in clips[0, i].target["labels"]} == {1, 2, 3, 4}


def test_frames_of_a_clip_move_independently_and_share_identities(shared_data):
    clip = pseudo_clips(shared_data)[0, 0]
    frames = [clip.current, clip.reference, *clip.support]
    assert all(not torch.equal(a, b) for i, a in enumerate(frames) for b in frames[:i])
    shared = set(clip.target["track_ids"].tolist()) & set(clip.reference_target["track_ids"].tolist())
    assert shared
    same = pseudo_clips(shared_data, AffineMotion(0, 0, 0))[0, 0]
    assert torch.equal(same.current, same.reference) and torch.equal(same.current, same.support[1])
    assert torch.equal(same.target["masks"], same.reference_target["masks"])
    mirrored = pseudo_clips(shared_data, AffineMotion(0, 0, 0), flip=1.0)[0, 0]
    assert torch.equal(mirrored.current, same.current.flip(-1))
    assert torch.equal(mirrored.target["masks"], same.target["masks"].flip(-1))


def test_masks_are_those_of_their_own_frame(shared_data):
    number = itertools.count()

    def motion(image, masks, rng):
        n = next(number)
        return np.full_like(image, n), np.roll(masks, n, axis=2)

    clip = pseudo_clips(shared_data, motion)[0, 0]
    assert [int(image[0, 0, 0]) for image in (clip.current, clip.reference, *clip.support)] == [0, 1, 2, 3]
    assert torch.equal(clip.reference_target["masks"], clip.target["masks"].roll(1, 2))


def areas(target):
    """Pixels of each object by its identity."""
    return dict(zip(target["track_ids"].tolist(), target["masks"].sum((1, 2)).tolist(), strict=True))


def test_objects_of_which_too_little_stays_are_left_out(shared_data):
    wild = AffineMotion(rotate=0, translate=0.8, shear=0)
    everything, most = (pseudo_clips(shared_data, wild, min_visible=share) for share in (0.0, 0.6))
    still = pseudo_clips(shared_data, AffineMotion(0, 0, 0))
    dropped = 0
    for index in range(len(everything)):
        whole, all_ = areas(still[0, index].target), areas(everything[0, index].target)
        kept = most[0, index].target
        visible = {identity: area / whole[identity] for identity, area in all_.items()}
        assert set(kept["track_ids"].tolist()) == {i for i, share in visible.items() if share >= 0.6}
        dropped += len(visible) - len(kept["track_ids"])
    assert dropped > 10


def test_loose_pairs_can_be_left_out(shared_data):
    loose, strict = pseudo_clips(shared_data), pseudo_clips(shared_data, strict=True)
    names = {category.name: label for label, category in enumerate(loose.annotations.categories, start=1)}
    assert loose.labels[[names["bicycle"], names["skis"], names["motorcycle"], names["mouse"]]].tolist() == [3, 4, 3, 0]
    assert strict.labels[[names["bicycle"], names["skis"], names["motorcycle"]]].tolist() == [0, 0, 3]
    with pytest.raises(ValueError, match="no image shows a class"):
        pseudo_clips(shared_data, categories=[Category(1, "giant_panda")])


def test_images_that_show_but_a_crowd_or_are_not_on_disk_are_left_out(shared_data, tmp_path):
    everything, root = pseudo_clips(shared_data), tmp_path / "coco_mini"
    names = [everything[0, index].name for index in range(3)]
    shutil.copytree(shared_data / "coco_mini", root)
    (gone,) = root.rglob(names[0])
    gone.unlink()
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    (image,) = (image["id"] for image in content["images"] if image["file_name"] == names[1])
    for entry in content["annotations"]:
        entry["iscrowd"] |= entry["image_id"] == image
    path.write_text(json.dumps(content))
    left = pseudo_clips(tmp_path)
    assert len(left) == len(everything) - 2 and left[0, 0].name == names[2]


def test_a_clip_depends_on_seed_epoch_and_index_alone(shared_data):
    first, again, other = pseudo_clips(shared_data), pseudo_clips(shared_data), pseudo_clips(shared_data, seed=1)
    _ = again[0, 3]
    assert torch.equal(first[2, 5].current, again[2, 5].current)
    assert not torch.equal(first[2, 5].current, first[3, 5].current)
    assert not torch.equal(first[2, 5].current, other[2, 5].current)


class Keys:
    """A data set that gives its index back."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, item):
        assert 0 <= item[1] < self.length
        return item


@pytest.mark.parametrize(("share", "drawn"), [(0.0, 0), (0.5, 6), (0.75, 18), (0.25, 2)])
def test_a_share_of_an_epoch_is_pseudo_clips(share, drawn):
    mixed = MixedClips(Keys(6), Keys(7), share, seed=0)
    assert len(mixed) == 6 + drawn
    assert [mixed[3, i] for i in range(6)] == [(3, i) for i in range(6)]
    taken = [mixed[epoch, 6 + i] for epoch in range(7) for i in range(drawn)]
    assert len(set(taken)) == len(taken)  # the same image twice is not the same clip twice
    orders = [tuple(index for _, index in taken[start : start + 7]) for start in range(0, len(taken) - 6, 7)]
    assert all(sorted(order) == list(range(7)) for order in orders)  # all images once before any is used again
    assert len(set(orders)) == len(orders)


def test_a_share_must_leave_room_for_videos():
    with pytest.raises(ValueError, match="share"):
        MixedClips(Keys(6), Keys(7), 1.0, seed=0)


def mixed_data(shared_data, workers=0):
    coco = partial(COCOPseudoClips, root=shared_data / "coco_mini", split="train2017", motion=AffineMotion())
    return VISDataModule(
        str(shared_data / "davis_mini"), size=(160, 96), batch_size=3, workers=workers, coco=coco, coco_share=0.5
    )


def test_videos_and_images_are_mixed_whatever_the_workers(shared_data):
    def epoch(workers):
        data = mixed_data(shared_data, workers)
        data.setup()
        batches = list(data.train_dataloader())
        return [pair for b in batches for pair in zip(b.names, b.current.sum((1, 2, 3)).tolist(), strict=True)]

    clips = epoch(0)
    assert len(clips) == 18 and sum(name.endswith(".jpg") for name, _ in clips) == 9
    assert epoch(2) == clips


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_a_mixed_epoch_without_overlap(shared_data, monkeypatch, ranks):
    names = []
    for rank in range(ranks):
        data = mixed_data(shared_data)
        data.setup()
        monkeypatch.setattr(data, "_rank", lambda rank=rank: (rank, ranks))
        names += [name for batch in data.train_dataloader() for name in batch.names]
    assert len(names) == len(set(names)) == 18
