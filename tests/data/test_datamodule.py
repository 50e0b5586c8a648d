from functools import partial

import cv2
import numpy as np
import pytest
import torch
from generated import HEIGHT, WIDTH, box_mask, write_data_set

from compfeat.data.annotations.reader import VISAnnotations
from compfeat.data.clips.coco import COCOPseudoClips
from compfeat.data.clips.epochs import EpochSampler
from compfeat.data.clips.sampler import ClipSampler, uniform_frames
from compfeat.data.clips.transforms import AffineMotion, ClipFlip, fit, frame_target, resize_image
from compfeat.data.clips.ytvis import YTVISClips
from compfeat.data.datamodule import VISDataModule
from compfeat.data.errors import AnnotationError
from compfeat.data.shapes import ShapesGenerator
from compfeat.images import ImageError


@pytest.mark.parametrize("mode", ["random", "uniform"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 20])
def test_clips_have_distinct_frames_while_there_are_enough(mode, length):
    sampler = ClipSampler(2, mode)
    rng = np.random.default_rng(0)
    annotated = [0, length - 1] if length > 1 else [0]
    lent = set()
    for _ in range(50):
        clip = sampler.sample(length, annotated, rng)
        assert clip.current in annotated and len(clip.support) == 2
        assert all(0 <= frame < length for frame in (*clip.support, clip.reference))
        assert (clip.reference != clip.current) == (length > 1) and clip.reference in annotated
        lent |= {*clip.support}
        if mode == "random" and length >= 4:
            assert len({clip.current, clip.reference, *clip.support}) == 4
    assert {sampler.sample(length, annotated, rng).current for _ in range(50)} == set(annotated)
    assert sampler.sample(length + 1, [0], rng).reference != 0  # rather one without objects than the same
    if length == 20:
        assert len(lent) > 15 if mode == "random" else lent == {5, 15}


def test_uniform_frames_are_the_middles_of_equal_parts():
    assert uniform_frames(20, 4) == [2, 7, 12, 17]
    assert uniform_frames(1, 3) == [0, 0, 0]
    with pytest.raises(ValueError, match="mode"):
        ClipSampler(2, "nearest")
    with pytest.raises(ValueError, match="support_frames"):
        ClipSampler(-1)


def test_frames_are_fitted_keeping_their_ratio():
    assert fit(480, 854, (640, 360)) == (360, 640)
    assert fit(720, 1280, (640, 360)) == (360, 640)
    assert fit(1280, 720, (640, 360)) == fit(1280, 720, (360, 640)) == (640, 360)
    assert fit(500, 400, (640, 360)) == (450, 360)
    assert resize_image(np.zeros((100, 50, 3), np.uint8), (20, 20)).shape == (20, 10, 3)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_clip_is_flipped_as_a_whole(probability):
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    mask = box_mask(4, 5, 8, 6)
    none = np.zeros((0, HEIGHT, WIDTH), np.uint8)
    images, masks = ClipFlip(probability)([image] * 3, [mask[None], none], np.random.default_rng(0))
    step = -1 if probability else 1
    assert len(images) == 3 and all((flipped == image[:, ::step]).all() for flipped in images)
    assert (masks[0] == mask[None, :, ::step]).all() and masks[1].shape == none.shape


def test_clips_are_flipped_as_often_as_is_asked():
    flip, rng, image = ClipFlip(0.25), np.random.default_rng(0), np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    assert 0.2 < np.mean([flip([image], [], rng)[0][0][0, 0, 0] == 3 for _ in range(1000)]) < 0.3


def test_targets_take_boxes_from_masks_and_drop_what_is_not_visible():
    masks = np.stack([box_mask(4, 5, 8, 6), box_mask(0, 0, 0, 0), box_mask(30, 2, 1, 1)])
    target = frame_target(masks, [1, 2, 3], [7, 8, 9])
    assert target["boxes"].tolist() == [[4, 5, 12, 11], [30, 2, 31, 3]]
    assert target["labels"].tolist() == [1, 3] and target["track_ids"].tolist() == [7, 9]
    assert target["masks"].shape == (2, HEIGHT, WIDTH)
    none = frame_target(np.zeros((0, HEIGHT, WIDTH), np.uint8), [], [])
    assert none["boxes"].shape == (0, 4) and none["masks"].shape == (0, HEIGHT, WIDTH)
    assert none["labels"].dtype == torch.int64 and none["boxes"].dtype == torch.float32


def clips(root, seed=0, flip=0.5, size=(WIDTH, HEIGHT)):
    annotations = VISAnnotations.load(root, "train")
    return YTVISClips(annotations, range(len(annotations)), ClipSampler(2), size, ClipFlip(flip), seed)


def test_a_clip_shows_the_frames_and_objects_of_its_video(tmp_path):
    dataset = clips(write_data_set(tmp_path), flip=0.0)
    assert len(dataset) == 3
    clip = dataset[0, 0]
    frame = int(clip.name.split("/")[1])
    assert clip.current[:, 0, 0].tolist() == [40 * frame] * 3
    assert clip.current[:, 6, 10].tolist() == [250, 20, 10]  # RGB
    assert clip.target["boxes"].tolist() == [[4 + frame, 5, 12 + frame, 11]]
    assert clip.target["track_ids"].tolist() == clip.reference_target["track_ids"].tolist() == [10]  # no crowd
    frame = int(clip.reference[0, 0, 0]) // 40
    assert clip.reference_target["boxes"].tolist() == [[4 + frame, 5, 12 + frame, 11]]
    grey = {int(image[0, 0, 0]) // 40 for image in (clip.current, clip.reference, *clip.support)}
    assert grey == {0, 1, 2, 3}
    assert dataset[0, 1].support.shape == (2, 3, HEIGHT, WIDTH)  # a video of one frame
    mirrored = clips(tmp_path, flip=1.0)[0, 0]
    for images in ("current", "reference", "support"):
        assert torch.equal(getattr(mirrored, images), getattr(clip, images).flip(-1))
    for target in ("target", "reference_target"):
        assert torch.equal(getattr(mirrored, target)["masks"], getattr(clip, target)["masks"].flip(-1))


def test_with_one_clip_per_frame_an_epoch_has_each_annotated_frame_once(tmp_path):
    root = write_data_set(tmp_path)
    annotations = VISAnnotations.load(root, "train")
    dataset = YTVISClips(annotations, range(3), ClipSampler(2), (WIDTH, HEIGHT), ClipFlip(0.0), 0, "frame")
    wanted = [
        f"{annotations[position].name}/{present[n]}"
        for position in range(3)
        for present, seen in [annotations.frames_to_train_on(position)]
        for n in np.flatnonzero(seen)
    ]
    assert [dataset[0, index].name for index in range(len(dataset))] == wanted and len(wanted) > 3
    first, second = dataset[0, 0], dataset[1, 0]  # the others are drawn anew
    assert (first.current == second.current).all() and not (first.support == second.support).all()
    module = VISDataModule(str(root), val_split="train", size=(WIDTH, HEIGHT), one_clip_per="frame", batch_size=1)
    module.setup()
    assert len(module.train_dataloader()) == len(wanted)


def test_a_clip_is_scaled_with_its_masks(tmp_path):
    clip = clips(write_data_set(tmp_path), flip=0.0, size=(WIDTH // 2, HEIGHT))[0, 1]
    assert clip.current.shape == (3, HEIGHT // 2, WIDTH // 2)
    assert clip.target["masks"].shape == (1, HEIGHT // 2, WIDTH // 2)
    assert clip.target["boxes"].tolist() == [[2, 2, 6, 5]]


def test_broken_frames_and_masks_are_named(tmp_path):
    dataset = clips(write_data_set(tmp_path))
    frame = tmp_path / "train" / "JPEGImages" / "v2" / "0.png"
    frame.write_bytes(b"")
    with pytest.raises(ImageError, match="v2/0.png: it is broken"):
        dataset[0, 1]
    cv2.imwrite(str(frame), np.zeros((WIDTH, HEIGHT, 3), np.uint8))
    with pytest.raises(AnnotationError, match="v2/0.png has 20 x 40 pixels, but its annotations are of 40 x 20"):
        dataset[0, 1]

    def shorten(content):
        content["annotations"][2]["segmentations"] = [{"size": [HEIGHT, WIDTH], "counts": [10, 10]}]

    root = write_data_set(tmp_path, change=shorten)
    with pytest.raises(AnnotationError, match="annotation 20 has a mask that its runs do not fill"):
        clips(root)


def test_frames_kept_at_another_scale_are_those_annotated(tmp_path):
    root = write_data_set(tmp_path)
    for path in (root / "train" / "JPEGImages").rglob("*.png"):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (WIDTH // 2, HEIGHT // 2)))
    data = VISDataModule(str(root), val_split="train", size=(WIDTH, HEIGHT), workers=0)
    data.setup()
    assert data.train_clips()[0, 0].current.shape == (3, HEIGHT, WIDTH)
    assert {frame.shape for video in data.val_dataloader() for frame in video.frames} == {(HEIGHT, WIDTH, 3)}


def test_frames_and_videos_that_are_not_on_disk_are_left_out(tmp_path, caplog):
    root = write_data_set(tmp_path)
    images = root / "train" / "JPEGImages"
    for name in ("v1/0.png", "v1/2.png", "v2/0.png"):
        (images / name).unlink()
    data = VISDataModule(str(root), val_split="train", size=(WIDTH, HEIGHT), flip=0.0, workers=0)
    data.setup()
    assert "3 of 7 training frames, in 2 videos, are not on disk" in caplog.text
    assert "2 of 3 validation videos lack frames on disk and are left out" in caplog.text
    assert [video.id for video in data.val_dataloader()] == [3]
    assert [video["id"] for video in data.ground_truth["videos"]] == [3]
    dataset = data.train_clips()
    assert len(dataset) == 2  # the second video has no frame
    for epoch in range(10):
        clip = dataset[epoch, 0]
        grey = {int(image[0, 0, 0]) // 40 for image in (clip.current, clip.reference, *clip.support)}
        assert grey == {1, 3} and clip.name in ("v1/1", "v1/3")


def test_splits_of_other_classes_are_refused_to_train_on(tmp_path):
    root = write_data_set(tmp_path)
    write_data_set(root, split="valid", change=lambda content: content["categories"][0].update(name="cow"))
    data = VISDataModule(root)
    with pytest.raises(
        AnnotationError, match=r"train.json and .*valid.json have other classes.*\(cat, dog; cat, cow\)"
    ):
        data.setup()
    data.setup("validate")
    assert [category.name for category in data.categories] == ["cat", "cow"]


def batches(root, workers, epoch=0, seed=0):
    data = VISDataModule(str(root), val_split="train", size=(WIDTH, HEIGHT), batch_size=2, workers=workers, seed=seed)
    data.setup()
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return [(batch.names, batch.current.sum().item()) for batch in loader]


def test_what_is_drawn_depends_on_seed_and_epoch_but_not_on_workers(tmp_path):
    root = write_data_set(tmp_path, lengths=(4,) * 6)
    first = batches(root, workers=0)
    assert len(first) == 3 and batches(root, workers=2) == first == batches(root, workers=0)
    assert len({name.split("/")[1] for names, _ in first for name in names}) > 1  # not the same frame of every video
    assert batches(root, workers=0, epoch=1) != first != batches(root, workers=0, seed=1)
    assert batches(root, workers=2, epoch=1) == batches(root, workers=0, epoch=1)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_the_clips_of_an_epoch_without_overlap(ranks):
    shares = [list(EpochSampler(10, 0, rank, ranks)) for rank in range(ranks)]
    assert {len(share) for share in shares} == {10 // ranks}
    drawn = [index for share in shares for _, index in share]
    assert len(set(drawn)) == len(drawn) == 10 // ranks * ranks
    sampler = EpochSampler(10, 0, 0, ranks)
    sampler.set_epoch(1)
    assert [index for _, index in sampler] != [index for _, index in shares[0]]  # in another order


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_each_video_is_evaluated_once_by_one_rank(tmp_path, monkeypatch, ranks):
    root = write_data_set(tmp_path, lengths=(1,) * 5)
    seen = []
    for rank in range(ranks):
        data = VISDataModule(str(root), val_split="train", workers=0)
        data.setup()
        monkeypatch.setattr(data, "_rank", lambda rank=rank: (rank, ranks))
        seen += [video.id for video in data.val_dataloader()]
    assert sorted(seen) == [1, 2, 3, 4, 5]


def test_only_videos_keeps_the_first_of_clips_videos_and_ground_truth(tmp_path):
    data = VISDataModule(str(write_data_set(tmp_path)), val_split="train", workers=0, only_videos=2)
    data.setup()
    assert [video.id for video in data.val_dataloader()] == [1, 2]
    assert {entry["video_id"] for entry in data.ground_truth["annotations"]} == {1, 2}
    assert len(data.train_dataloader().dataset) == 2
    first = next(iter(data.val_dataloader()))
    assert len(first.frames) == 4 and first.frames[2].shape == (HEIGHT, WIDTH, 3) and first.frames[2][0, 0, 0] == 80


@pytest.mark.parametrize(
    ("splits", "drawn"),
    [
        ({}, {"valid"}),
        ({"coco": partial(COCOPseudoClips, split="stills")}, {"valid"}),
        ({"val_split": None}, {"train"}),
    ],
)
def test_what_is_measured_needs_no_videos_to_train_on(splits, drawn, tmp_path):
    generator = ShapesGenerator(train_videos=3, valid_videos=2, stills=2, length=3, width=64, height=48)
    data = VISDataModule(str(tmp_path), generator=generator, size=(64, 48), holdout=2, **splits)
    data.prepare_data("validate")
    data.setup("validate")
    assert {path.name for path in data.folder.iterdir()} == drawn and len(data.val_videos) == 2


def test_stills_and_final_videos_of_the_built_in_data_set_are_splits_of_their_own(tmp_path, capsys):
    knobs = dict(train_videos=3, valid_videos=2, test_videos=4, length=3, width=64, height=48)
    motion = AffineMotion(rotate=5.0, translate=0.1, shear=5.0)
    coco = partial(COCOPseudoClips, split="stills", motion=motion)

    def module(**arguments):
        generator = ShapesGenerator(**knobs, stills=5)
        data = VISDataModule(str(tmp_path), generator=generator, size=(64, 48), test_split="test", **arguments)
        data.prepare_data()
        return data

    videos, mixed = module(), module(coco=coco, coco_share=0.5)
    assert "drawing stills of the built-in data set: 5 of 5 images" in capsys.readouterr().err
    for data in (videos, mixed):
        data.setup()
    assert len(videos.train_clips()) == 3 and len(mixed.train_clips()) == 6
    alone = module(coco=coco, coco_share=0.5, videos_alone=True)
    alone.setup()
    names = [alone.train_clips()[0, index].name for index in range(6)]
    assert len(alone.train_clips()) == 6 and set(names[:3]) != set(names[3:])  # other clips
    first, second = ({name.split("/")[0] for name in half} for half in (names[:3], names[3:]))
    assert len(first) == 3 and first == second  # of the same videos
    clip = mixed.train_clips()[0, 5]
    assert clip.name.endswith("/00000.jpg") and len(clip.target["labels"]) > 0
    assert clip.target["labels"].max() <= len(mixed.categories)
    final = module()
    final.use_test_split()
    final.prepare_data()
    final.setup("validate")
    assert (len(videos.val_videos), len(final.val_videos)) == (2, 4)
    assert videos.fingerprint["train"] == final.fingerprint["train"] != videos.fingerprint["valid"]
    assert set(final.fingerprint) == {"train", "test"}
    assert mixed.fingerprint == videos.fingerprint | {"stills": mixed.fingerprint["stills"]}
    assert videos.fingerprint == final.fingerprint | {"valid": videos.fingerprint["valid"]}
