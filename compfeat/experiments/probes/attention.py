"""What attention knows of an object's class in a frame that hides it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compfeat.experiments.probes.clips import HeldOut, Maps, by_clear, jittered, means
from compfeat.models.attention import Features, SupportMemory, TemporalAttention
from compfeat.models.detector import CompFeat, Frames
from compfeat.models.roi_heads import PYRAMID
from compfeat.structures import ClipBatch

STRIDES = dict(zip(PYRAMID, (4, 8, 16, 32), strict=True))


class ClassProbe:
    """Classes of true objects in degraded frames, by the number of clear frames among the four support frames.

    What is trained is the attention and the box head that reads it. ``share object`` and ``share frame`` are the shares
    of the attention, at object level and at frame level, of the positions inside an object that fall on it in the clear
    support frames, over objects that are seen in one; ``chance`` is what even attention would have there.
    """

    degraded = True

    def trained(self, detector: CompFeat) -> list[nn.Module]:
        heads = detector.roi_heads
        parts = [detector.frame_attention, heads.object_attention, heads.box_head, heads.box_predictor.cls_score]
        return [part for part in parts if part is not None]

    def losses(self, detector: CompFeat, maps: Maps, batch: ClipBatch, generator: torch.Generator) -> dict[str, Tensor]:
        boxes = [jittered(target["boxes"], generator) for target in batch.targets]
        labels = torch.cat([target["labels"] for target in batch.targets])
        return {"loss_classifier": F.cross_entropy(self._logits(detector, maps, boxes), labels)}

    @torch.no_grad()
    def measure(self, detector: CompFeat, held_out: Sequence[tuple[HeldOut, Maps]]) -> dict[str, float]:
        measured: list[tuple[int, list[float]]] = []
        for clips, maps in held_out:
            targets = clips.batch.targets
            labels = self._logits(detector, maps, [t["boxes"] for t in targets])[:, 1:].argmax(1) + 1
            right = (labels == torch.cat([t["labels"] for t in targets])).float()
            of_clips = right.split([len(t["labels"]) for t in targets])
            measured += zip(clips.clear.tolist(), (of_clip.tolist() for of_clip in of_clips), strict=True)
        return by_clear(measured) | attention_shares(detector, held_out)

    def _logits(self, detector: CompFeat, maps: Maps, boxes: list[Tensor]) -> Tensor:
        heads, memory = detector.roi_heads, detector.remember(maps.support)
        frames = detector.aggregate(maps.current, memory)
        rois = heads.object_features(frames.maps, boxes, memory.objects)
        return heads.box_predictor.cls_score(heads.box_head(torch.cat(rois)))


class Look(NamedTuple):
    """What one object of a current frame looks at, at one level of attention.

    ``weights [T, h, w]``: of the positions of the T support frames; their sum is 1. ``share``: what falls into the
    boxes of the object in clear ones, ``chance``: what would if all weights were equal.
    """

    weights: Tensor
    share: float
    chance: float


def attention_shares(detector: CompFeat, held_out: Sequence[tuple[HeldOut, Maps]]) -> dict[str, float]:
    """The means over all objects of current frames that are seen in a clear support frame; see ``ClassProbe``."""
    found: dict[str, list[float]] = {"share object": [], "share frame": [], "chance": []}
    for clips, maps in held_out:
        for _, _, looks in looks_of(detector, clips, maps):
            for level, look in looks.items():
                found[f"share {level}"].append(look.share)
                found["chance"].append(look.chance)
    return means(found)


@torch.no_grad()
def looks_of(detector: CompFeat, clips: HeldOut, maps: Maps) -> Iterator[tuple[int, int, dict[str, Look]]]:
    """Clip, object and look, at level ``frame`` and ``object`` where there is temporal attention, of all objects of
    current frames that are seen in a clear support frame."""
    refined = detector.aggregate(maps.current, detector.remember(maps.support))
    frame_level = None if detector.frame_attention is None else detector.frame_attention.attention
    levels = (("frame", frame_level, maps.current), ("object", detector.roi_heads.object_attention, refined))
    for i, (target, seen) in enumerate(zip(clips.batch.targets, clips.support_boxes, strict=True)):
        for n, (box, in_support) in enumerate(zip(target["boxes"], seen.unbind(1), strict=True)):
            if in_support.any():
                yield (
                    i,
                    n,
                    {
                        level: _look(detector, dual.temporal, frames, maps.support, i, box, in_support)
                        for level, dual, frames in levels
                        if dual is not None and dual.temporal is not None and hasattr(dual.temporal, "gather")
                    },
                )


def _look(
    detector: CompFeat,
    attention: TemporalAttention,
    frames: Frames,
    support: Features,
    i: int,
    box: Tensor,
    seen: Tensor,
) -> Look:
    """The attention of the positions inside ``box`` of frame i, ``seen [T, 4]`` in its support frames."""
    pool = detector.roi_heads.box_roi_pool
    rois = pool({k: x[i : i + 1] for k, x in frames.maps.items()}, [box[None]])
    level = PYRAMID[int(pool.map_levels([box[None]]))]
    maps, pooling = support[level][i : i + 1], detector.support_pooling[level]
    inside = indicator(seen, (maps.shape[-2], maps.shape[-1]), STRIDES[level], pooling)
    each = torch.eye(inside.numel())[None]  # as values, that give the weights themselves
    weights = attention.gather(rois, SupportMemory(attention.embed(maps, pooling).key, each)).mean((0, 2, 3))
    weights = weights.view_as(inside)
    return Look(weights, (weights * inside).sum().item(), inside.mean().item())


def indicator(boxes: Tensor, size: tuple[int, int], stride: int, pool: int) -> Tensor:
    """1 at the support positions inside boxes ``[T, 4]`` (pixels), 0 elsewhere, ``[T, H, W]`` after pooling."""
    y, x = ((torch.arange(cells) + 0.5) * stride for cells in size)
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    rows, columns = (y > y1) & (y < y2), (x > x1) & (x < x2)
    inside = (rows[:, :, None] & columns[:, None, :]).float()[:, None]
    return F.avg_pool2d(inside, pool, ceil_mode=True)[:, 0]
