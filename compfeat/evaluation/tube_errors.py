"""What is wrong with the tubes found in one video, and the repair of one kind of error at a time.

The kinds are those of TIDE (Bolya et al. 2020) and identity. As there, what is found has one kind of error at most. But
a tube can be right in one frame and wrong in the next, so it is decided mask by mask what is shown.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from compfeat.evaluation.tubes import FoundTube, Masks, intersections

BACKGROUND = 0.1  # IoU up to which a mask shows no object, as in TIDE; share of its area up to which a tube is of none
FOUND = 0.5  # IoU from which a tube counts as its object: the lowest threshold of AP


class TrueTube(NamedTuple):
    """One true object."""

    category: int
    masks: Masks


class TubeErrors:
    """The parts that N found tubes play, given the M true objects of a video of F frames.

    A mask *shows* the object it overlaps most, and a tube is *of* the object that most of its area shows, or of none
    where that is no more than ``BACKGROUND``. Tubes of none are background. The *owner* of an object is the tube of it
    with the largest IoU, of those that count at the lowest threshold if any does. The other tubes of an object are
    *duplicates* if they mostly show what owners show in the same frames, else *pieces* of a track that was split.

    Background and duplicates have no other error; all others are those of owners and pieces, who *follow* objects. A
    repair returns all tubes of the video, those it has nothing to do with as they were and in their order.

    Attributes:
        owner_scores: the scores of the owners, for the likeliest class of each.
    """

    def __init__(self, tubes: Sequence[FoundTube], truths: Sequence[TrueTube]) -> None:
        self._tubes, self._truths = tubes, truths
        shared, areas, true_areas = intersections([tube.masks for tube in tubes], [truth.masks for truth in truths])
        united = areas[:, :, None] + true_areas[:, None] - shared
        self._iou = shared.sum(0) / np.maximum(united.sum(0), 1)  # [N, M], IoU of tubes
        self._present = areas > 0  # [F, N]

        # An object is its index in truths, none is -1: the last column where each object has a column.
        self._visible = np.pad(true_areas > 0, ((0, 0), (0, 1)))  # [F, M + 1]
        none = np.full((*areas.shape, 1), BACKGROUND)
        self._shown = np.concatenate([none, shared / np.maximum(united, 1)], axis=2).argmax(2) - 1  # [F, N]
        shares = (areas[:, :, None] * (self._shown[:, :, None] == np.arange(len(truths)))).sum(0)  # [N, M]
        self._of = np.column_stack([BACKGROUND * areas.sum(0), shares]).argmax(1) - 1  # [N]
        self._owner = [self._owner_of(t) for t in range(len(truths))]
        owners = [owner for owner in self._owner if owner is not None]
        self.owner_scores = [tubes[owner].score for owner in owners]

        owned = np.zeros_like(self._visible)  # [F, M + 1], shown by the owner
        for t, owner in enumerate(self._owner):
            owned[:, t] = owner is not None and self._shown[:, owner] == t
        doubled = (areas * np.take_along_axis(owned, self._shown, axis=1)).sum(0)
        self._duplicate = (self._of >= 0) & (doubled > shares.sum(1) / 2) & ~np.isin(np.arange(len(tubes)), owners)
        self._follows = (self._of >= 0) & ~self._duplicate

    def with_classes(self) -> list[FoundTube]:
        """Owners with an IoU of ``FOUND`` are listed under the right class alone, with their top score."""
        tubes = list(self._tubes)
        for t, owner in enumerate(self._owner):
            if owner is not None and self._iou[owner, t] >= FOUND:
                tubes[owner] = tubes[owner]._replace(scores={self._truths[t].category: tubes[owner].score})
        return tubes

    def with_identities(self) -> list[FoundTube]:
        """The masks of followers, as they are, go to the objects they show.

        An owner loses masks that show other objects, and where it does not show its own it gets the mask of one that
        does. Pieces are used up. An object without owner, but shown in more than half of its frames, gets a tube of
        its own. Of those that gave masks, the one that scores the right class highest gives all its scores.
        """
        tubes = [None if follows else tube for tube, follows in zip(self._tubes, self._follows, strict=True)]
        for t, owner in enumerate(self._owner):
            shows = self._follows & (self._shown == t)  # [F, N]
            best_last = sorted(_where(shows.any(0)), key=lambda n: self._iou[n, t])
            giver = {f: n for n in best_last for f in _where(shows[:, n])}
            masks = {f: self._tubes[n].masks[f] for f, n in giver.items()}
            if owner is not None:
                strays = _where((self._shown[:, owner] >= 0) & ~shows[:, owner])
                masks = dict(enumerate(self._tubes[owner].masks)) | dict.fromkeys(strays) | masks
            elif 2 * len(masks) <= self._visible[:, t].sum():
                continue
            best = max(giver.values(), key=lambda n: (self._class_score(n, t), self._iou[n, t]))
            whole = FoundTube(self._tubes[best].scores, [masks.get(f) for f in range(len(shows))])
            if owner is None:
                tubes.append(whole)
            else:
                tubes[owner] = whole
        return [tube for tube in tubes if tube is not None]

    def with_masks(self) -> list[FoundTube]:
        """A mask of a follower becomes the true one of the object it shows, or else of the one its tube is of.

        Both must be there in the frame: no tube is seen in more or fewer frames than before.
        """
        tubes = list(self._tubes)
        for n in _where(self._follows):
            meant = self._meant(n)
            tubes[n] = _changed(tubes[n], {f: self._truths[meant[f]].masks[f] for f in _where(meant >= 0)})
        return tubes

    def without_duplicates(self) -> list[FoundTube]:
        """Duplicates are gone. Owners take over the highest score for the right class of those that counted.

        Else the repair would cost AP where an object was found with a high score and, better, with a lower one.
        """
        tubes = list(self._tubes)
        for t, owner in enumerate(self._owner):
            counted = self._duplicate & (self._of == t) & (self._iou[:, t] >= FOUND)
            surest = max((self._class_score(n, t) for n in _where(counted)), default=-math.inf)
            if owner is not None and surest > self._class_score(owner, t):
                scores = tubes[owner].scores | {self._truths[t].category: surest}
                tubes[owner] = tubes[owner]._replace(scores=scores)
        return [tube for tube, duplicate in zip(tubes, self._duplicate, strict=True) if not duplicate]

    def without_background(self) -> list[FoundTube]:
        """Tubes of no object are gone, and masks of followers that show none while the tube's object is not visible."""
        tubes = list(self._tubes)
        for n in _where(self._follows):
            tubes[n] = _changed(tubes[n], dict.fromkeys(_where(self._meant(n) < 0)))
        return [tube for tube, of in zip(tubes, self._of, strict=True) if of >= 0]

    def with_missed(self, score: float) -> list[FoundTube]:
        """Objects get their true masks in the frames in which no follower shows them.

        They go to the owner, save where it has a mask, for that is no miss but a poor mask or a switched identity.
        Without an owner they are a new tube of the right class and the given score.
        """
        tubes = list(self._tubes)
        for t, (truth, owner) in enumerate(zip(self._truths, self._owner, strict=True)):
            missed = self._visible[:, t] & ~(self._follows & (self._shown == t)).any(1)
            if owner is not None:
                empty = ~self._present[:, owner]
                tubes[owner] = _changed(tubes[owner], {f: truth.masks[f] for f in _where(missed & empty)})
            elif missed.any():
                masks = dict.fromkeys(_where(~missed))
                tubes.append(_changed(FoundTube({truth.category: score}, truth.masks), masks))
        return tubes

    def _meant(self, n: int) -> np.ndarray:
        """The object that each mask of a tube shows, or else the one the tube is of if that is visible; ``[F]``."""
        astray = (self._shown[:, n] < 0) & self._present[:, n] & self._visible[:, self._of[n]]
        return np.where(astray, self._of[n], self._shown[:, n])

    def _owner_of(self, t: int) -> int | None:
        def rank(n: int) -> tuple[bool, float, float]:
            iou, score = self._iou[n, t], self._class_score(n, t)
            return iou >= FOUND and score > -math.inf, iou, score

        return max(_where(self._of == t), key=rank, default=None)

    def _class_score(self, n: int, t: int) -> float:
        """The score of a tube for the class of an object, -inf where it is not listed under it."""
        return self._tubes[n].scores.get(self._truths[t].category, -math.inf)


def _where(flags: np.ndarray) -> list[int]:
    return list(map(int, np.flatnonzero(flags)))


def _changed(tube: FoundTube, masks: Mapping[int, dict | None]) -> FoundTube:
    return tube._replace(masks=[masks.get(f, mask) for f, mask in enumerate(tube.masks)])
