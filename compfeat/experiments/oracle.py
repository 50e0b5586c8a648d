"""What each ambiguity of the built-in data set costs a network that is perfect otherwise: what a module can win.

The ground truth itself is listed as results, but for what the oracle is not told. A setting of the data set is chosen
by this alone, before any network is trained on it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from compfeat.data.clips.sampler import uniform_frames
from compfeat.evaluation.results import to_results
from compfeat.inference.tracker import Cues, OnlineTracker
from compfeat.masks import rle_of_json
from compfeat.structures import Detections, Tube

Hidden = Literal["classes", "masks", "identities"]

AMBIGUITIES: dict[str, tuple[Hidden, ...]] = {
    "nothing": (),
    "classes": ("classes",),
    "masks": ("masks",),
    "classes and masks": ("classes", "masks"),
    "identities": ("identities",),
}


@dataclass(frozen=True)
class Oracle:
    """What a network is told.

    Attributes:
        hidden: what it is not told: "classes" and "masks" that degraded frames hide with markings and fringes;
            "identities": it sees where boxes overlap those that objects had when they were seen last, and nothing else.
        support: frames, evenly spaced over the video, that tell it what a degraded frame hides of an object, if one of
            them shows that; 0 for a network without attention.
        letter: whether a tube's class is voted by its frames, the paper's letter, instead of the mean over them; a
            frame that hides a class then votes for one that is drawn among those it may be, by their probabilities.
    """

    hidden: Collection[Hidden]
    support: int
    letter: bool

    def results(self, truth: Mapping[str, Any], seed: int) -> list[dict]:
        """Entries of results.json for all videos of a split of the built-in data set.

        Args:
            truth: the split's instances.json.
            seed: of what is guessed.
        """
        rng = np.random.default_rng(seed)
        ids = [category["id"] for category in truth["categories"]]
        hint = truth["info"]["knobs"]["colour_hint"]
        in_video: dict[int, list[dict]] = {video["id"]: [] for video in truth["videos"]}
        for annotation in truth["annotations"]:
            in_video[annotation["video_id"]].append(annotation)
        results = []
        for video in truth["videos"]:
            tubes = []
            for entry in in_video[video["id"]]:
                hinted = ids.index(entry.get("hinted_category_id", entry["category_id"]))
                guess = np.zeros(len(ids))
                guess[[hinted, hinted ^ 1]] = hint, 1 - hint  # the two markings of an outline are neighbours
                tubes.append(self._tube(video, entry, np.eye(len(ids))[ids.index(entry["category_id"])], guess, rng))
            if "identities" in self.hidden:
                tubes = _tracked(tubes, video["length"])
            for tube in tubes:
                if self.letter:
                    tube.vote()
            results += to_results(video["id"], video["length"], tubes, ids)
        return results

    def _tube(
        self, video: Mapping, entry: Mapping, classes: np.ndarray, guess: np.ndarray, rng: np.random.Generator
    ) -> Tube:
        """A true object as it is seen; probabilities of its classes where they are known and where they are guessed."""
        degraded, whole = video["degraded"], entry["segmentations"]
        told = any(whole[f] and not degraded[f] for f in uniform_frames(video["length"], self.support))
        tube = Tube(entry["id"])
        for frame, box in enumerate(entry["bboxes"]):
            blind = degraded[frame] and not told
            masks = entry.get("shown_segmentations", whole) if blind and "masks" in self.hidden else whole
            if box is None or masks[frame] is None:
                continue
            seen = classes
            if blind and "classes" in self.hidden:
                seen = rng.multinomial(1, guess) if self.letter else guess * (1 + 1e-6 * rng.random(len(guess)))
            tube.frames.append(frame)
            tube.boxes.append((box[0], box[1], box[0] + box[2], box[1] + box[3]))
            tube.masks.append(rle_of_json(masks[frame]))
            tube.classes.append(seen.tolist())
        return tube


def _tracked(tubes: Sequence[Tube], length: int) -> list[Tube]:
    """The same masks, with the identities that the overlap of boxes gives them."""
    tracker = OnlineTracker(Cues(confidence=0.0, iou=1.0, label=0.0, novelty=0.0))
    found: dict[int, Tube] = {}
    for frame in range(length):
        seen = [(tube, tube.frames.index(frame)) for tube in tubes if frame in tube.frames]
        if not seen:
            continue
        known = 0 if tracker.memory is None else len(tracker.memory)
        nothing = torch.zeros(len(seen), 0)
        detections = Detections(
            boxes=torch.tensor([tube.boxes[i] for tube, i in seen]),
            classes=torch.tensor([tube.classes[i] for tube, i in seen]),
            masks=nothing,
            features=nothing,
            frame=nothing,
        )
        for (tube, i), identity in zip(
            seen, tracker.update(detections, torch.zeros(len(seen), known + 1)), strict=True
        ):
            if identity is not None:
                piece = Tube(identity, [frame], [tube.boxes[i]], [tube.masks[i]], [tube.classes[i]])
                found.setdefault(identity, Tube(identity)).extend(piece)
    return list(found.values())
