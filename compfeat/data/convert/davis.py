"""Reads folders in the form of DAVIS: a PNG a frame whose pixels are identities."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from compfeat.data.convert.labelled import LabelledObject, LabelledVideo
from compfeat.data.errors import AnnotationError
from compfeat.files import IMAGE_SUFFIXES, find_files, read_json
from compfeat.images import read_image
from compfeat.structures import RLE, Category

SUFFIXES = (*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES))
VOID = 255  # a region in which nothing counts


class DAVISVideos:
    """``JPEGImages/<video>/<frame>.jpg`` and ``Annotations/<video>/<frame>.png``, also below a folder like ``480p``.

    A PNG is indexed or grey, of 8 or 16 bits; 0 is background, a value the same object in all frames of its video.
    255 is a region in which nothing counts, but the object itself in a video that has no other value (DAVIS 2016). A
    frame without PNG is left out: nobody has said what it shows.

    Args:
        root: the folder of both.
        classes: the name of one class that all objects are of, or a json file ``{video: {identity: class}}``.

    Raises:
        FileNotFoundError: there are no PNGs, or no classes file.
        ValueError: the classes file is not json.
        AnnotationError: the classes are not in that form. While iterating: a PNG has no frame, is of another size than
            its frame or of another kind, or its object has no class.
    """

    def __init__(self, root: Path, classes: str) -> None:
        self._frames, self._masks = root / "JPEGImages", root / "Annotations"
        self._videos: dict[Path, list[Path]] = {}
        for path in find_files(self._masks, "**/*.[pP][nN][gG]"):
            self._videos.setdefault(path.parent, []).append(path)
        if not self._videos:
            raise FileNotFoundError(f"there is no Annotations/<video>/<frame>.png in {root}: give the folder of DAVIS")
        self._classes = _read_classes(Path(classes)) if classes.endswith(".json") else None
        of_videos = (self._classes or {"": {"": classes}}).values()
        names = sorted({name for of_video in of_videos for name in of_video.values()})
        self.categories = [Category(number, name) for number, name in enumerate(names, start=1)]

    def __len__(self) -> int:
        return len(self._videos)

    def __iter__(self) -> Iterator[LabelledVideo]:
        for folder, paths in self._videos.items():
            yield self._video(folder.relative_to(self._masks).as_posix(), paths)

    def _video(self, name: str, paths: list[Path]) -> LabelledVideo:
        frames = [self._frame(name, path) for path in paths]
        height, width, _ = read_image(frames[0]).shape
        masks: dict[int, dict[int, RLE]] = {}
        for index, path in enumerate(paths):
            values = _read_identities(path)
            if values.shape != (height, width):
                found = f"{values.shape[1]} x {values.shape[0]}"
                raise AnnotationError(f"{path} has {found} pixels, the frames of its video {width} x {height}")
            for value in np.unique(values[values > 0]).tolist():
                masks.setdefault(value, {})[index] = rle.encode(np.asfortranarray(values == value, np.uint8))
        void = masks.pop(VOID) if VOID in masks and len(masks) > 1 else None
        objects = [LabelledObject(value, self._category(name, value), masks[value]) for value in sorted(masks)]
        if void:
            objects.append(LabelledObject(None, None, void))
        return LabelledVideo(name, (height, width), {f"{name}/{path.name}": path for path in frames}, objects)

    def _frame(self, video: str, annotation: Path) -> Path:
        candidates = [self._frames / video / f"{annotation.stem}{suffix}" for suffix in SUFFIXES]
        for path in candidates:
            if path.is_file():
                return path
        raise AnnotationError(f"{annotation} has no frame: there is no {candidates[0]}")

    def _category(self, video: str, identity: int) -> int:
        if self._classes is None:
            return self.categories[0].id
        name = self._classes.get(video, {}).get(str(identity))
        if name is None:
            raise AnnotationError(f"the classes file has no class for the object {identity} of the video {video}")
        return next(category.id for category in self.categories if category.name == name)


def _read_classes(path: Path) -> Mapping[str, Mapping[str, str]]:
    classes = read_json(path)
    of_videos = classes.values() if isinstance(classes, dict) else [None]
    if not all(isinstance(c, dict) and all(isinstance(name, str) for name in c.values()) for c in of_videos):
        raise AnnotationError(f'{path} is not of the form {{"video": {{"1": "class"}}}}')
    return classes


def _read_identities(path: Path) -> np.ndarray:
    """``[H, W]``, int: palette entries as they are, which OpenCV would turn into colours."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (OSError, SyntaxError) as error:  # which Pillow raises of a broken PNG
        raise AnnotationError(f"{path} cannot be read: it is broken or cut short") from error
    if values.ndim != 2:
        raise AnnotationError(f"{path} is a colour image: identities are the values of an indexed or a grey one")
    return values.astype(np.int64)
