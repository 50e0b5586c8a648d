"""What is found in a video, written down while it is looked at, and read again a frame at a time."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from compfeat.masks import json_rle, rle_of_json
from compfeat.structures import ClassTally, Tube

LEAST = 0.0005  # probability of a class that is written down
DIGITS = 4  # of probabilities
BOX_DIGITS = 2


class Journal:
    """Writes a line of json for each frame, which is on disk as soon as the frame was looked at; of no frame no file::

        {"frame": 12, "time": 0.4, "objects": [{"identity": 3, "classes": {"dog": 0.93, "cat": 0.05},
         "box": [x1, y1, x2, y2], "mask": {"size": [height, width], "counts": "compressed RLE"}}]}

    Times are seconds, boxes and masks in pixels of the video's frames; of the classes those are named that are likely
    at all.

    Args:
        path: the file; its folder is made if need be, an older file is replaced.
        class_names: the names of labels 1, 2, ...

    Attributes:
        frames: how many are written.
    """

    def __init__(self, path: str | Path, class_names: Sequence[str]) -> None:
        self.frames = 0
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._class_names = class_names
        self._file: IO[str] = self.path.open("w", encoding="utf-8", buffering=1)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self.frames:
            self.path.unlink()

    def write(self, frame: int, time: float, seen: Sequence[Tube]) -> None:
        """The next frame; ``seen`` holds a tube of this frame for each object in it."""
        objects = [self._described(tube) for tube in seen]
        self._file.write(json.dumps({"frame": frame, "time": round(time, 6), "objects": objects}) + "\n")
        self.frames += 1

    def _described(self, tube: Tube) -> dict[str, Any]:
        named = zip(self._class_names, tube.classes[0], strict=True)
        return {
            "identity": tube.track_id,
            "classes": {name: round(probability, DIGITS) for name, probability in named if probability >= LEAST},
            "box": [round(side, BOX_DIGITS) for side in tube.boxes[0]],
            "mask": json_rle(tube.masks[0]),
        }


class Track(NamedTuple):
    """What all frames together say of one object."""

    identity: int
    label: int
    name: str
    score: float


class Findings:
    """A journal that is read again, as often as need be, without being held in memory.

    Args:
        path: of the journal.
        class_names: the names of labels 1, 2, ...
        votes: whether an object has the class of most frames (``Tube.vote``), or that of their mean probabilities.

    Attributes:
        times: when each frame is shown, in seconds.
        masks: how many there are.
        tracks: the objects by their identities, by descending score; class and score are those of a whole ``Tube``.
    """

    def __init__(self, path: str | Path, class_names: Sequence[str], votes: bool) -> None:
        self._path = Path(path)
        self._labels = {name: label for label, name in enumerate(class_names, start=1)}
        self._votes = votes
        self.times: list[float] = []
        self.masks = 0
        tallies: dict[int, ClassTally] = {}
        for time, seen in self._lines():
            self.times.append(time)
            self.masks += len(seen)
            for tube in seen:
                tallies.setdefault(tube.track_id, ClassTally(len(class_names))).add(tube.classes[0])
        tracks = []
        for identity, tally in tallies.items():
            label, score = tally.voted if votes else tally.likeliest
            tracks.append(Track(identity, label, class_names[label - 1], score))
        self.tracks = {track.identity: track for track in sorted(tracks, key=lambda track: track.score, reverse=True)}

    def frames(self, identities: Collection[int]) -> Iterator[list[Tube]]:
        """Of each frame those of some objects that are seen in it, each as a tube of this frame.

        Its class is that of the whole object, its score that of the frame.
        """
        for _, seen in self._lines():
            now = [tube for tube in seen if tube.track_id in identities]
            for tube in now:
                label, (score,) = self.tracks[tube.track_id].label, tube.scores
                tube.classes = [[score * (label == other) for other in self._labels.values()]]
            yield now

    def tubes(self, identities: Collection[int]) -> list[Tube]:
        """Some of the objects, whole, by descending score; all their masks are held in memory."""
        tubes = {identity: Tube(identity) for identity in self.tracks if identity in identities}
        for _, seen in self._lines():
            for tube in seen:
                if tube.track_id in tubes:
                    tubes[tube.track_id].extend(tube)
        if self._votes:
            for tube in tubes.values():
                tube.vote()
        return list(tubes.values())

    def _lines(self) -> Iterator[tuple[float, list[Tube]]]:
        with self._path.open(encoding="utf-8") as file:
            for line in file:
                if not line.endswith("\n"):  # torn: the disk was full, or the machine died
                    return
                content = json.loads(line)
                yield content["time"], [self._tube(content["frame"], entry) for entry in content["objects"]]

    def _tube(self, frame: int, entry: dict[str, Any]) -> Tube:
        classes = [0.0] * len(self._labels)
        for name, probability in entry["classes"].items():
            classes[self._labels[name] - 1] = probability
        x1, y1, x2, y2 = entry["box"]
        return Tube(entry["identity"], [frame], [(x1, y1, x2, y2)], [rle_of_json(entry["mask"])], [classes])
