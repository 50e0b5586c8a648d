"""Clips of a probe: those it trains on, and held-out ones whose frames are chosen for what they show and hide."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor

from compfeat.data.clips.sampler import ClipFrames, ClipSampler, uniform_frames
from compfeat.data.clips.transforms import ClipFlip
from compfeat.data.clips.ytvis import YTVISClips
from compfeat.data.datamodule import VISDataModule
from compfeat.models.attention import Features
from compfeat.models.detector import CompFeat, Frames, support_maps
from compfeat.structures import RLE, Clip, ClipBatch

SUPPORT_FRAMES = 4  # of held-out clips, as in inference
AT_ONCE = 8  # held-out clips
JITTER = 0.05  # of the sides of a true box, so that boxes are as loose as those of a detector


@dataclass(frozen=True)
class HeldOut:
    """Clips of validation videos, with what the generator of the data set knows of their frames.

    ``clear [B]``: how many of the four support frames of a clip are not degraded.
    ``support_boxes``: for each clip ``[T, N, 4]``, where the N objects of its current frame are in the clear support
    frames; an empty box (zeros) where one is hidden or the frame is degraded.
    """

    batch: ClipBatch
    clear: Tensor
    support_boxes: list[Tensor]


@dataclass(frozen=True)
class Maps:
    """What the backbone makes of B clips: current and reference frames, support maps ``[B, T, C, H, W]`` by level."""

    current: Frames
    reference: Frames
    support: Features

    @classmethod
    @torch.no_grad()
    def of(cls, detector: CompFeat, batch: ClipBatch) -> "Maps":
        images = [batch.current, batch.reference, *batch.support.unbind(1)]
        current, reference, *support = detector.extract_each(images, batch.image_sizes)
        return cls(current, reference, support_maps(support))


def training_batches(data: VISDataModule, steps: int, batch_size: int, seed: int) -> Iterator[ClipBatch]:
    """As many batches of training clips, every video in turn."""
    clips = data.train_clips()
    count = len(clips)  # type: ignore[arg-type]
    for step in range(steps):
        drawn = [divmod(step * batch_size + i, count) for i in range(batch_size)]
        yield ClipBatch.collate([clips[(1000 * seed + epoch, index)] for epoch, index in drawn])


def held_out_clips(data: VISDataModule, videos: int, degraded: bool) -> list[HeldOut]:
    """Two clips of each of the first validation videos, in batches; without support frames among the current ones.

    Args:
        data: holds videos that the generator of the built-in data set drew.
        videos: how many.
        degraded: take only degraded frames for current ones.
    """
    annotations = data.val_annotations
    known = {video["id"]: video["degraded"] for video in json.loads(annotations.path.read_text())["videos"]}
    positions = data.val_videos[:videos]
    clips = YTVISClips(annotations, positions, ClipSampler(SUPPORT_FRAMES), data.size, ClipFlip(0.0), seed=0)
    drawn: list[tuple[Clip, int, Tensor]] = []
    for index, position in enumerate(clips.positions):
        rng = np.random.default_rng([0, position])
        video = annotations[position]
        support = uniform_frames(len(video.file_names), SUPPORT_FRAMES)
        annotated = np.flatnonzero(annotations.frames_to_train_on(position)[1]).tolist()
        hidden = known[video.id]
        wanted = [f for f in annotated if f not in support and (hidden[f] or not degraded)]
        for current in rng.permutation(wanted)[:2].tolist():
            others = [f for f in annotated if f != current]
            if not others:
                continue
            clip = clips.clip(index, ClipFrames(current, tuple(support), int(rng.choice(others))), rng)
            tracks = {track.id: track for track in video.tracks}
            boxes = [
                [
                    [0.0] * 4 if hidden[f] or (mask := tracks[i].segmentations[f]) is None else _box(mask)
                    for i in clip.target["track_ids"].tolist()
                ]
                for f in support
            ]
            height, width = clip.current.shape[-2:]
            scale = torch.tensor([width / video.width, height / video.height]).repeat(2)
            located = torch.tensor(boxes).view(SUPPORT_FRAMES, -1, 4) * scale
            drawn.append((clip, sum(not hidden[f] for f in support), located))
    groups = [drawn[i : i + AT_ONCE] for i in range(0, len(drawn), AT_ONCE)]
    return [
        HeldOut(ClipBatch.collate([c for c, _, _ in g]), torch.tensor([n for _, n, _ in g]), [b for _, _, b in g])
        for g in groups
    ]


def jittered(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """Boxes ``[N, 4]`` whose sides are moved a little."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + JITTER * sides * torch.randn(boxes.shape, generator=generator)


def by_clear(measured: Iterable[tuple[int, list[float]]]) -> dict[str, float]:
    """The means of what was measured on clips, each with the number of its clear support frames, by that number."""
    found: dict[str, list[float]] = {"clear 0": [], "clear 1": [], "clear 2+": [], "clear 1+": []}
    for clear, values in measured:
        found[("clear 0", "clear 1", "clear 2+")[min(clear, 2)]] += values
        found["clear 1+"] += values if clear else []
    return means(found)


def means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The mean of each list that has something in it."""
    return {name: sum(of_name) / len(of_name) for name, of_name in values.items() if of_name}


def _box(mask: RLE) -> list[float]:
    x, y, width, height = rle.toBbox(mask).tolist()
    return [x, y, x + width, y + height]
