"""YouTube-VIS videos: clips to train on, whole videos to evaluate on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from compfeat.data.annotations import AnnotationError, Video, VISAnnotations, decode_mask
from compfeat.data.sampler import ClipSampler
from compfeat.data.transforms import ClipTransform, frame_target
from compfeat.structures import Clip


def read_image(path: Path) -> np.ndarray:
    """An image as uint8 RGB ``[H, W, 3]``; AnnotationError when it is missing or broken."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise AnnotationError(f"cannot read the frame {path}: it is missing or broken")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class YTVISClips(Dataset[Clip]):
    """One clip per video that has an object, drawn anew each epoch.

    An item's index is ``(epoch, index)``: the clip depends on these and ``seed`` alone, so that neither the number of
    workers nor a resumed run changes what is drawn. Crowd regions are left out.

    Args:
        annotations: the training split.
        videos: the videos of it to use.
        sampler: chooses the frames.
        transform: makes the geometry.
        seed: of all randomness.
    """

    def __init__(
        self,
        annotations: VISAnnotations,
        videos: Sequence[Video],
        sampler: ClipSampler,
        transform: ClipTransform,
        seed: int,
    ) -> None:
        self.image_root = annotations.image_root
        self.sampler = sampler
        self.transform = transform
        self.seed = seed
        annotated = [(video, _annotated_frames(video)) for video in videos]
        self.videos = [(video, frames) for video, frames in annotated if frames]
        if not self.videos:
            raise AnnotationError(f"{annotations.path}: no video has an object to train on")

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, item: tuple[int, int]) -> Clip:
        epoch, index = item
        rng = np.random.default_rng([self.seed, epoch, index])
        video, annotated = self.videos[index]
        frames = self.sampler.sample(len(video.file_names), annotated, rng)
        tracks = [track for track in video.tracks if not track.crowd]

        order = [frames.current, frames.reference, *frames.support]
        decoded = {i: read_image(self.image_root / video.file_names[i]) for i in set(order)}
        masks = [
            np.stack([decode_mask(track.segmentations[i], video.height, video.width) for track in tracks])
            for i in (frames.current, frames.reference)
        ]
        images, masks = self.transform([decoded[i] for i in order], masks, rng)
        labels, ids = [track.label for track in tracks], [track.id for track in tracks]
        current, reference, *support = images
        return Clip(
            current=current,
            support=torch.stack(support) if support else current.new_empty(0, *current.shape),
            reference=reference,
            target=frame_target(masks[0], labels, ids),
            reference_target=frame_target(masks[1], labels, ids),
            name=f"{video.name}/{frames.current}",
        )


def _annotated_frames(video: Video) -> list[int]:
    tracks = [track for track in video.tracks if not track.crowd]
    return [i for i in range(len(video.file_names)) if any(track.segmentations[i] for track in tracks)]


class VideoFrames(Sequence[np.ndarray]):
    """The frames of a video, uint8 RGB ``[H, W, 3]``, decoded when they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        return read_image(self.paths[index])


@dataclass(frozen=True)
class VideoItem:
    """One video to find the objects of."""

    id: int
    name: str
    frames: VideoFrames


class YTVISVideos(Dataset[VideoItem]):
    """Whole videos, frames not decoded yet."""

    def __init__(self, annotations: VISAnnotations, videos: Sequence[Video]) -> None:
        self.image_root = annotations.image_root
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> VideoItem:
        video = self.videos[index]
        return VideoItem(video.id, video.name, VideoFrames([self.image_root / name for name in video.file_names]))
