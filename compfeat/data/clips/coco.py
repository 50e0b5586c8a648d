"""Clips out of still images of COCO (paper, "Baseline Model and Data Augmentation")."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from compfeat.categories import labels_of_stills
from compfeat.data.annotations.reader import VISAnnotations
from compfeat.data.clips.frames import read_scaled
from compfeat.data.clips.transforms import AffineMotion, ClipFlip, fit, frame_target, to_tensor
from compfeat.data.errors import AnnotationError
from compfeat.masks import decode_mask
from compfeat.quantities import Share
from compfeat.structures import Category, Clip, FrameTarget


class COCOPseudoClips(Dataset[Clip]):
    """Each image that shows a class of the video data set, as a clip whose frames are moved independently.

    An object is the same in all frames: its identity is the id of its annotation. Boxes are recomputed from the moved
    masks; an object of which too little stays visible is left out of that frame. Crowd regions and images that are not
    on disk are left out. An item's index is ``(epoch, index)``, on which the clip depends, and ``seed``, alone.

    Args:
        root: folder of COCO: ``annotations/instances_{split}.json``, ``{split}/``; or of images of the classes of the
            videos, in any layout of theirs.
        split: for instance ``train2017``.
        categories: the classes of the video data set.
        support_frames: T.
        size: (width, height) into which images are fitted.
        flip: flips clips.
        seed: of all randomness.
        motion: moves the frames.
        min_visible: share of an object's pixels that must stay in a frame.
        strict: leave out the loose pairs of classes, bicycle for motorbike and skis for snowboard.
        cache: folder under which the index is kept; see ``VISAnnotations.load``.

    Raises:
        FileNotFoundError: the json or the images are not there.
        AnnotationError: no image shows one of the classes.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        categories: Sequence[Category],
        support_frames: int,
        size: tuple[int, int],
        flip: ClipFlip,
        seed: int,
        motion: AffineMotion,
        min_visible: Share = 0.25,
        strict: bool = False,
        cache: Path | None = None,
    ) -> None:
        self.annotations = VISAnnotations.load(root, split, cache)
        self.support_frames = support_frames
        self.size = size
        self.flip = flip
        self.seed = seed
        self.motion = motion
        self.min_visible = min_visible
        own = labels_of_stills(self.annotations.categories, categories, strict)
        self.labels = np.array([0, *own])  # label of the stills -> label of the video data set, 0 where it has none
        self.positions = self._usable()
        if not len(self.positions):
            raise AnnotationError(f"{self.annotations.path}: no image shows a class of the video data set")

    def _usable(self) -> np.ndarray:
        index = self.annotations.arrays
        kept = (self.labels[index.track_labels] > 0) & ~index.track_crowds
        images = np.repeat(np.arange(len(self.annotations)), np.diff(index.track_starts))
        return np.array([i for i in np.unique(images[kept]) if self.annotations.is_complete(i)], np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: tuple[int, int]) -> Clip:
        epoch, index = item
        rng = np.random.default_rng([self.seed, epoch, index])
        image = self.annotations[int(self.positions[index])]
        stated = (image.height, image.width)
        size = fit(*stated, self.size)
        tracks = [track for track in image.tracks if self.labels[track.label] and not track.crowd]
        labels, ids = [int(self.labels[track.label]) for track in tracks], [track.id for track in tracks]
        path = self.annotations.image_root / image.file_names[0]
        (still,), (masks,) = self.flip(
            [read_scaled(path, stated, size)],
            [np.stack([decode_mask(track.segmentations[0], size) for track in tracks])],
            rng,
        )

        def moved(masks: np.ndarray) -> tuple[np.ndarray, FrameTarget]:
            frame, seen = self.motion(still, masks, rng)
            area, whole = seen.sum((1, 2)), masks.sum((1, 2))
            seen[area < self.min_visible * whole] = 0  # frame_target leaves out what has no pixel
            return frame, frame_target(seen, labels, ids)

        current, target = moved(masks)
        reference, reference_target = moved(masks)
        support = [moved(masks[:0])[0] for _ in range(self.support_frames)]
        frames = to_tensor([current, reference, *support])
        return Clip(
            current=frames[0],
            support=frames[2:],
            reference=frames[1],
            target=target,
            reference_target=reference_target,
            video=image.file_names[0],
            name=image.file_names[0],
        )
