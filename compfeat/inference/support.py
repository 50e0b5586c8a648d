"""Which frames of a video lend their features to the others in inference."""

from collections import deque

import torch

from compfeat.models.attention import Features
from compfeat.quantities import Count


class SupportBank:
    """The feature maps of the support frames of the video being read.

    A video lends frames evenly spaced over all of it, as the paper's inference does; a long one over the window that is
    looked at, and one of several scenes over that part of the window that is of one scene. Where the future is unknown,
    in streams, the bank is causal: it starts with the first frame, takes every ``interval``-th after it, and lets go of
    the oldest.

    Args:
        frames: T, the most frames that are kept; need not be that of training.
        look_ahead: False keeps the bank causal for videos too.
        interval: frames between two of a causal bank.
        window: frames of a video that are held in memory, as small as the network sees them, to look ahead.
    """

    def __init__(self, frames: Count = 4, look_ahead: bool = True, interval: Count = 5, window: Count = 120) -> None:
        if min(frames, interval, window) < 1:
            raise ValueError(
                f"support: frames, interval and window must be at least 1, not {frames}, {interval} and {window}"
            )
        self.frames = frames
        self.look_ahead = look_ahead
        self.interval = interval
        self.window = window
        self.reset()

    def reset(self) -> None:
        """Forgets every frame: a new video begins."""
        self._maps: deque[Features] = deque(maxlen=self.frames)
        self._seen = 0

    def __len__(self) -> int:
        return len(self._maps)

    def fill(self, maps: Features) -> None:
        """Puts in the maps ``[T, C, H, W]`` by level of T frames from all over a window, in the place of all others."""
        self._maps.clear()
        count = len(next(iter(maps.values())))
        self._maps.extend({level: x[i] for level, x in maps.items()} for i in range(count))

    def observe(self, maps: Features) -> bool:
        """Shows the next frame ``[C, H, W]`` by level to a causal bank; returns whether it was put in."""
        taken = self._seen % self.interval == 0
        if taken:
            # A view would keep the maps of all the frames that were extracted at once.
            self._maps.append({level: x.clone() for level, x in maps.items()})
        self._seen += 1
        return taken

    @property
    def maps(self) -> Features:
        """What is in the bank: ``[1, T, C, H, W]`` by level, as the network takes it."""
        levels = self._maps[0]
        return {level: torch.stack([maps[level] for maps in self._maps])[None] for level in levels}
