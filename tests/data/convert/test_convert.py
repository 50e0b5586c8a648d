"""From other formats of labelled video into the YouTube-VIS layout, and back."""

import json
import os

import cv2
import numpy as np
import pytest
from generated import HEIGHT, WIDTH, box_mask, compressed, uncompressed, write_data_set
from PIL import Image

from compfeat.data.annotations.reader import VISAnnotations
from compfeat.data.checks import SplitCheck
from compfeat.data.convert.coco import COCOVideos
from compfeat.data.convert.coco_video import to_coco_video
from compfeat.data.convert.davis import DAVISVideos
from compfeat.data.convert.labelled import LabelledVideo
from compfeat.data.convert.layout_writer import write_split
from compfeat.data.convert.mots import MOTSVideos
from compfeat.data.errors import AnnotationError
from compfeat.masks import decode_mask
from compfeat.structures import Category

POLYGON = [4, 5, 12, 5, 12, 11, 4, 11]  # box_mask(4, 5, 8, 6)


def converted(source, output, split="train"):
    write_split(list(source), source.categories, output, split)
    check = SplitCheck(output, split)
    assert [fault for faults in check.run() for fault in faults] == []
    return VISAnnotations.load(output, split)


def objects(video):
    """(id, label, crowd, masks) of each, in order of ids."""
    return sorted((t.id, t.label, t.crowd, [mask and mask["counts"] for mask in t.segmentations]) for t in video.tracks)


def write_frames(folder, names, size=(HEIGHT, WIDTH)):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.full((*size, 3), 10 * number, np.uint8))


def write_coco(path, names, annotations, categories=("cat", "dog"), images=None, **members):
    """A json as CVAT writes it; annotations are (image, category, segmentation, other members)."""
    content = {
        "categories": [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(categories, start=1)],
        "images": images
        or [{"id": n, "file_name": f, "height": HEIGHT, "width": WIDTH} for n, f in enumerate(names, start=1)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0} | others
            for n, (image, category, segmentation, others) in enumerate(annotations, start=1)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | members))
    return path


def track(number, **attributes):
    return {"attributes": {"occluded": False, "track_id": number, "keyframe": True} | attributes}


def test_the_layout_to_coco_video_and_back_is_the_same(tmp_path):
    def change(content):
        content["annotations"][0]["segmentations"][1] = None  # seen, hidden, seen again
        content["annotations"][0]["bboxes"][1] = None

    root = write_data_set(tmp_path / "data", change=change)
    before = VISAnnotations.load(root, "train")
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(to_coco_video(before, before.categories)))
    after = converted(COCOVideos(path, root / "train" / "JPEGImages"), tmp_path / "out")
    assert after.categories == before.categories
    assert [(v.id, v.file_names, objects(v)) for v in after] == [(v.id, v.file_names, objects(v)) for v in before]


def test_results_become_annotations_with_scores(tmp_path):
    annotations = VISAnnotations.load(write_data_set(tmp_path), "train")
    masks = [[], compressed(box_mask(1, 2, 3, 4)), None, {}]
    entry = {"video_id": 1, "category_id": 9, "score": 0.5, "segmentations": masks}
    content = to_coco_video(annotations, annotations.categories, [entry])
    (found,) = content["annotations"]
    image = content["images"][found["image_id"] - 1]
    assert (image["file_name"], image["video_id"], image["frame_id"]) == ("v1/1.png", 1, 1)
    assert (found["instance_id"], found["category_id"], found["score"]) == (1, 9, 0.5)
    assert (found["bbox"], found["area"]) == ([1, 2, 3, 4], 12)
    assert np.array_equal(
        decode_mask(found["segmentation"] | {"counts": masks[1]["counts"].encode()}), box_mask(1, 2, 3, 4)
    )


def test_frames_are_links_and_the_source_stays_as_it_is(tmp_path):
    root = write_data_set(tmp_path / "data", lengths=(2,))
    annotations = VISAnnotations.load(root, "train")
    (tmp_path / "coco.json").write_text(json.dumps(to_coco_video(annotations, annotations.categories)))
    frame = root / "train" / "JPEGImages" / "v1" / "0.png"
    frame.rename(tmp_path / "moved.png")
    frame.symlink_to(tmp_path / "moved.png")
    converted(COCOVideos(tmp_path / "coco.json", root / "train" / "JPEGImages"), tmp_path / "out")
    written = tmp_path / "out" / "train" / "JPEGImages" / "v1" / "0.png"
    assert not written.is_symlink() and written.samefile(tmp_path / "moved.png")


def test_no_source_is_written_through_a_link_to_it(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        (tmp_path / name).write_bytes(bytes([value]))
    videos = [LabelledVideo(name, (HEIGHT, WIDTH), {"same/0.png": tmp_path / name}, []) for name in "ab"]
    with pytest.raises(FileExistsError):
        write_split(videos, [Category(1, "cat")], tmp_path / "out", "train")
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"\1", b"\2"] and not (tmp_path / "out/train").exists()


def test_frames_are_copied_where_no_link_can_be_made(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    write_frames(tmp_path / "images" / "default", ["f0.png"])
    path = write_coco(tmp_path / "annotations" / "instances_default.json", ["f0.png"], [(1, 1, [POLYGON], track(0))])
    converted(COCOVideos(path), tmp_path / "out")
    written = tmp_path / "out" / "train" / "JPEGImages" / "instances_default" / "f0.png"
    assert written.read_bytes() == (tmp_path / "images" / "default" / "f0.png").read_bytes()


def test_a_task_of_cvat(tmp_path):
    """Images lie without folder under images/SUBSET, painted masks are crowds, track ids begin at 0."""
    names = ["frame_000010.PNG", "frame_000009.PNG", "frame_000002.PNG"]
    write_frames(tmp_path / "images" / "default", names)
    painted = {"segmentation": uncompressed(box_mask(0, 0, 5, 5)), "iscrowd": 1}
    path = write_coco(
        tmp_path / "annotations" / "instances_default.json",
        names,
        [
            (1, 2, [POLYGON], track(0)),
            (3, 2, [[*POLYGON[:-1], 300]], track(0)),  # beyond the frame
            (2, 1, None, track(1) | painted),
        ],
    )
    (video,) = converted(COCOVideos(path), tmp_path / "out")
    assert [name.rpartition("/")[2] for name in video.file_names] == sorted(names)
    first, second = sorted(video.tracks, key=lambda track: track.id)
    assert (first.id, first.label, first.crowd, second.id, second.label, second.crowd) == (0, 2, False, 1, 1, False)
    assert [mask is not None for mask in first.segmentations] == [True, False, True]
    assert [mask is not None for mask in second.segmentations] == [False, True, False]
    assert np.array_equal(decode_mask(first.segmentations[2]), box_mask(4, 5, 8, 6))
    assert np.array_equal(decode_mask(second.segmentations[1]), box_mask(0, 0, 5, 5))


def test_several_tasks_of_cvat_are_one_data_set(tmp_path):
    for task, categories in (("a", ("cat", "dog")), ("b", ("dog", "bird"))):
        write_frames(tmp_path / "in" / task / "images" / "default", ["frame_000000.PNG"])
        path = tmp_path / "in" / task / "annotations" / "instances_default.json"
        write_coco(path, ["frame_000000.PNG"], [(1, 1, [POLYGON], track(0))], categories)
    annotations = converted(COCOVideos(tmp_path / "in"), tmp_path / "out")
    names = [category.name for category in annotations.categories]
    assert names == ["cat", "dog", "bird"]
    assert [(v.name, [names[t.label - 1] for t in v.tracks]) for v in annotations] == [("a", ["cat"]), ("b", ["dog"])]
    assert [track.id for video in annotations for track in video.tracks] == [1, 2]


def test_exports_that_would_have_one_name_are_told_apart(tmp_path):
    for name in ("a-b", "a/b"):
        write_frames(tmp_path / name, ["0.png"])
        write_coco(tmp_path / name / "result.json", ["0.png"], [(1, 1, [POLYGON], track(0))])
    with pytest.raises(AnnotationError, match="a/b/result.json and .*a-b/result.json would both be called a-b: rename"):
        COCOVideos(tmp_path)


def linked(source, folder):
    """A folder of links to the folders in ``source``, each beside what a Mac puts there."""
    for path in source.iterdir():
        (folder / path.name).parent.mkdir(parents=True, exist_ok=True)
        (folder / path.name).symlink_to(path)
    (folder / "._0.json").write_bytes(b"\xff")
    (folder / "._0.png").write_bytes(b"\xff")
    return folder


def test_folders_may_be_links_and_hidden_files_are_none_of_the_data(tmp_path):
    for task in "ab":
        write_frames(tmp_path / "tasks" / task, ["0.png"])
        write_coco(tmp_path / "tasks" / task / "result.json", ["0.png"], [(1, 1, [POLYGON], track(0))])
    source = linked(tmp_path / "tasks", tmp_path / "coco")
    assert [video.name for video in converted(COCOVideos(source), tmp_path / "from_coco")] == ["a", "b"]

    for kind in ("JPEGImages", "Annotations"):
        linked(write_davis(tmp_path / "whole") / kind, tmp_path / "davis" / kind)
    source = DAVISVideos(tmp_path / "davis", "thing")
    assert [video.name for video in converted(source, tmp_path / "from_davis")] == ["a", "b"]

    write_mots(tmp_path / "videos" / "0002", mots_line(0, 1001, 1, box_mask(0, 0, 6, 6)), 0)
    source = MOTSVideos(linked(tmp_path / "videos", tmp_path / "mots"), ["car"], None)
    assert [video.name for video in converted(source, tmp_path / "from_mots")] == ["0002"]


def test_an_export_of_label_studio(tmp_path):
    """Eight digits before each name, Windows' slashes, categories from 0, and no identity but the class."""
    names = ["images\\0fe1aa34-f_10.png", "images\\a3b2c1d0-f_9.png"]
    write_frames(tmp_path, [name.replace("\\", "/") for name in names])
    path = write_coco(tmp_path / "result.json", names, [(1, 1, [POLYGON], {}), (2, 1, [POLYGON], {})])
    content = json.loads(path.read_text())
    for entry in content["categories"]:
        entry["id"] -= 1
    for entry in content["annotations"]:
        entry["category_id"] = 0
    path.write_text(json.dumps(content))
    (video,) = converted(COCOVideos(path, identity="category_id"), tmp_path / "out")
    assert video.file_names == ["images/a3b2c1d0-f_9.png", "images/0fe1aa34-f_10.png"]
    (thing,) = video.tracks
    assert thing.label == 1 and None not in list(thing.segmentations)
    with pytest.raises(AnnotationError, match="no annotation of .* tells which object .* identity=category_id"):
        list(COCOVideos(path))


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (
            [(1, 1, [POLYGON], track(0)), (2, 1, [POLYGON], {})],
            "annotation 2 of v/1.png has no track_id, by which others tell",
        ),
        ([(1, 1, [POLYGON], track(3))] * 2, "annotation 2 of v/0.png has the track_id 3 of another one there"),
        ([(1, 1, [], track(0) | {"bbox": [4, 5, 8, 6]})], "annotation 1 of v/0.png: it has no mask, only a box"),
        (
            [(1, 1, compressed(np.ones((4, 6), np.uint8)), track(0))],
            r"annotation 1 of v/0.png: its size is \[4, 6\], that of the video \[20, 40\]",
        ),
        ([(1, 1, {"size": [HEIGHT, WIDTH], "counts": [7]}, track(0))], "its runs fill 7 pixels of 20 x 40"),
        ([(1, 1, {"size": [HEIGHT, WIDTH]}, track(0))], "annotation 1 of v/0.png: it is .*, not RLE of the form"),
        ([(1, 1, "0", track(0))], "annotation 1 of v/0.png: it is '0', not RLE of the form"),
        ([(1, 1, [POLYGON], {"attributes": ["blurred"]})], "no annotation of .* tells which object"),
        ([(9, 1, [POLYGON], track(0))], "annotation 1 names an image or category that is not listed"),
    ],
)
def test_what_is_wrong_with_an_annotation_is_told(tmp_path, annotations, expected):
    write_frames(tmp_path, ["v/0.png", "v/1.png"])
    path = write_coco(tmp_path / "coco.json", ["v/0.png", "v/1.png"], annotations)
    with pytest.raises(AnnotationError, match=expected):
        list(COCOVideos(path))


def test_what_is_wrong_with_images_is_told(tmp_path):
    write_frames(tmp_path, ["v/0.png"])
    with pytest.raises(AnnotationError, match=r"1 of 2 frames of .* the first is v/1.png: .* images=FOLDER"):
        COCOVideos(write_coco(tmp_path / "a.json", ["v/0.png", "v/1.png"], []))
    with pytest.raises(FileNotFoundError, match="no frames beside .* for instance w/0.png: give images=FOLDER"):
        COCOVideos(write_coco(tmp_path / "b.json", ["w/0.png"], []))
    with pytest.raises(AnnotationError, match="there are two images v/0.png: export each video by itself"):
        COCOVideos(write_coco(tmp_path / "c.json", ["v/0.png", "v/0.png"], []))
    same = [{"id": 1, "file_name": f"v/{n}.png", "height": HEIGHT, "width": WIDTH} for n in (0, 1)]
    with pytest.raises(AnnotationError, match="two images have the same id"):
        COCOVideos(write_coco(tmp_path / "e.json", [], [], images=same))
    with pytest.raises(AnnotationError, match="the file name ../0.png leaves the folder"):
        COCOVideos(write_coco(tmp_path / "d.json", ["../0.png"], []))
    with pytest.raises(AnnotationError, match="is not in the COCO format: 'images' is missing"):
        COCOVideos(write_data_set(tmp_path / "vis") / "train.json")


def write_png(path, values, palette=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette([(37 * i) % 256 for i in range(3 * 256)])
    image.save(path)


def write_davis(root):
    """Two objects that touch in video a, a mask of the old 0 and 255 in b; the second frame of b is not annotated."""
    write_frames(root / "JPEGImages", ["a/00000.jpg", "a/00001.jpg", "b/00000.jpg", "b/00001.jpg"])
    first = box_mask(0, 0, 5, 5) + 2 * box_mask(5, 0, 5, 5) + 255 * box_mask(30, 0, 5, 5)
    write_png(root / "Annotations" / "a" / "00000.png", first)
    write_png(root / "Annotations" / "a" / "00001.png", 2 * box_mask(6, 0, 5, 5))
    write_png(root / "Annotations" / "b" / "00000.png", 255 * box_mask(1, 1, 3, 3), palette=False)
    return root


def test_indexed_pngs_of_davis(tmp_path):
    a, b = converted(DAVISVideos(write_davis(tmp_path / "in"), "thing"), tmp_path / "out")
    one, two, void = a.tracks
    assert np.array_equal(decode_mask(one.segmentations[0]), box_mask(0, 0, 5, 5))
    assert [np.array_equal(decode_mask(two.segmentations[i]), box_mask(5 + i, 0, 5, 5)) for i in (0, 1)] == [True] * 2
    assert one.segmentations[1] is None and (one.crowd, two.crowd, void.crowd) == (False, False, True)
    (only,) = b.tracks
    assert b.file_names == ["b/00000.jpg"] and not only.crowd
    assert np.array_equal(decode_mask(only.segmentations[0]), box_mask(1, 1, 3, 3))


def test_davis_with_suffixes_in_capitals(tmp_path):
    write_frames(tmp_path / "JPEGImages", ["a/0.JPG"])
    write_png(tmp_path / "Annotations" / "a" / "0.PNG", box_mask(0, 0, 5, 5))
    (video,) = converted(DAVISVideos(tmp_path, "thing"), tmp_path / "out")
    assert video.file_names == ["a/0.JPG"] and len(video.tracks) == 1


def test_classes_of_davis(tmp_path):
    root = write_davis(tmp_path / "in")
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps({"a": {"1": "dog", "2": "cat"}, "b": {"255": "cat"}}))
    annotations = converted(DAVISVideos(root, str(classes)), tmp_path / "out")
    assert [category.name for category in annotations.categories] == ["cat", "dog"]
    assert [(t.label, t.crowd) for t in annotations[0].tracks] == [(2, False), (1, False), (1, True), (2, True)]
    classes.write_text(json.dumps({"a": {"1": "dog"}}))
    with pytest.raises(AnnotationError, match="no class for the object 2 of the video a"):
        list(DAVISVideos(root, str(classes)))
    classes.write_text(json.dumps({"a": ["dog"]}))
    with pytest.raises(AnnotationError, match="is not of the form"):
        DAVISVideos(root, str(classes))


def test_what_is_wrong_with_davis_is_told(tmp_path):
    root = write_davis(tmp_path)
    masks = root / "Annotations" / "a"
    write_png(masks / "00001.png", np.ones((5, 6), np.uint8))
    with pytest.raises(AnnotationError, match="00001.png has 6 x 5 pixels, the frames of its video 40 x 20"):
        list(DAVISVideos(root, "thing"))
    write_png(masks / "00001.png", np.ones((HEIGHT, WIDTH, 3), np.uint8), palette=False)
    with pytest.raises(AnnotationError, match="00001.png is a colour image"):
        list(DAVISVideos(root, "thing"))
    (masks / "00001.png").write_bytes((masks / "00000.png").read_bytes()[:60])
    with pytest.raises(AnnotationError, match="00001.png cannot be read"):
        list(DAVISVideos(root, "thing"))
    (masks / "00001.png").rename(masks / "00007.png")
    with pytest.raises(AnnotationError, match="00007.png has no frame: there is no .*a/00007.jpg"):
        list(DAVISVideos(root, "thing"))
    with pytest.raises(FileNotFoundError, match="no Annotations"):
        DAVISVideos(tmp_path / "nowhere", "thing")


def mots_line(frame, identity, category, mask):
    return f"{frame} {identity} {category} {mask.shape[0]} {mask.shape[1]} {compressed(mask)['counts']}\n"


def write_mots(folder, text, first):
    write_frames(folder / "img1", [f"{first + i:06d}.jpg" for i in range(3)])
    (folder / "gt").mkdir(exist_ok=True)
    (folder / "gt" / "gt.txt").write_text(text)


@pytest.mark.parametrize("first", [0, 1])
def test_text_of_mots(tmp_path, first):
    car, person, region = box_mask(0, 0, 6, 6), box_mask(10, 10, 4, 8), box_mask(30, 0, 10, 20)
    lines = [
        mots_line(first, 1005, 1, car),
        mots_line(first, 10000, 10, region),
        mots_line(first + 2, 1005, 1, np.roll(car, 3, 1)),
        mots_line(first + 2, 2001, 2, person),
    ]
    write_mots(tmp_path / "in" / "0002", "".join(lines), first)
    (video,) = converted(MOTSVideos(tmp_path / "in", ["car", "pedestrian"], None), tmp_path / "out")
    tracks = {track.id: track for track in video.tracks}
    assert len(video.file_names) == 3 and set(tracks) == {1005, 2001, 2002, 2003}
    assert [mask is not None for mask in tracks[1005].segmentations] == [True, False, True]
    assert np.array_equal(decode_mask(tracks[1005].segmentations[2]), np.roll(car, 3, 1))
    assert np.array_equal(decode_mask(tracks[2001].segmentations[2]), person) and tracks[2001].label == 2
    crowds = [track for track in video.tracks if track.crowd]
    assert [track.label for track in crowds] == [1, 2]  # of every class
    assert all(np.array_equal(decode_mask(track.segmentations[0]), region) for track in crowds)


def test_text_files_beside_a_folder_of_images(tmp_path):
    write_frames(tmp_path / "images", ["0002/000000.png", "0002/000001.png"])
    (tmp_path / "instances_txt").mkdir()
    (tmp_path / "instances_txt" / "0002.txt").write_text(mots_line(1, 2001, 2, box_mask(1, 1, 5, 5)))
    for images in (None, tmp_path / "images"):
        (video,) = MOTSVideos(tmp_path, ["car", "pedestrian"], images)
        assert list(video.frames) == ["0002/000000.png", "0002/000001.png"] and list(video.objects[0].masks) == [1]
    with pytest.raises(FileNotFoundError, match="there is no folder .*/0002 .* give images=FOLDER"):
        MOTSVideos(tmp_path, ["car"], tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (mots_line(7, 1, 1, box_mask(0, 0, 2, 2)), "line 2: there is no frame 7 in"),
        (mots_line(1, 1, 3, box_mask(0, 0, 2, 2)), "line 2: there is no name for class 3: give classes="),
        (mots_line(1, 1, 1, np.ones((5, 6), np.uint8)), r"line 2: its size is \[5, 6\], that of the video \[20, 40\]"),
        (mots_line(0, 1, 1, box_mask(0, 0, 2, 2)), "line 2: frame 0 has the object 1 twice"),
        ("1 1 1 20 40\n", "line 2: it has 5 fields, not the six of: frame id class_id height width rle"),
        ("1 1 1 20 40 xyz\n", "line 2: "),
        ("a 1 1 20 40 0\n", "line 2: invalid literal"),
    ],
)
def test_what_is_wrong_with_a_line_of_mots_is_told(tmp_path, line, expected):
    write_mots(tmp_path / "v", mots_line(0, 1, 1, box_mask(0, 0, 2, 2)) + line, 0)
    with pytest.raises(AnnotationError, match=expected):
        list(MOTSVideos(tmp_path, ["car"], None))


def test_text_that_is_no_text_is_named(tmp_path):
    write_mots(tmp_path / "v", mots_line(0, 1, 1, box_mask(0, 0, 2, 2)), 0)
    text = next(tmp_path.rglob("gt.txt"))
    text.write_bytes(b"\xff")
    with pytest.raises(AnnotationError, match=f"{text} is not text in UTF-8"):
        list(MOTSVideos(tmp_path, ["car"], None))


def test_a_split_appears_whole_or_not_at_all(tmp_path):
    source = DAVISVideos(write_davis(tmp_path / "in"), "thing")
    videos = list(source)
    (tmp_path / "in" / "JPEGImages" / "b" / "00000.jpg").unlink()
    with pytest.raises(FileNotFoundError):
        write_split(videos, source.categories, tmp_path / "out", "train")
    assert list((tmp_path / "out").iterdir()) == []


def test_real_footage_as_pngs_and_back_is_the_same(shared_data, tmp_path):
    before = VISAnnotations.load(shared_data / "davis_mini", "train")
    video = before[0]
    for frame, name in enumerate(video.file_names[:4]):
        values = np.zeros((video.height, video.width), np.uint8)
        for number, track in enumerate(video.tracks, start=1):
            if mask := track.segmentations[frame]:
                values[decode_mask(mask) > 0] = number
        write_png(tmp_path / "in" / "Annotations" / name.replace(".jpg", ".png"), values)
    (tmp_path / "in" / "JPEGImages").symlink_to(before.image_root)
    (after,) = converted(DAVISVideos(tmp_path / "in", "object"), tmp_path / "out")
    assert after.file_names == video.file_names[:4]
    for old, new in zip(video.tracks, after.tracks, strict=True):
        assert [m and m["counts"] for m in new.segmentations] == [
            old.segmentations[i] and old.segmentations[i]["counts"] for i in range(4)
        ]
