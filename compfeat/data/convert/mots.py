"""Reads the text files of MOTS: a line for each object and frame."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from compfeat.data.annotations.entries import read_text
from compfeat.data.convert.labelled import LabelledObject, LabelledVideo
from compfeat.data.errors import AnnotationError
from compfeat.files import find_files, image_files
from compfeat.images import read_image
from compfeat.masks import whole_rle
from compfeat.structures import RLE, Category

IGNORED = 10  # class of regions in which nothing counts
IMAGES = ("images", "image_02", "training/image_02", "../image_02", "../training/image_02")  # of KITTI MOTS


class MOTSVideos:
    """Lines ``frame id class_id height width rle`` of COCO's compressed RLE, a file for each video.

    Found are ``<video>/gt/gt.txt`` with frames in ``<video>/img1`` (MOTSChallenge), or ``instances_txt/<video>.txt`` or
    ``<video>.txt`` with frames in ``images/<video>`` or ``image_02/<video>`` (KITTI MOTS). A line belongs to the frame
    that has its number in its file name, whether they begin at 0 or 1; all frames count, also those that no line
    names. Regions of class 10 are those in which nothing counts.

    Args:
        root: the folder of it all.
        classes: the names of the classes 1, 2, ...
        images: the folder of the folders of frames, where it is another one.

    Raises:
        FileNotFoundError: there are no text files, or no frames. While iterating:
        AnnotationError: a line is not in that form, names a frame or class that is not there, has a mask of another
            size than its frame, or an object twice in a frame.
    """

    def __init__(self, root: Path, classes: Sequence[str], images: Path | None) -> None:
        challenge = find_files(root, "*/gt/gt.txt")
        texts = challenge or find_files(root, "instances_txt/*.txt") or find_files(root, "*.txt")
        if not texts:
            raise FileNotFoundError(
                f"there is no <video>/gt/gt.txt, instances_txt/<video>.txt or <video>.txt in {root}"
            )
        names = [path.parents[1].name if challenge else path.stem for path in texts]
        if challenge and images is None:
            folders = [path.parents[1] / "img1" for path in challenge]
        else:
            above = images or next((root / i for i in IMAGES if (root / i / names[0]).is_dir()), root / IMAGES[0])
            folders = [above / name for name in names]
        self._videos = [_Video(*parts) for parts in zip(names, texts, folders, strict=True)]
        self.categories = [Category(number, name) for number, name in enumerate(classes, start=1)]
        if lost := next((video for video in self._videos if not video.images.is_dir()), None):
            raise FileNotFoundError(
                f"there is no folder {lost.images} of the frames of {lost.text}: give images=FOLDER"
            )

    def __len__(self) -> int:
        return len(self._videos)

    def __iter__(self) -> Iterator[LabelledVideo]:
        return map(self._read, self._videos)

    def _read(self, video: "_Video") -> LabelledVideo:
        frames = _numbered(video.images)
        if not frames:
            raise AnnotationError(f"there are no numbered frames in {video.images}")
        positions = {number: position for position, number in enumerate(frames)}
        height, width, _ = read_image(next(iter(frames.values()))).shape
        masks: dict[tuple[int, int], dict[int, RLE]] = {}
        for number, line in enumerate(read_text(video.text).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                frame, identity, category, mask = _parse(line, height, width)
                if frame not in positions:
                    raise ValueError(f"there is no frame {frame} in {video.images}")
                if category != IGNORED and not 1 <= category <= len(self.categories):
                    raise ValueError(f"there is no name for class {category}: give classes=[NAME,...], class 1 first")
                of_object = masks.setdefault((identity, category), {})
                if of_object.setdefault(positions[frame], mask) is not mask:
                    raise ValueError(f"frame {frame} has the object {identity} twice")
            except ValueError as error:
                raise AnnotationError(f"{video.text}, line {number}: {error}") from error
        objects = [
            LabelledObject(None, None, m) if category == IGNORED else LabelledObject(identity, category, m)
            for (identity, category), m in masks.items()
        ]
        files = {f"{video.name}/{path.name}": path for path in frames.values()}
        return LabelledVideo(video.name, (height, width), files, objects)


class _Video(NamedTuple):
    name: str
    text: Path
    images: Path


def _numbered(folder: Path) -> dict[int, Path]:
    """The images of a folder by the number at the end of their name, ascending."""
    found = {int(match[0]): path for path in image_files(folder) if (match := re.search(r"\d+$", path.stem))}
    return dict(sorted(found.items()))


def _parse(line: str, height: int, width: int) -> tuple[int, int, int, RLE]:
    """Frame, identity, class and mask."""
    fields = line.split()
    if len(fields) != 6:
        raise ValueError(f"it has {len(fields)} fields, not the six of: frame id class_id height width rle")
    frame, identity, category, *size = map(int, fields[:5])
    return frame, identity, category, whole_rle({"size": size, "counts": fields[5]}, height, width)
