"""The objects of a video as a table."""

import csv
from collections.abc import Collection
from pathlib import Path

from pycocotools import mask as rle

from compfeat.files import written_whole
from compfeat.findings.journal import Findings

COLUMNS = ("frame", "time", "identity", "class", "score", "x1", "y1", "x2", "y2", "area")


def write_table(path: str | Path, findings: Findings, identities: Collection[int]) -> None:
    """Writes a csv file with a row for each of some objects in each frame in which it is seen.

    ``frame`` counts from 0, ``time`` is seconds, ``class`` that of the whole object, ``score`` that of the frame; box
    and ``area``, of the mask, are in pixels.
    """
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for frame, (time, seen) in enumerate(zip(findings.times, findings.frames(identities), strict=True)):
            for tube in seen:
                name, area = findings.tracks[tube.track_id].name, int(rle.area(tube.masks[0]))
                writer.writerow([frame, time, tube.track_id, name, tube.scores[0], *tube.boxes[0], area])
