"""Reads COCO json over the frames of videos, as labelling tools export it."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from pycocotools import mask as rle

from compfeat.data.annotations.layout import NotFound, find_images, missing_frames
from compfeat.data.convert.labelled import LabelledObject, LabelledVideo
from compfeat.data.errors import AnnotationError
from compfeat.files import find_files, read_json
from compfeat.masks import polygons_rle, whole_rle
from compfeat.structures import RLE, Category

IDENTITIES = ("track_id", "instance_id", "id")
POSITIONS = ("frame_id", "frame_index")  # of an image in its video: COCO-VID, TAO
UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file
ADVICE = (
    "give it in the labelling tool, as tracks or as an attribute of theirs, named here with identity=KEY; "
    "identity=category_id takes one object of each class"
)


class COCOVideos:
    """Images and annotations of COCO, where annotations of one object in several images tell that they are.

    **Identity** is ``track_id``, ``instance_id`` or ``id`` in the ``attributes`` of an annotation, or ``track_id`` or
    ``instance_id`` of the annotation itself: the first of these that any annotation has, and then all must have it. It
    counts within a video and a class. CVAT writes ``attributes.track_id`` for its tracks alone; for masks, which are no
    tracks, give their labels an attribute ``id``. Label Studio exports no identity: ``identity="category_id"`` takes
    one object of each class.

    **Video** is the ``video_id`` of an image, or the folder of its file; images without folder, as CVAT exports a task,
    are one video. So that several tasks make one data set, the source may be a folder of exports: each json in it then
    has its own videos, named after its place. Frames are in the order of ``frame_id`` or ``frame_index``, or of the
    numbers in their names. Images without annotation are frames that show nothing.

    **Masks** are polygons, clipped to the frame, or RLE, compressed or not. ``iscrowd`` counts where identity does not
    stand in ``attributes``: CVAT sets it for every mask that was painted.

    Args:
        source: a json file, or a folder of them.
        images: the folder that file names are relative to; None looks beside each json, also as CVAT lays them
            (``annotations/instances_NAME.json``, ``images/NAME``).
        identity: the key of identity in ``attributes`` or in the annotation, where it is none of the above.

    Raises:
        FileNotFoundError: there is no json, or there are no frames.
        ValueError: a file is not json.
        AnnotationError: a json is not in this form, or a frame is missing, there twice, or of another size than others
            of its video. While iterating: an annotation has no identity or no mask, its mask is of another size than
            its frame, or an object is twice in a frame.
    """

    def __init__(self, source: Path, images: Path | None = None, identity: str | None = None) -> None:
        paths = [source] if source.is_file() else find_files(source, "**/*.json")
        if not paths:
            raise FileNotFoundError(f"there is no json file {source}, nor one in a folder of that name")
        names = [_export_name(path, source) if len(paths) > 1 else path.stem for path in paths]
        if twice := next((name for name, count in Counter(names).items() if count > 1), None):
            same = " and ".join(str(path) for path, name in zip(paths, names, strict=True) if name == twice)
            raise AnnotationError(f"{same} would both be called {twice}: rename one of them")
        exports = [_Export(path, name, len(paths) > 1, images) for path, name in zip(paths, names, strict=True)]
        self._key = identity or _identity_key(exports)
        self.categories = _merge_categories(exports)
        self._videos = [(export, video, members) for export in exports for video, members in export.videos.items()]

    def __len__(self) -> int:
        return len(self._videos)

    def __iter__(self) -> Iterator[LabelledVideo]:
        ids = {category.name: category.id for category in self.categories}
        for export, video, images in self._videos:
            with _in_format(export.path):
                names = [_file_name(image) for image in images]
                files = {export.target(name): export.folder / name for name in names}
                objects = self._objects(export, images, ids)
            yield LabelledVideo(video, _size(images[0]), files, objects)

    def _objects(self, export: "_Export", images: Sequence[dict], ids: dict[str, int]) -> list[LabelledObject]:
        found: dict[tuple[Any, int, bool], dict[int, RLE]] = {}
        names = dict(export.categories)
        for frame, image in enumerate(images):
            for annotation in export.annotations.get(image["id"], []):
                where = f"{export.path}: annotation {annotation['id']} of {image['file_name']}"
                identity, crowd = self._identity(annotation, where)
                thing = (identity, ids[names[annotation["category_id"]]], crowd)
                if frame in found.setdefault(thing, {}):
                    raise AnnotationError(
                        f"{where} has the {self._key} {identity} of another one there of the same class"
                    )
                try:
                    mask = _mask(annotation.get("segmentation"), image["height"], image["width"])
                except ValueError as error:
                    raise AnnotationError(f"{where}: {error}") from error
                if rle.area(mask):  # what covers no pixel is not visible
                    found[thing][frame] = mask
        return [LabelledObject(identity, category, m, crowd) for (identity, category, crowd), m in found.items()]

    def _identity(self, annotation: dict, where: str) -> tuple[Any, bool]:
        """Identity, and whether the annotation is a crowd region."""
        identity = _look_up(annotation, self._key)
        if identity is None:
            raise AnnotationError(
                f"{where} has no {self._key}, by which others tell the same object in other frames: {ADVICE}"
            )
        return identity, bool(annotation.get("iscrowd")) and self._key not in _attributes(annotation)


class _Export:
    """One json: its categories, its annotations by image, and its images by video, in order."""

    def __init__(self, path: Path, name: str, one_of_many: bool, images: Path | None) -> None:
        self.path, self._prefix, self._one_of_many = path, name, one_of_many
        content = read_json(path)
        with _in_format(path):
            self.categories = [(category["id"], str(category["name"])) for category in content["categories"]]
            self.annotations: dict[Any, list[dict]] = {image["id"]: [] for image in content["images"]}
            if len(self.annotations) < len(content["images"]):
                raise AnnotationError(f"{path}: two images have the same id")
            classes = dict(self.categories)
            for annotation in content["annotations"]:
                if annotation["image_id"] not in self.annotations or annotation["category_id"] not in classes:
                    raise AnnotationError(
                        f"{path}: annotation {annotation['id']} names an image or category that is not listed"
                    )
                self.annotations[annotation["image_id"]].append(annotation)
            names = [_file_name(image) for image in content["images"]]
            self.videos = self._group(content["images"])
        if not names:
            raise AnnotationError(f"{path} has no images")
        if twice := next((name for name, count in Counter(names).items() if count > 1), None):
            raise AnnotationError(
                f"{path}: there are two images {twice}: export each video by itself (CVAT gives the frames of all "
                "tasks the same names), and give the folder of all exports as source"
            )
        self.folder = images or _find_folder(path, names)
        if missing := [name for name, lacks in zip(names, missing_frames(self.folder, names), strict=True) if lacks]:
            raise AnnotationError(
                f"{len(missing)} of {len(names)} frames of {path} are missing in {self.folder}, the first is "
                f"{missing[0]}: put them there, or give images=FOLDER"
            )

    def target(self, name: str) -> str:
        """What a file is called in the layout: always in a folder, and apart from those of other exports."""
        return f"{self._prefix}/{name}" if self._one_of_many or "/" not in name else name

    def _group(self, images: Sequence[dict]) -> dict[Any, list[dict]]:
        groups: dict[Any, list[dict]] = {}
        for image in images:
            folder = self.target(_file_name(image)).rpartition("/")[0]
            groups.setdefault(image.get("video_id", folder), []).append(image)
        for video, members in groups.items():
            members.sort(key=_frame_order(members))
            if other := next((image for image in members if _size(image) != _size(members[0])), None):
                sizes = " and ".join(f"{image['width']} x {image['height']}" for image in (members[0], other))
                raise AnnotationError(f"{self.path}: the frames of video {video} differ in size: {sizes}")
        return groups


@contextmanager
def _in_format(path: Path) -> Iterator[None]:
    """Tells what a json lacks."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise AnnotationError(f"{path} is not in the COCO format: {what}") from error


def _export_name(path: Path, source: Path) -> str:
    """The place of a json in its folder, without the words that all exports have in common."""
    place = path.relative_to(source).with_suffix("")
    parts = [part.removeprefix("instances_") for part in place.parts if part != "annotations"]
    return "-".join([part for part in parts if part not in ("default", "result")] or parts)


def _file_name(image: dict) -> str:
    name = PurePosixPath(image["file_name"].replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts:
        raise AnnotationError(f"the file name {image['file_name']} leaves the folder of the images: make it relative")
    return name.as_posix()


def _size(image: dict) -> tuple[int, int]:
    return image["height"], image["width"]


def _frame_order(images: Sequence[dict]) -> Callable[[dict], Any]:
    """By what images are sorted: their position in the video, or else the numbers in their names."""
    if position := next((key for key in POSITIONS if all(key in image for image in images)), None):
        return lambda image: image[position]
    names = {image["id"]: PurePosixPath(_file_name(image)) for image in images}
    if all(UPLOADED.match(name.name) for name in names.values()):
        names = {key: name.with_name(UPLOADED.sub("", name.name)) for key, name in names.items()}
    # words and numbers take turns, so that like is compared with like
    words = {key: re.split(r"(\d+)", name.as_posix()) for key, name in names.items()}
    return lambda image: [int(word) if i % 2 else word for i, word in enumerate(words[image["id"]])]


def _find_folder(path: Path, names: Sequence[str]) -> Path:
    for root in (path.parent, path.parent.parent):
        with suppress(NotFound):
            return find_images(root, path.stem.removeprefix("instances_"), names)
    raise FileNotFoundError(
        f"no frames beside {path}, for instance {names[0]}: give images=FOLDER, to which its file names are relative"
    )


def _look_up(annotation: dict, key: str) -> Any:
    """The value of a key in the attributes of an annotation or in itself; None where it is empty."""
    value = _attributes(annotation).get(key, annotation.get(key) if key != "id" else None)
    return None if value == "" else value


def _attributes(annotation: dict) -> dict:
    attributes = annotation.get("attributes")
    return attributes if isinstance(attributes, dict) else {}  # others have lists there


def _identity_key(exports: Sequence[_Export]) -> str:
    """The first of the known keys that any annotation has."""
    annotations = [a for export in exports for of_image in export.annotations.values() for a in of_image]
    key = next((key for key in IDENTITIES if any(_look_up(a, key) is not None for a in annotations)), None)
    if key is None and annotations:
        raise AnnotationError(
            f"no annotation of {exports[0].path} tells which object of other frames it shows, by "
            f"{' or '.join(IDENTITIES)}: {ADVICE}"
        )
    return key or IDENTITIES[0]


def _merge_categories(exports: Sequence[_Export]) -> list[Category]:
    """All classes by name; their ids are kept where the files agree on them, else they are numbered from 1."""
    pairs = dict.fromkeys(pair for export in exports for pair in export.categories)
    names = list(dict.fromkeys(name for _, name in pairs))
    if len(names) == len(pairs) == len({identity for identity, _ in pairs}):
        return [Category(identity, name) for identity, name in pairs]
    return [Category(number, name) for number, name in enumerate(names, start=1)]


def _mask(segmentation: Any, height: int, width: int) -> RLE:
    if not segmentation:
        raise ValueError("it has no mask, only a box at best: outline the object as a polygon or mask")
    if not isinstance(segmentation, list):
        return whole_rle(segmentation, height, width)
    return polygons_rle(segmentation, height, width)
