"""Pictures of what attention looks at."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, make_grid

from compfeat.experiments.probes.attention import Look, looks_of
from compfeat.experiments.probes.clips import SUPPORT_FRAMES, HeldOut, Maps
from compfeat.models.detector import CompFeat

SCALE = 2  # of the frames in a picture
DARK = 0.25  # light of what has no weight


def pictures(detector: CompFeat, held_out: Sequence[tuple[HeldOut, Maps]], count: int) -> dict[str, Tensor]:
    """By level of attention an RGB picture ``[3, H, W]`` uint8 with a line for each of ``count`` objects.

    A line is the current frame with the box of the object and, one after the other, its support frames, as light as
    they are looked at; in clear ones, with its boxes. The objects are seen in a clear support frame, and lie evenly
    among all that are.

    Raises:
        ValueError: the network has no temporal attention, or no object is seen in a clear support frame.
    """
    found = [(clips, *look) for clips, maps in held_out for look in looks_of(detector, clips, maps)]
    if not found or not found[0][-1]:
        raise ValueError("nothing to draw: no temporal attention, or no object that a clear support frame shows")
    chosen = [found[i] for i in np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]
    return {
        level: make_grid(
            [frame for clips, i, n, looks in chosen for frame in line(clips, i, n, looks[level])],
            nrow=1 + SUPPORT_FRAMES,
            pad_value=255,
        )
        for level in found[0][-1]
    }


def line(clips: HeldOut, i: int, n: int, look: Look) -> list[Tensor]:
    """The current and the support frames of clip i, as its object n looks at them."""
    batch, (height, width) = clips.batch, clips.batch.image_sizes[i]
    lights = F.interpolate(look.weights[:, None], batch.current.shape[-2:], mode="bilinear") / look.weights.max()
    lit = batch.support[i] * (DARK + (1 - DARK) * lights)
    boxes = [batch.targets[i]["boxes"][n], *clips.support_boxes[i][:, n]]
    return [
        _enlarged(frame[:, :height, :width], box) for frame, box in zip([batch.current[i], *lit], boxes, strict=True)
    ]


def _enlarged(frame: Tensor, box: Tensor) -> Tensor:
    """A frame ``[3, H, W]`` several times as large, with the box in white if it is not empty."""
    large = F.interpolate(frame[None].float(), scale_factor=SCALE, mode="bilinear")[0].round().to(torch.uint8)
    return draw_bounding_boxes(large, SCALE * box[None], colors="white", width=2) if box.any() else large
