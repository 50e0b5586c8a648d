"""Which frames of a video make a training clip."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from compfeat.quantities import SupportFrames


class ClipFrames(NamedTuple):
    """Frame indices of one clip."""

    current: int
    support: tuple[int, ...]
    reference: int


class ClipSampler:
    """Draws a current frame that has objects, T support frames and one reference frame of the same video.

    The paper draws all of them at random ("Implementation Details"); Table 4 also spaces the support frames evenly.
    The frames differ as long as the video has enough of them; after that they repeat.

    Args:
        support_frames: T.
        mode: how support frames are chosen.
    """

    def __init__(self, support_frames: SupportFrames = 2, mode: Literal["random", "uniform"] = "random") -> None:
        if support_frames < 0:
            raise ValueError(f"support_frames must not be negative, but is {support_frames}")
        if mode not in ("random", "uniform"):
            raise ValueError(f"mode must be random or uniform, not {mode}")
        self.support_frames = support_frames
        self.mode = mode

    def sample(
        self, length: int, annotated: Sequence[int], rng: np.random.Generator, current: int | None = None
    ) -> ClipFrames:
        """Draws a clip of a video of ``length`` frames; ``annotated`` are the frames that have objects, of which
        ``current`` may be chosen before."""
        if not annotated:
            raise ValueError("a clip needs a frame with objects")
        if current is None:
            current = int(rng.choice(annotated))
        others = [frame for frame in annotated if frame != current] or [f for f in range(length) if f != current]
        reference = int(rng.choice(others or [current]))
        if self.mode == "uniform":
            return ClipFrames(current, tuple(uniform_frames(length, self.support_frames)), reference)
        rest = [frame for frame in range(length) if frame not in (current, reference)] or [current]
        shuffled = [int(frame) for frame in rng.permutation(rest)]
        support = tuple(shuffled[i % len(shuffled)] for i in range(self.support_frames))
        return ClipFrames(current, support, reference)


def uniform_frames(length: int, count: int) -> list[int]:
    """The middles of ``count`` equal parts of a video of ``length`` frames; none if it is empty."""
    return [int((i + 0.5) * length / count) for i in range(count)] if length else []
