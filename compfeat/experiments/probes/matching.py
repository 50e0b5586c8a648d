"""What a track head knows of identities, and where its correlation maps see an object."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from compfeat.experiments.probes.clips import HeldOut, Maps, jittered, means
from compfeat.models.detector import CompFeat
from compfeat.models.roi_heads import FRAME_STRIDE, SampledObjects, frame_maps
from compfeat.models.track_heads import AnyTrackHead, CorrelationTrackHead, match_targets, whereabouts
from compfeat.structures import ClipBatch, FrameTarget

CROSSING = 0.05  # IoU of two objects from which on they are crossing


class MatchingProbe:
    """True objects of one frame matched with those of another; what is trained is the track head.

    Measured is the share that is matched rightly, of all objects that are in both frames, and of those that have a
    ``look-alike`` (another object of their class in the other frame), that ``jump`` (their boxes in both frames do not
    overlap), and that are ``crossing`` another object.
    """

    degraded = False

    def trained(self, detector: CompFeat) -> list[nn.Module]:
        return [head_of(detector)]

    def losses(self, detector: CompFeat, maps: Maps, batch: ClipBatch, generator: torch.Generator) -> dict[str, Tensor]:
        boxes = [jittered(target["boxes"], generator) for target in batch.targets]
        features, frames, references = seen(detector, maps, batch, boxes)
        objects = [SampledObjects(f, b, t["track_ids"]) for f, b, t in zip(features, boxes, batch.targets, strict=True)]
        losses = head_of(detector).losses(objects, frames, references, batch.targets, batch.reference_targets)
        return {name: value for name, value in losses.items() if name.startswith("loss_")}

    @torch.no_grad()
    def measure(self, detector: CompFeat, held_out: Sequence[tuple[HeldOut, Maps]]) -> dict[str, float]:
        head = head_of(detector)
        found: dict[str, list[float]] = defaultdict(list)
        for clips, maps in held_out:
            targets = clips.batch.targets
            boxes = [target["boxes"] for target in targets]
            features, frames, references = seen(detector, maps, clips.batch, boxes)
            scores = map(
                head.compare,
                map(head.embed, features),
                boxes,
                head.embed_frames(torch.stack(frames)),
                map(head.embed, references),
            )
            for score, target, reference in zip(scores, targets, clips.batch.reference_targets, strict=True):
                for case, right in matches(score, target, reference):
                    found[case].append(right)
        return means(found)


def matches(score: Tensor, target: FrameTarget, reference: FrameTarget) -> Iterator[tuple[str, float]]:
    """(case, whether it is matched rightly) of every object of a frame that is in the other frame too."""
    column = match_targets(target["track_ids"], reference["track_ids"])
    right = (score.argmax(1) == column).float()
    look_alike = (target["labels"][:, None] == reference["labels"]).sum(1) > 1
    crossing = (box_iou(target["boxes"], target["boxes"]) > CROSSING).sum(1) > 1
    before, _ = whereabouts(target["track_ids"], reference)
    jump = box_iou(target["boxes"], before).diagonal() == 0
    for case, where in (("all", column > 0), ("look-alike", look_alike), ("jump", jump), ("crossing", crossing)):
        yield from ((case, value) for value in right[where & (column > 0)].tolist())


class MapProbe(MatchingProbe):
    """Where the correlation map of a remembered object peaks; trained as ``MatchingProbe`` does.

    ``peak_inside`` is the share of peaks that lie inside the box of the object where it is visible; ``visible`` and
    ``absent`` are the mean heights of the peak where it is visible and for an object of another video.
    """

    def trained(self, detector: CompFeat) -> list[nn.Module]:
        return [correlation_head_of(detector)]

    @torch.no_grad()
    def measure(self, detector: CompFeat, held_out: Sequence[tuple[HeldOut, Maps]]) -> dict[str, float]:
        head = correlation_head_of(detector)
        found: dict[str, list[float]] = defaultdict(list)
        for clips, maps in held_out:
            batch = clips.batch
            _, frames, references = seen(detector, maps, batch, [t["boxes"] for t in batch.targets])
            located = head.location_maps(frames, references)
            for places, target, reference in zip(located, batch.targets, batch.reference_targets, strict=True):
                boxes, visible = whereabouts(reference["track_ids"], target)
                for place, (x1, y1, x2, y2) in zip(places[visible], boxes[visible].tolist(), strict=True):
                    row, column = divmod(int(place.argmax()), place.shape[1])
                    y, x = (row + 0.5) * FRAME_STRIDE, (column + 0.5) * FRAME_STRIDE
                    found["peak_inside"].append(float(x1 <= x <= x2 and y1 <= y <= y2))
                    found["visible"].append(place.max().item())
            others = head.location_maps(frames, of_other_videos(batch.names, references))
            found["absent"] += [place.max().item() for places in others for place in places]
        return means(found)


def of_other_videos(names: Sequence[str], references: Sequence[Tensor]) -> list[Tensor]:
    """For each clip, ``names`` being ``VIDEO/FRAME``, the references of the next one of another video; none of none."""
    videos = [name.rpartition("/")[0] for name in names]
    found = []
    for i, own in enumerate(references):
        around = [*range(i + 1, len(references)), *range(i)]
        found.append(next((references[j] for j in around if videos[j] != videos[i]), own[:0]))
    return found


def head_of(detector: CompFeat) -> AnyTrackHead:
    if detector.track_head is None:
        raise ValueError("there is no track head to try: take variants that match objects")
    return detector.track_head


def correlation_head_of(detector: CompFeat) -> CorrelationTrackHead:
    head = head_of(detector)
    if not isinstance(head, CorrelationTrackHead):
        raise ValueError(f"a {type(head).__name__} makes no maps: take variants, or checkpoints, that correlate")
    return head


@torch.no_grad()
def seen(
    detector: CompFeat, maps: Maps, batch: ClipBatch, boxes: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """What a track head takes: features of ``boxes`` in the current frames, the frames, features of the references."""
    heads, memory = detector.roi_heads, detector.remember(maps.support)
    current, reference = (detector.aggregate(frames, memory) for frames in (maps.current, maps.reference))
    features = heads.object_features(current.maps, boxes, memory.objects)
    remembered = [target["boxes"] for target in batch.reference_targets]
    references = heads.object_features(reference.maps, remembered, memory.objects)
    return features, list(frame_maps(current.maps).unbind()), references
