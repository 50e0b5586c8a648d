"""From frames to tubes: the only inference loop there is; validation, the scripts and streams all run through it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import numpy as np
import torch
from hydra.errors import InstantiationException
from torch import Tensor

from compfeat.data.clips.sampler import uniform_frames
from compfeat.data.clips.transforms import resize_image
from compfeat.inference.checkpoint import CheckpointError, read_checkpoint
from compfeat.inference.paste import paste
from compfeat.inference.read_ahead import read_ahead
from compfeat.inference.support import SupportBank
from compfeat.inference.tracker import OnlineTracker
from compfeat.media.sources import Recording
from compfeat.models.detector import CompFeat, Frames, Memory
from compfeat.models.labels import Labels
from compfeat.models.speed import speed_up
from compfeat.quantities import Count, Side
from compfeat.structures import Category, Detections, Tube, pad_and_stack


class FrameError(ValueError):
    """A frame is not what a network can be shown; the message says which and what is expected."""


class Batch(NamedTuple):
    """Successive frames of a video, as they were read and as the network sees them.

    ``first`` is the index of the first, ``images [N, 3, H, W]`` are uint8 and padded, ``sizes`` (height, width) before.
    """

    first: int
    frames: list[np.ndarray]
    images: Tensor
    sizes: list[tuple[int, int]]


class Sighting(NamedTuple):
    """The detections of one frame that have an identity; boxes and mask probabilities in pixels of the whole frame."""

    frame: int
    size: tuple[int, int]
    identities: list[int | None]
    boxes: Tensor
    masks: Tensor
    classes: list[list[float]]

    def tubes(self) -> list[Tube]:
        """A tube of this frame for each of them, masks as RLE."""
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
        categories: the classes, in the order of their labels; as ``Category`` or as mappings ``{"id", "name"}``.
        support: holds the features of the support frames, for a network that uses them.
        labels: what is detected of an object, and how a tube comes to its class.
        size: (width, height) into which frames are fitted, keeping their ratio.
        batch_size: frames detected at once; None is 8 on a GPU and 2 on a CPU, where allocating the feature maps of
            more costs more than it saves.
        bf16: whether the network runs in mixed precision; boxes and scores are float32 all the same.
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
    ) -> None:
        self.detector = detector
        self.tracker = tracker
        self.categories = [c if isinstance(c, Category) else Category(**c) for c in categories]
        self.size = (size[0], size[1])
        self.support = support
        self.labels = labels
        self.batch_size = batch_size
        self.bf16 = bf16
        self.reset()

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str | torch.device = "cpu", **changes: Any) -> "VideoPredictor":
        """Rebuilds the predictor a training run was validated with, weights loaded, in a form that is only for
        inference: see `speed_up`.

        Args:
            path: a checkpoint written by ``train.py``, or a folder written by ``scripts/export.py``.
            device: where the network runs.
            changes: other arguments for the constructor, for instance ``tracker=OnlineTracker(Cues())``.

        Raises:
            FileNotFoundError, CheckpointError: as ``rebuild``.
        """
        predictor = rebuild(path, **changes)
        predictor.detector.to(device).eval()
        speed_up(predictor.detector, predictor.bf16)
        return predictor

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their labels."""
        return [category.name for category in self.categories]

    def predict(self, frames: Iterable[np.ndarray], progress: Callable[[int], Any] | None = None) -> list[Tube]:
        """The objects of one video, by descending score.

        Args:
            frames: uint8 RGB ``[H, W, 3]`` of one size, decoded as they are asked for. A recording, a sequence, or
                anything that starts anew with every ``iter()`` (and is read twice more then: to be counted, and for
                them) lends support frames from its whole length; an iterator only from what was read before. Masks are
                kept as RLE, so memory does not grow with resolution x length.
            progress: called after each batch with the number of its frames.

        Raises:
            FrameError: a frame is of another kind, or of another size than those before it.
        """
        self.reset()
        self._look_ahead(frames)
        tubes: dict[int, Tube] = {}
        for now in self._sightings(frames, progress):
            tubes.setdefault(now.track_id, Tube(now.track_id)).extend(now)
        if self.labels.votes:
            for tube in tubes.values():
                tube.vote()
        return sorted(tubes.values(), key=lambda tube: tube.score, reverse=True)

    def step(self, frame: np.ndarray) -> list[Tube]:
        """The objects of the next frame of a stream, each a ``Tube`` of this frame; ``reset`` starts a new stream.

        The frame and the errors raised are those of ``predict``.
        """
        (batch,) = self._batches([frame])
        return self._advance(batch)[0].tubes()

    def reset(self) -> None:
        """Forgets the video seen so far."""
        self.tracker.reset()
        self.support.reset()
        self._memory = Memory()
        self._causal = self.detector.uses_support
        self._ahead: dict[int, tuple[np.ndarray, Frames]] = {}  # the support frames that are yet to come, by index
        self._next_frame = 0  # to be read
        self._shape: tuple[int, ...] | None = None  # of the frames of this video

    def _precision(self) -> AbstractContextManager:
        """Mixed precision where it was asked for; else that of the caller, who may be training in it."""
        return torch.autocast(self.detector.mean.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    @property
    def _frames_at_once(self) -> int:
        return self.batch_size or (2 if self.detector.mean.device.type == "cpu" else 8)

    def _sightings(self, frames: Iterable[np.ndarray], progress: Callable[[int], Any] | None) -> Iterator[Tube]:
        """The objects of one frame after the other. Threads read the next frames and encode the masks of the last ones
        while the network looks at those between."""
        with ThreadPoolExecutor(1, thread_name_prefix="masks") as encoder:
            before: list[Future[list[Tube]]] = []
            for batch in read_ahead(self._batches(frames)):
                seen = [encoder.submit(sighting.tubes) for sighting in self._advance(batch)]
                yield from chain.from_iterable(tubes.result() for tubes in before)
                before = seen
                if progress is not None:
                    progress(len(batch.frames))
            yield from chain.from_iterable(tubes.result() for tubes in before)

    def _batches(self, frames: Iterable[np.ndarray]) -> Iterator[Batch]:
        source = iter(frames)
        while read := list(islice(source, self._frames_at_once)):
            first = self._next_frame
            self._check(read, range(first, first + len(read)))
            self._next_frame += len(read)
            images, sizes = self._resized(read)
            yield Batch(first, read, images, sizes)

    def _resized(self, frames: Sequence[np.ndarray]) -> tuple[Tensor, list[tuple[int, int]]]:
        images = [torch.from_numpy(resize_image(frame, self.size)).permute(2, 0, 1) for frame in frames]
        stacked = pad_and_stack(images)
        if self.detector.mean.device.type == "cuda":
            stacked = stacked.pin_memory()  # so that the copy to the GPU need not be waited for
        return stacked, [(image.shape[1], image.shape[2]) for image in images]

    @torch.inference_mode()
    def _look_ahead(self, frames: Iterable[np.ndarray]) -> None:
        if not (self._causal and self.support.look_ahead) or isinstance(frames, Iterator):
            return
        wanted = uniform_frames(_count(frames), self.support.frames)
        if taken := _take(frames, set(wanted)):
            self._check(list(taken.values()), list(taken))
            with self._precision():
                few, ahead = self._frames_at_once, list(taken.values())
                parts = (self._extract(*self._resized(ahead[i : i + few])) for i in range(0, len(ahead), few))
                seen = [frame for part in parts for frame in part.split()]
                self._ahead = dict(zip(taken, zip(taken.values(), seen, strict=True), strict=True))
                support = [self._ahead[index][1] for index in wanted if index in taken]
                self.support.fill(Frames.join(support).maps)
                self._memory = self.detector.remember(self.support.maps)
            self._causal = False

    @torch.inference_mode()
    def _advance(self, batch: Batch) -> list[Sighting]:
        with self._precision():
            seen = self._extract_next(batch)
            if self._causal:  # frame by frame, so that a stream and a video give the same
                found = [self._detect_causally(frame) for frame in seen.split()]
            else:
                found = self.detector.detect(seen, self._memory, self.labels)
            return [
                self._associate(batch.first + i, detections, frame.shape[:2], size)
                for i, (detections, frame, size) in enumerate(zip(found, batch.frames, batch.sizes, strict=True))
            ]

    def _check(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> None:
        for index, frame in zip(indices, frames, strict=True):
            kind = f"{getattr(frame, 'dtype', '')} {type(frame).__name__} {list(getattr(frame, 'shape', ()))}".strip()
            if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
                raise FrameError(f"frame {index} is a {kind}, but must be a uint8 RGB array [height, width, 3]")
            if 0 in frame.shape:
                raise FrameError(f"frame {index} has no pixels: {list(frame.shape)}")
            self._shape = self._shape or frame.shape
            if frame.shape != self._shape:
                raise FrameError(
                    f"frame {index} has {frame.shape[1]} x {frame.shape[0]} pixels, but those of the same video have "
                    f"{self._shape[1]} x {self._shape[0]}; a new video begins with reset()"
                )

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

    def _extract_next(self, batch: Batch) -> Frames:
        """The features of the next frames; those that were looked at before are not computed again."""
        known = [self._seen_ahead(index, frame) for index, frame in enumerate(batch.frames, start=batch.first)]
        new = [i for i, before in enumerate(known) if before is None]
        if len(new) == len(known):
            return self._extract(batch.images, batch.sizes)
        rest = iter(self._extract(batch.images[new], [batch.sizes[i] for i in new]).split() if new else ())
        return Frames.join([before or next(rest) for before in known])

    def _seen_ahead(self, index: int, frame: np.ndarray) -> Frames | None:
        before, features = self._ahead.pop(index, (None, None))
        same = before is not None and np.array_equal(before, frame)  # a source may err about the index of a frame
        return features if same else None

    def _extract(self, images: Tensor, sizes: list[tuple[int, int]]) -> Frames:
        return self.detector.extract(images.to(self.detector.mean.device, non_blocking=True), sizes)

    def _associate(
        self, index: int, detections: Detections, original: tuple[int, int], resized: tuple[int, int]
    ) -> Sighting:
        memory = self.tracker.memory
        if memory is None:
            scores = detections.scores.new_zeros(len(detections), 1)
        else:
            scores = self.detector.match(detections, memory)
        identities = self.tracker.update(detections, scores)
        boxes = detections.boxes.float().cpu() * _scale(resized, original)
        return Sighting(index, original, identities, boxes, detections.masks.float().cpu(), detections.classes.tolist())


def rebuild(path: str | Path, **changes: Any) -> VideoPredictor:
    """The predictor of a checkpoint with its weights, as it was trained; arguments as ``from_checkpoint`` has them.

    Raises:
        FileNotFoundError: there is no such file or folder, or a part of the folder is missing.
        CheckpointError: it is no checkpoint of this project, would build something that is no part of it, or describes
            what cannot be built or does not fit its weights.
    """
    recipe, weights = read_checkpoint(path)
    try:
        predictor: VideoPredictor = hydra.utils.instantiate({**recipe, **changes}, _convert_="all")
    except InstantiationException as error:
        raise CheckpointError(f"{path} describes what cannot be built: {' '.join(str(error).split())}") from error
    try:
        predictor.detector.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).split("\n")[1].strip()  # of a line for each tensor
        raise CheckpointError(f"{path}: its weights do not fit the network it describes: {first}") from error
    return predictor


def _count(frames: Iterable[np.ndarray]) -> int:
    if isinstance(frames, Recording):
        return frames.count()
    return len(frames) if isinstance(frames, Sequence) else sum(1 for _ in frames)


def _take(frames: Iterable[np.ndarray], indices: Set[int]) -> dict[int, np.ndarray]:
    if isinstance(frames, Recording):
        return frames.frames_at(indices)
    if isinstance(frames, Sequence):
        return {index: frames[index] for index in sorted(indices)}
    return {index: frame for index, frame in enumerate(frames) if index in indices}


def _scale(resized: tuple[int, int], original: tuple[int, int]) -> Tensor:
    x, y = original[1] / resized[1], original[0] / resized[0]
    return torch.tensor([x, y, x, y])
