"""From frames to tubes: the only inference loop there is; validation, the scripts and streams all run through it."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from compfeat.data.clips.sampler import uniform_frames
from compfeat.data.clips.transforms import resize_image
from compfeat.inference.checkpoint import rebuild
from compfeat.inference.paste import paste
from compfeat.inference.support import SupportBank
from compfeat.inference.tracker import OnlineTracker
from compfeat.machine import best_device
from compfeat.media.scenes import SceneCuts
from compfeat.models.detector import CompFeat, Frames, Memory
from compfeat.models.labels import Labels
from compfeat.models.speed import speed_up
from compfeat.quantities import Count, Side
from compfeat.read_ahead import read_ahead, read_each
from compfeat.structures import Category, Detections, Tube, pad_and_stack


class FrameError(ValueError):
    """A frame is not what a network can be shown; the message says which and what is expected."""


class Window(NamedTuple):
    """Successive frames of one scene as the network sees them, uint8 ``[3, h, w]``.

    ``first`` is the index of the first, ``times`` are when they are shown, as far as that is known, ``size`` is the
    (height, width) of the first before it was resized, and ``new_scene`` whether it begins a scene that is not the
    first.
    """

    first: int
    images: list[Tensor]
    times: list[float | None]
    size: tuple[int, int]
    new_scene: bool


class Sighting(NamedTuple):
    """The detections of one frame and their identities, None where the tracker drops one.

    ``size`` is the (height, width) of the frame, in whose pixels the boxes are.
    """

    frame: int
    size: tuple[int, int]
    identities: list[int | None]
    boxes: Tensor
    masks: Tensor
    classes: list[list[float]]

    def tubes(self) -> list[Tube]:
        """A tube of this frame for each that has an identity, masks as RLE."""
        rows = zip(
            self.identities, self.boxes.tolist(), paste(self.masks, self.boxes, self.size), self.classes, strict=True
        )
        return [
            Tube(identity, [self.frame], [tuple(box)], [mask], [classes])
            for identity, box, mask, classes in rows
            if identity is not None
        ]


class VideoPredictor:
    """Finds the objects of a video: detection batched over frames, association one frame after the other.

    Args:
        detector: the network; it stays where it is, and frames follow it to its device.
        tracker: gives detections their identities.
        categories: the classes, in the order of their labels, each with a name of its own; as ``Category`` or as
            mappings ``{"id", "name"}``.
        support: holds the features of the support frames, for a network that uses them.
        labels: what is detected of an object, and how a tube comes to its class.
        size: (width, height) into which frames are fitted, keeping their ratio.
        batch_size: frames detected at once; None is 8 on a GPU and 2 on a CPU, where allocating the feature maps of
            more costs more than it saves.
        bf16: whether the network runs in mixed precision; boxes and scores are float32 all the same.
        scenes: finds where a video is cut, so that nothing is taken for something of the scene before, or looked at
            with its frames; None takes a video for one scene.

    Attributes:
        frame_size: (height, width) of the frames of the video that is looked at; None before the first.

    Raises:
        ValueError: two classes have one name, or one has none.
    """

    def __init__(
        self,
        detector: CompFeat,
        tracker: OnlineTracker,
        categories: Sequence[Category | Mapping[str, Any]],
        support: SupportBank,
        labels: Labels,
        size: tuple[Side, Side] = (640, 360),
        batch_size: Count | None = None,
        bf16: bool = False,
        scenes: SceneCuts | None = None,
    ) -> None:
        self.detector = detector
        self.tracker = tracker
        self.categories = [c if isinstance(c, Category) else Category(**c) for c in categories]
        names = self.class_names
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise ValueError(f"classes are told apart by their names, but these are {names}")
        self.size = (size[0], size[1])
        self.support = support
        self.labels = labels
        self.batch_size = batch_size
        self.bf16 = bf16
        self.scenes = scenes
        self.reset()

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str | torch.device = "auto", **changes: Any) -> "VideoPredictor":
        """Rebuilds the predictor a training run was validated with, weights loaded, in a form that is only for
        inference: see `speed_up`.

        Args:
            path: a checkpoint written by ``train.py``, or a folder written by ``scripts/export.py``; or ``"coco"``,
                torchvision's Mask R-CNN with the weights it learned on COCO, downloaded once, or ``"coco:PATH"`` with
                those of a file (``coco_recipe``).
            device: where the network runs; ``"auto"`` is a GPU where there is one, else the CPU.
            changes: other arguments for the constructor, for instance ``tracker=OnlineTracker(Cues())``.

        Raises:
            FileNotFoundError, CheckpointError, WeightsError: as ``rebuild``.
        """
        predictor = rebuild(path, **changes)
        predictor.detector.to(best_device() if device == "auto" else device).eval()
        speed_up(predictor.detector, predictor.bf16)
        return predictor

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their labels."""
        return [category.name for category in self.categories]

    def predict(self, frames: Iterable[np.ndarray], progress: Callable[[int], Any] | None = None) -> list[Tube]:
        """The objects of one video, by descending score.

        Args:
            frames: as of ``track``, which raises what is wrong with them.
            progress: called with 1 after each frame.
        """
        tubes: dict[int, Tube] = {}
        for seen in self.track(frames):
            for now in seen:
                tubes.setdefault(now.track_id, Tube(now.track_id)).extend(now)
            if progress is not None:
                progress(1)
        if self.labels.votes:
            for tube in tubes.values():
                tube.vote()
        return sorted(tubes.values(), key=lambda tube: tube.score, reverse=True)

    def track(
        self, frames: Iterable[np.ndarray], times: Sequence[float] | None = None
    ) -> Generator[list[Tube], None, None]:
        """The objects of one frame of a video after the other, each a ``Tube`` of that frame, as they are found.

        Frames are read once, and lend their features to those of the same window (``SupportBank.window``); no more than
        three windows are held, as the network sees them. Threads read the next one and encode the last masks while the
        network looks at what is between.

        Args:
            frames: uint8 RGB ``[H, W, 3]`` of one size, decoded as they are asked for.
            times: when each is shown, in seconds, by which the tracker forgets; that of a frame is looked up once the
                frame has come, so it may be ``times`` of the source that the frames come from. None counts frames.

        Raises:
            FrameError: a frame is of another kind, or of another size than those before it.
        """
        self.reset()
        causal = self.detector.uses_support and not self.support.look_ahead
        few = self._frames_at_once
        with ThreadPoolExecutor(1, thread_name_prefix="masks") as encoder:
            before: list[Future[list[Tube]]] = []
            for window in read_ahead(self._windows(frames, times), depth=1):
                ahead = self._enter(window)
                for start in range(0, len(window.images), few):
                    indices = range(start, min(start + few, len(window.images)))
                    found = self._advance(window, indices, ahead, causal)
                    now = [encoder.submit(sighting.tubes) for sighting in found]
                    yield from (tubes.result() for tubes in before)
                    before = now
            yield from (tubes.result() for tubes in before)

    def step(self, frame: np.ndarray, time: float | None = None) -> list[Tube]:
        """The objects of the next frame of a stream, each a ``Tube`` of this frame; ``reset`` starts a new stream.

        A frame is looked at with those before it. The frame, its time and the errors raised are those of ``track``.
        """
        (window,) = self._windows([frame], None if time is None else {self._next_frame: time})
        if window.new_scene:
            self._leave_scene()
        return self._advance(window, [0], {}, self.detector.uses_support)[0].tubes()

    def reset(self) -> None:
        """Forgets the video seen so far."""
        self.tracker.reset()
        self.support.reset()
        if self.scenes is not None:
            self.scenes.reset()
        self._memory = Memory()
        self._next_frame = 0  # to be read
        self.frame_size: tuple[int, int] | None = None

    def _precision(self) -> AbstractContextManager:
        """Mixed precision where it was asked for; else that of the caller, who may be training in it."""
        return torch.autocast(self.detector.mean.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    @property
    def _frames_at_once(self) -> int:
        return self.batch_size or (2 if self.detector.mean.device.type == "cpu" else 8)

    @property
    def _looks_ahead(self) -> bool:
        return self.detector.uses_support and self.support.look_ahead

    def _windows(
        self, frames: Iterable[np.ndarray], times: Sequence[float] | Mapping[int, float] | None
    ) -> Iterator[Window]:
        """Reads frames; no more of them at a time than the network must have seen to look at the first."""
        most = self.support.window if self._looks_ahead else self._frames_at_once
        window: Window | None = None
        for frame in read_each(frames) if isinstance(frames, Sequence) else frames:
            self._check(frame)
            begins = self.scenes is not None and self.scenes.begins(frame)
            if window and (begins or len(window.images) == most):
                yield window
                window = None
            window = window or Window(self._next_frame, [], [], (frame.shape[0], frame.shape[1]), begins)
            small = np.array(resize_image(frame, self.size))  # a copy: whoever yields a frame may fill its memory anew
            window.images.append(torch.from_numpy(small).permute(2, 0, 1))
            window.times.append(None if times is None else times[self._next_frame])
            self._next_frame += 1
        if window:
            yield window

    def _check(self, frame: np.ndarray) -> None:
        index = self._next_frame
        kind = f"{getattr(frame, 'dtype', '')} {type(frame).__name__} {list(getattr(frame, 'shape', ()))}".strip()
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise FrameError(f"frame {index} is a {kind}, but must be a uint8 RGB array [height, width, 3]")
        if 0 in frame.shape:
            raise FrameError(f"frame {index} has no pixels: {list(frame.shape)}")
        size = (frame.shape[0], frame.shape[1])
        self.frame_size = self.frame_size or size
        if size != self.frame_size:
            raise FrameError(
                f"frame {index} has {frame.shape[1]} x {frame.shape[0]} pixels, but those of the same video have "
                f"{self.frame_size[1]} x {self.frame_size[0]}; a new video begins with reset()"
            )

    def _leave_scene(self) -> None:
        self.tracker.forget()
        self.support.reset()

    @torch.inference_mode()
    def _enter(self, window: Window) -> dict[int, Frames]:
        """Fills the bank with frames from all over a window; returns their features, by their position in it."""
        if window.new_scene:
            self._leave_scene()
        enough = min(self.support.frames, self.support.window)
        fewer = len(self.support) > 0 and len(window.images) < enough  # than the scene has lent before
        if fewer or not self._looks_ahead:
            return {}
        wanted = uniform_frames(len(window.images), self.support.frames)
        taken, few = sorted(set(wanted)), self._frames_at_once
        with self._precision():
            parts = [self._extract(window, taken[i : i + few]) for i in range(0, len(taken), few)]
            ahead = dict(zip(taken, chain.from_iterable(part.split() for part in parts), strict=True))
            self.support.fill(Frames.join([ahead[i] for i in wanted]).maps)
            self._memory = self.detector.remember(self.support.maps)
        return ahead

    @torch.inference_mode()
    def _advance(
        self, window: Window, indices: Sequence[int], ahead: Mapping[int, Frames], causal: bool
    ) -> list[Sighting]:
        """The next frames, by their positions in a window; those ``ahead`` were extracted before."""
        with self._precision():
            new = [i for i in indices if i not in ahead]
            rest = dict(zip(new, self._extract(window, new).split() if new else (), strict=True))
            seen = Frames.join([ahead[i] if i in ahead else rest[i] for i in indices])
            if causal:  # frame by frame, so that a stream and a video give the same
                found = [self._detect_causally(frame) for frame in seen.split()]
            else:
                found = self.detector.detect(seen, self._memory, self.labels)
            return [
                self._associate(window, i, detections, size)
                for i, detections, size in zip(indices, found, seen.image_sizes, strict=True)
            ]

    def _extract(self, window: Window, indices: Sequence[int]) -> Frames:
        images = [window.images[i] for i in indices]
        stacked, device = pad_and_stack(images), self.detector.mean.device
        if device.type == "cuda":
            stacked = stacked.pin_memory()  # so that the copy need not be waited for
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        return self.detector.extract(stacked.to(device, non_blocking=True), sizes)

    def _detect_causally(self, frame: Frames) -> Detections:
        """A frame is looked at with those before it; the first has only itself."""
        first = len(self.support) == 0
        if first:
            self._put_in_bank(frame)
        (found,) = self.detector.detect(frame, self._memory, self.labels)
        if not first:
            self._put_in_bank(frame)
        return found

    def _put_in_bank(self, frame: Frames) -> None:
        if self.support.observe({level: x[0] for level, x in frame.maps.items()}):
            self._memory = self.detector.remember(self.support.maps)

    def _associate(self, window: Window, i: int, detections: Detections, resized: tuple[int, int]) -> Sighting:
        references = self.tracker.memory
        if references is None:
            scores = detections.scores.new_zeros(len(detections), 1)
        else:
            scores = self.detector.match(detections, references)
        identities = self.tracker.update(detections, scores, window.times[i])
        boxes, masks = detections.boxes.float().cpu() * _scale(resized, window.size), detections.masks.float().cpu()
        return Sighting(window.first + i, window.size, identities, boxes, masks, detections.classes.tolist())


def _scale(resized: tuple[int, int], original: tuple[int, int]) -> Tensor:
    x, y = original[1] / resized[1], original[0] / resized[0]
    return torch.tensor([x, y, x, y])
