"""Association of detections over time: one object takes at most one detection of a frame, and the reverse."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from compfeat.quantities import Seconds, Share, Weight
from compfeat.structures import Detections


@dataclass(frozen=True)
class Cues:
    """Weights of what the paper's post-processing adds to the matching scores (MaskTrack R-CNN, Eq. 4).

    The class cue is the cosine of the class probabilities of detection and remembered object; between hard labels that
    is 1 where they are equal and 0 else. A new object is taken to have a likeness of ``novelty``. The defaults are the
    paper's.
    """

    confidence: Weight = 1.0
    iou: Weight = 2.0
    label: Weight = 10.0
    novelty: Share = 1.0


class OnlineTracker:
    """Gives the detections of successive frames their identities; holds no weights and no network.

    Args:
        cues: weights of the post-processing cues; None matches by the network's scores alone.
        keep_unseen: how long an object that is not seen is remembered, in the unit of the times of frames: seconds, or
            frames where no times are given. None is for ever.
    """

    def __init__(self, cues: Cues | None = None, keep_unseen: Seconds | None = None) -> None:
        if keep_unseen is not None and keep_unseen < 0:
            raise ValueError(f"keep_unseen is a time or null for ever, not {keep_unseen}")
        self.cues = cues
        self.keep_unseen = keep_unseen
        self.reset()

    def reset(self) -> None:
        """Forgets every object: a new video begins."""
        self._frames = 0
        self._next_id = 1
        self._objects: dict[int, _Remembered] = {}  # by identity, in the order of the score columns

    def forget(self) -> None:
        """Forgets every object, but not which identities were given: the same video goes on with another scene."""
        self._objects = {}

    @property
    def memory(self) -> Tensor | None:
        """``Detections.features`` of the K remembered objects ``[K, ...]``, or None before the first."""
        if not self._objects:
            return None
        return torch.stack([known.features for known in self._objects.values()])

    def update(self, detections: Detections, scores: Tensor, time: float | None = None) -> list[int | None]:
        """Matches the detections of the next frame with the remembered objects and remembers them.

        A detection whose object is claimed by a better one takes its next best. Where that would be to start a new
        object it is dropped: it looks like something known, so it is most likely a second sight of it, and with an
        identity of its own it would follow the object from then on.

        Args:
            detections: the N detections of the frame.
            scores: ``[N, K + 1]`` from the network, against ``memory``; column 0 is "a new object".
            time: when the frame is shown, later than those before; None is its index.

        Returns:
            the identity of each detection, from 1, no two equal; None where it is dropped.
        """
        identities: list[int | None] = [None] * len(detections)
        settled: set[int] = set()
        outdone: set[int] = set()
        known = list(self._objects)
        free = set(range(len(known)))
        for row, column in _by_score(self._total(detections, scores.float().log_softmax(1))):
            if row in settled:
                continue
            if column and column - 1 not in free:
                outdone.add(row)
                continue
            settled.add(row)
            if column:
                free.remove(column - 1)
                identities[row] = known[column - 1]
            elif row not in outdone:
                identities[row] = self._next_id
                self._next_id += 1
        self._remember(identities, detections, self._frames if time is None else time)
        self._frames += 1
        return identities

    def _total(self, detections: Detections, scores: Tensor) -> Tensor:
        if self.cues is None:
            return scores
        iou = torch.zeros_like(scores)
        same = torch.full_like(scores, self.cues.novelty)
        if self._objects:
            objects = self._objects.values()
            iou[:, 1:] = box_iou(detections.boxes, torch.stack([known.box for known in objects]))
            known = torch.stack([known.classes for known in objects])
            same[:, 1:] = F.cosine_similarity(detections.classes[:, None], known, dim=-1)
        confidence = detections.scores.clamp(min=1e-6).log()[:, None]
        return scores + self.cues.confidence * confidence + self.cues.iou * iou + self.cues.label * same

    def _remember(self, identities: Sequence[int | None], detections: Detections, time: float) -> None:
        for i, identity in enumerate(identities):
            if identity is None:
                continue
            features = detections.features[i].clone()  # a view would keep those of all the frames detected at once
            self._objects[identity] = _Remembered(features, detections.boxes[i], detections.classes[i], time)
        if self.keep_unseen is not None:
            oldest = time - self.keep_unseen
            self._objects = {identity: known for identity, known in self._objects.items() if known.seen >= oldest}


@dataclass(frozen=True)
class _Remembered:
    features: Tensor
    box: Tensor
    classes: Tensor
    seen: float  # when


def _by_score(scores: Tensor) -> list[tuple[int, int]]:
    """(row, column) of every entry, best first; ties go to the earlier row, then the earlier column."""
    order = scores.flatten().cpu().sort(descending=True, stable=True).indices
    return [divmod(index, scores.shape[1]) for index in order.tolist()]
