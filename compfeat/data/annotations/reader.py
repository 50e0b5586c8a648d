"""Annotations of a split: which videos there are, and which object is where in each of their frames."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from compfeat.data.annotations.index import AnnotationIndex
from compfeat.data.annotations.layout import LOOKED_AT, find_annotations, find_images, missing_frames
from compfeat.data.annotations.segment_bytes import NOTHING
from compfeat.data.errors import AnnotationError
from compfeat.structures import RLE, Category


class Segmentations(Sequence[RLE | None]):
    """The masks of one track: an entry a frame, read when it is asked for; None where the object is not seen."""

    def __init__(self, index: AnnotationIndex, start: int, length: int, size: tuple[int, int]) -> None:
        self._index = index
        self._segments = range(start, start + length)
        self._size = size

    def __len__(self) -> int:
        return len(self._segments)

    def __getitem__(self, frame):
        return self._index.segmentation(self._segments[frame], *self._size)


@dataclass(frozen=True)
class Track:
    """One object through a video; ``segmentations`` has one entry a frame."""

    id: int
    label: int
    crowd: bool
    segmentations: Sequence[RLE | None]


@dataclass(frozen=True)
class Video:
    """One video: its frames relative to the image folder, and its objects."""

    id: int
    height: int
    width: int
    file_names: list[str]
    tracks: list[Track]

    @property
    def name(self) -> str:
        """The folder of its frames."""
        return str(Path(self.file_names[0]).parent) if self.file_names else str(self.id)


class VISAnnotations(Sequence[Video]):
    """The videos of one split, in the order of the file; each is made when it is asked for.

    Attributes:
        path: the json file.
        arrays: what the json holds, mapped into memory.
        categories: the classes, by ascending id; a label is the 1-based position in this list.
    """

    def __init__(self, root: Path, split: str, path: Path, index: AnnotationIndex) -> None:
        self.path = path
        self.arrays = index
        self.categories = [Category(identity, name) for identity, name in index.categories]
        self._root = root
        self._split = split

    @classmethod
    def load(cls, root: str | Path, split: str, cache: Path | None = None) -> "VISAnnotations":
        """Finds the annotations of a split under ``root``, whichever known layout they are in.

        Args:
            root: folder of the data set, or the json file itself.
            split: its name, as in the names of files and folders.
            cache: folder under which the index is kept; by default ``$COMPFEAT_CACHE`` or ``~/.cache/compfeat``.

        Raises:
            FileNotFoundError: the json is not there.
            AnnotationError: the json is neither in the YouTube-VIS nor in the COCO format.
        """
        path = find_annotations(Path(root), split)
        return cls(Path(root), split, path, AnnotationIndex.open(path, cache))

    @cached_property
    def image_root(self) -> Path:
        """The folder that the file names are relative to, looked for when it is needed first.

        Raises:
            FileNotFoundError: the frames are not there.
        """
        videos = range(0, len(self), max(1, len(self) // LOOKED_AT))
        looked = [name for video in videos for name in self.arrays.frame_names(video)[:1]]
        return find_images(self._root, self._split, looked)

    @property
    def has_annotations(self) -> bool:
        """False where the split comes without ground truth."""
        return len(self.arrays.track_ids) > 0

    def __len__(self) -> int:
        return len(self.arrays.video_ids)

    def __getitem__(self, position):
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        position = range(len(self))[position]
        height, width = self.arrays.video_sizes[position].tolist()
        names = self.arrays.frame_names(position)
        tracks = [self._track(k, len(names), (height, width)) for k in self._tracks(position)]
        return Video(int(self.arrays.video_ids[position]), height, width, names, tracks)

    def frames_to_train_on(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Of a video: the int64 indices of the frames on disk, and bool, which of those show an object.

        Crowd regions are no objects.
        """
        start, end = self.arrays.frame_starts[position : position + 2].tolist()
        seen = np.zeros(end - start, bool)
        for track in self._tracks(position):
            if not self.arrays.track_crowds[track]:
                first = int(self.arrays.track_segments[track])
                seen |= self.arrays.segment_kinds[first : first + len(seen)] != NOTHING
        present = np.flatnonzero(~self.missing[start:end])
        return present, seen[present]

    def is_complete(self, position: int) -> bool:
        """Whether every frame of a video is on disk."""
        start, end = self.arrays.frame_starts[position : position + 2].tolist()
        return not self.missing[start:end].any()

    @cached_property
    def missing(self) -> np.ndarray:
        """Which frames are not on disk: bool, all frames of all videos in order."""
        names = (name for position in range(len(self)) for name in self.arrays.frame_names(position))
        return missing_frames(self.image_root, names)

    def ground_truth(self, positions: Sequence[int]) -> dict:
        """The annotations of some videos in the YouTube-VIS layout, as ``compfeat.evaluation`` takes them."""
        ids = [category.id for category in self.categories]
        videos, entries = [], []
        for video in (self[position] for position in positions):
            videos.append(
                {"id": video.id, "height": video.height, "width": video.width, "file_names": video.file_names}
            )
            entries += [
                {
                    "id": track.id,
                    "video_id": video.id,
                    "category_id": ids[track.label - 1],
                    "iscrowd": int(track.crowd),
                    "segmentations": list(track.segmentations),
                }
                for track in video.tracks
            ]
        return {"videos": videos, "annotations": entries, "categories": [asdict(c) for c in self.categories]}

    def positions(self, ids: Sequence[int]) -> list[int]:
        """The positions of videos by id, each once, in the order of the file; AnnotationError when one is not there."""
        known = {identity: position for position, identity in enumerate(self.arrays.video_ids.tolist())}
        if unknown := sorted(set(ids) - set(known)):
            raise AnnotationError(f"{self.path} has no video {unknown[0]} ({len(unknown)} of {len(ids)} are not in it)")
        return sorted({known[identity] for identity in ids})

    def _tracks(self, position: int) -> Iterator[int]:
        return iter(range(*self.arrays.track_starts[position : position + 2].tolist()))

    def _track(self, k: int, length: int, size: tuple[int, int]) -> Track:
        index = self.arrays
        segmentations = Segmentations(index, int(index.track_segments[k]), length, size)
        return Track(int(index.track_ids[k]), int(index.track_labels[k]), bool(index.track_crowds[k]), segmentations)
