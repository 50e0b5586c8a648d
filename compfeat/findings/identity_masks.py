"""The objects of a video as images whose pixels are identities, in the form of DAVIS."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from compfeat.findings.journal import Findings
from compfeat.findings.overlays import colour
from compfeat.masks import decode_mask

INDEXED = 254  # the largest identity of an image of 8 bits; 255 is where nothing counts


def write_identity_masks(
    folder: str | Path, findings: Findings, identities: Collection[int], size: tuple[int, int]
) -> None:
    """Writes ``00000.png`` and so on: a pixel is the identity of the object it belongs to, 0 where there is none.

    Where objects overlap, the one that is surer in that frame is in front. Images are indexed, in the colours of the
    overlay; with identities above 254 they are grey, of 16 bits.

    Args:
        folder: made if need be.
        findings: of the video.
        identities: of the objects that are written.
        size: (height, width) of its frames.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    indexed = max(identities, default=0) <= INDEXED
    palette = [channel for value in range(256) for channel in (colour(value) if value else (0, 0, 0))]
    for frame, seen in enumerate(findings.frames(identities)):
        values = np.zeros(size, np.uint8 if indexed else np.uint16)
        for tube in sorted(seen, key=lambda tube: tube.scores[0]):
            values[decode_mask(tube.masks[0]) > 0] = tube.track_id
        image = Image.fromarray(values)
        if indexed:
            image.putpalette(palette)
        image.save(folder / f"{frame:05d}.png")
