"""YouTube-VIS videos: clips to train on, whole videos to evaluate on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch.utils.data import Dataset

from compfeat.data.annotations.reader import Track, VISAnnotations
from compfeat.data.clips.frames import read_scaled
from compfeat.data.clips.sampler import ClipFrames, ClipSampler
from compfeat.data.clips.transforms import ClipFlip, fit, frame_target, to_tensor
from compfeat.data.errors import AnnotationError
from compfeat.masks import decode_mask
from compfeat.structures import Clip


class YTVISClips(Dataset[Clip]):
    """One clip per video, or per frame, that has an object, drawn anew each epoch.

    With one per frame an epoch is what it is for MaskTrack R-CNN, and so for the paper: every annotated frame is the
    current one once. An item's index is ``(epoch, index)``: the clip depends on these and ``seed`` alone, so that
    neither the number of workers nor a resumed run changes what is drawn. Crowd regions and frames that are not on disk
    are left out.

    Args:
        annotations: the training split.
        positions: of the videos of it to use.
        sampler: chooses the frames.
        size: (width, height) into which frames are fitted.
        flip: flips clips.
        seed: of all randomness.
        one_per: what an epoch has one clip of.

    Raises:
        AnnotationError: no video has an object.
    """

    def __init__(
        self,
        annotations: VISAnnotations,
        positions: Sequence[int],
        sampler: ClipSampler,
        size: tuple[int, int],
        flip: ClipFlip,
        seed: int,
        one_per: Literal["video", "frame"] = "video",
    ) -> None:
        self.annotations = annotations
        self.sampler = sampler
        self.size = size
        self.flip = flip
        self.seed = seed
        counts = {p: int(annotations.frames_to_train_on(p)[1].sum()) for p in positions}
        self.positions = [p for p, count in counts.items() if count]
        if not self.positions:
            raise AnnotationError(f"{annotations.path}: no video has an object to train on")
        # The number of the first clip of each video, and of all clips.
        self._starts = np.cumsum([0, *(counts[p] if one_per == "frame" else 1 for p in self.positions)])
        self._chosen = one_per == "frame"

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, item: tuple[int, int]) -> Clip:
        epoch, index = item
        rng = np.random.default_rng([self.seed, epoch, index])
        video = int(np.searchsorted(self._starts, index, side="right")) - 1
        present, has_objects = self.annotations.frames_to_train_on(self.positions[video])
        annotated = np.flatnonzero(has_objects).tolist()
        chosen = annotated[index - int(self._starts[video])] if self._chosen else None
        drawn = self.sampler.sample(len(present), annotated, rng, chosen)
        current, reference, *support = present[[drawn.current, drawn.reference, *drawn.support]].tolist()
        return self.clip(video, ClipFrames(current, tuple(support), reference), rng)

    def clip(self, index: int, frames: ClipFrames, rng: np.random.Generator) -> Clip:
        """The clip of the given frames of one video, ``index`` among ``positions``; ``rng`` decides on the flip."""
        video = self.annotations[self.positions[index]]
        current, support, reference = frames
        stated = (video.height, video.width)
        size = fit(*stated, self.size)
        tracks = [track for track in video.tracks if not track.crowd]
        paths = {i: self.annotations.image_root / video.file_names[i] for i in (current, reference, *support)}
        decoded = {i: read_scaled(path, stated, size) for i, path in paths.items()}  # each once, even if drawn twice
        images, masks = self.flip(
            [decoded[i] for i in (current, reference, *support)],
            [_masks(tracks, i, size) for i in (current, reference)],
            rng,
        )
        labels, ids = [track.label for track in tracks], [track.id for track in tracks]
        stacked = to_tensor(images)
        return Clip(
            current=stacked[0],
            support=stacked[2:],
            reference=stacked[1],
            target=frame_target(masks[0], labels, ids),
            reference_target=frame_target(masks[1], labels, ids),
            video=video.name,
            name=f"{video.name}/{current}",
        )


def _masks(tracks: Sequence[Track], frame: int, size: tuple[int, int]) -> np.ndarray:
    masks = np.zeros((len(tracks), *size), np.uint8)
    for mask, track in zip(masks, tracks, strict=True):
        if segmentation := track.segmentations[frame]:
            mask[:] = decode_mask(segmentation, size)
    return masks


class VideoFrames(Sequence[np.ndarray]):
    """The frames of a video, uint8 RGB ``[H, W, 3]``, decoded when they are asked for.

    Args:
        paths: of the frames.
        size: (height, width) of the annotations, to which frames that are kept at another scale are brought.
    """

    def __init__(self, paths: Sequence[Path], size: tuple[int, int]) -> None:
        self.paths = paths
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        return read_scaled(self.paths[index], self.size, self.size)


@dataclass(frozen=True)
class VideoItem:
    """One video to find the objects of."""

    id: int
    frames: VideoFrames


class YTVISVideos(Dataset[VideoItem]):
    """Whole videos, frames not decoded yet."""

    def __init__(self, annotations: VISAnnotations, positions: Sequence[int]) -> None:
        self.annotations = annotations
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> VideoItem:
        video = self.annotations[self.positions[index]]
        paths = [self.annotations.image_root / name for name in video.file_names]
        return VideoItem(video.id, VideoFrames(paths, (video.height, video.width)))
