import json

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from compfeat.data.annotations import VISAnnotations
from compfeat.data.datamodule import EpochSampler, VISDataModule
from compfeat.data.errors import AnnotationError
from compfeat.data.frames import read_scaled, resize
from compfeat.data.masks import decode_mask
from compfeat.data.sampler import ClipSampler, uniform_frames
from compfeat.data.transforms import ClipFlip, fit, frame_target
from compfeat.data.ytvis import YTVISClips

HEIGHT, WIDTH = 20, 40


def box_mask(x, y, width, height):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def compressed(mask):
    encoded = rle.encode(np.asfortranarray(mask))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def uncompressed(mask):
    flat = mask.T.flatten()
    runs = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
    return {"size": list(mask.shape), "counts": runs if flat[0] == 0 else [0, *runs]}


def write_data_set(root, lengths=(4, 1, 2), layout="{split}.json", split="train", annotations=True):
    """Videos of the given lengths: object 1 of a video is its class's bright box, frame i is of grey level 40 * i."""
    videos, entries = [], []
    for number, length in enumerate(lengths, start=1):
        names = [f"v{number}/{i}.png" for i in range(length)]
        videos.append({"id": number, "width": WIDTH, "height": HEIGHT, "length": length, "file_names": names})
        segmentations = []
        for i, name in enumerate(names):
            mask = box_mask(4 + i, 5, 8, 6)
            image = np.full((HEIGHT, WIDTH, 3), 40 * i, np.uint8)
            image[mask > 0] = (10, 20, 250)  # BGR on disk
            path = root / split / "JPEGImages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
            segmentations.append(compressed(mask))
        entry = {"id": 10 * number, "video_id": number, "category_id": 7, "iscrowd": 0}
        entries.append(entry | {"segmentations": segmentations})
        crowd = [compressed(box_mask(20, 0, 20, 20))] * length
        entries.append(entry | {"id": 10 * number + 1, "iscrowd": 1, "segmentations": crowd})
    categories = [{"id": 9, "name": "dog"}, {"id": 7, "name": "cat"}]
    content = {"videos": videos, "categories": categories, "annotations": entries if annotations else None}
    path = root / layout.format(split=split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return root


def test_every_form_of_segmentation_decodes_to_the_same_mask():
    mask = box_mask(3, 4, 10, 7)
    polygon = [[3, 4, 13, 4, 13, 11, 3, 11]]
    for segmentation in (compressed(mask), uncompressed(mask), polygon):
        decoded = decode_mask(segmentation, HEIGHT, WIDTH)
        assert decoded.dtype == np.uint8 and (decoded == mask).all()
    corner = box_mask(0, 0, 5, 5)  # its first run of zeros is empty
    assert (decode_mask(uncompressed(corner), HEIGHT, WIDTH) == corner).all()
    assert decode_mask(None, HEIGHT, WIDTH).sum() == 0


@pytest.mark.parametrize("layout", ["{split}.json", "{split}/instances.json"])
def test_both_layouts_are_found(tmp_path, layout):
    annotations = VISAnnotations.load(write_data_set(tmp_path, layout=layout), "train")
    assert [(c.id, c.name) for c in annotations.categories] == [(7, "cat"), (9, "dog")]  # labels 1 and 2
    assert [len(v.file_names) for v in annotations.videos] == [4, 1, 2]
    assert [(t.id, t.label, t.crowd) for t in annotations.videos[1].tracks] == [(20, 1, False), (21, 1, True)]
    assert (annotations.image_root / annotations.videos[0].file_names[0]).is_file()


def test_missing_and_broken_annotations_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="train.json or .*instances.json: set data.root"):
        VISAnnotations.load(tmp_path, "train")
    (tmp_path / "train.json").write_text('{"videos": []}')
    with pytest.raises(AnnotationError, match="train.json is not in the YouTube-VIS format"):
        VISAnnotations.load(tmp_path, "train")
    (tmp_path / "train.json").write_text("not json")
    with pytest.raises(AnnotationError, match="train.json"):
        VISAnnotations.load(tmp_path, "train")


def test_a_split_without_ground_truth_has_none(tmp_path):
    root = write_data_set(tmp_path, annotations=False)
    assert not VISAnnotations.load(root, "train").has_annotations
    data = VISDataModule(str(root), train_split="train", val_split="train", workers=0)
    data.setup()
    assert data.ground_truth is None and len(data.val_dataloader()) == 3
    with pytest.raises(AnnotationError, match="no video has an object"):
        data.train_dataloader()


def test_davis_mini_is_read(shared_data):
    annotations = VISAnnotations.load(shared_data / "davis_mini", "train")
    assert len(annotations.videos) == 9 and sum(len(v.file_names) for v in annotations.videos) == 154
    assert len(annotations.categories) == 40 and annotations.categories[12].name == "duck"
    swan = annotations.videos[0]
    mask = decode_mask(swan.tracks[0].segmentations[0], swan.height, swan.width)
    assert mask.shape == (480, 854) and mask.sum() == 41343


@pytest.mark.parametrize("mode", ["random", "uniform"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 20])
def test_clips_have_distinct_frames_while_there_are_enough(mode, length):
    sampler = ClipSampler(2, mode)
    rng = np.random.default_rng(0)
    annotated = [0, length - 1] if length > 1 else [0]
    for _ in range(50):
        clip = sampler.sample(length, annotated, rng)
        assert clip.current in annotated and len(clip.support) == 2
        assert all(0 <= frame < length for frame in (*clip.support, clip.reference))
        assert (clip.reference != clip.current) == (length > 1)
        if mode == "random" and length >= 4:
            assert len({clip.current, clip.reference, *clip.support}) == 4
    assert {sampler.sample(length, annotated, rng).current for _ in range(50)} == set(annotated)


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
    assert fit(1280, 720, (640, 360)) == (360, 202)
    assert resize_image(np.zeros((100, 50, 3), np.uint8), (20, 20)).shape == (20, 10, 3)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_clip_is_flipped_as_a_whole(flip):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask = box_mask(4, 5, 8, 6)
    image[mask > 0] = 200
    images, masks = ClipTransform((WIDTH, HEIGHT), flip)([image] * 3, [mask[None]] * 2, np.random.default_rng(0))
    expected = mask[:, ::-1] if flip else mask
    for tensor in images:
        assert tensor.dtype == torch.uint8 and ((tensor[0].numpy() > 0) == expected).all()
    assert all((stack[0] == expected).all() for stack in masks)


def test_targets_take_boxes_from_masks_and_drop_what_is_not_visible():
    masks = np.stack([box_mask(4, 5, 8, 6), box_mask(0, 0, 0, 0), box_mask(30, 2, 1, 1)])
    target = frame_target(masks, [1, 2, 3], [7, 8, 9])
    assert target["boxes"].tolist() == [[4, 5, 12, 11], [30, 2, 31, 3]]
    assert target["labels"].tolist() == [1, 3] and target["track_ids"].tolist() == [7, 9]
    assert target["masks"].shape == (2, HEIGHT, WIDTH)
    none = frame_target(np.zeros((0, HEIGHT, WIDTH), np.uint8), [], [])
    assert none["boxes"].shape == (0, 4) and none["masks"].shape == (0, HEIGHT, WIDTH)
    assert none["labels"].dtype == torch.int64 and none["boxes"].dtype == torch.float32


def clips(root, seed=0, flip=0.5):
    annotations = VISAnnotations.load(root, "train")
    return YTVISClips(annotations, annotations.videos, ClipSampler(2), ClipTransform((WIDTH, HEIGHT), flip), seed)


def test_a_clip_shows_the_frames_and_objects_of_its_video(tmp_path):
    dataset = clips(write_data_set(tmp_path), flip=0.0)
    assert len(dataset) == 3
    clip = dataset[0, 0]
    frame = int(clip.name.split("/")[1])
    assert clip.current[:, 0, 0].tolist() == [40 * frame] * 3
    assert clip.current[:, 6, 10].tolist() == [250, 20, 10]  # RGB
    assert clip.target["boxes"].tolist() == [[4 + frame, 5, 12 + frame, 11]]
    assert clip.target["track_ids"].tolist() == clip.reference_target["track_ids"].tolist() == [10]  # no crowd
    grey = {int(image[0, 0, 0]) // 40 for image in (clip.current, clip.reference, *clip.support)}
    assert grey == {0, 1, 2, 3}
    assert dataset[0, 1].support.shape == (2, 3, HEIGHT, WIDTH)  # a video of one frame


def test_a_missing_frame_is_named(tmp_path):
    dataset = clips(write_data_set(tmp_path))
    (tmp_path / "train" / "JPEGImages" / "v2" / "0.png").unlink()
    with pytest.raises(AnnotationError, match="v2/0.png"):
        dataset[0, 1]


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
    assert batches(root, workers=0, epoch=1) != first != batches(root, workers=0, seed=1)
    assert batches(root, workers=2, epoch=1) == batches(root, workers=0, epoch=1)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_the_clips_of_an_epoch_without_overlap(ranks):
    shares = [list(EpochSampler(10, 0, rank, ranks)) for rank in range(ranks)]
    assert {len(share) for share in shares} == {10 // ranks}
    drawn = [index for share in shares for _, index in share]
    assert len(set(drawn)) == len(drawn) == 10 // ranks * ranks


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
