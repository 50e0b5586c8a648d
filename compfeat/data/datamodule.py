"""The loaders of a run: clips to train on, whole videos to validate on."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import cv2
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader, Dataset, Subset

from compfeat.data.annotations.index import digest_of
from compfeat.data.annotations.layout import NotFound, find_annotations
from compfeat.data.annotations.reader import VISAnnotations
from compfeat.data.clips.coco import COCOPseudoClips
from compfeat.data.clips.epochs import ClipLoader, EpochSampler
from compfeat.data.clips.mixture import MixedClips
from compfeat.data.clips.sampler import ClipSampler
from compfeat.data.clips.transforms import ClipFlip
from compfeat.data.clips.ytvis import VideoItem, YTVISClips, YTVISVideos
from compfeat.data.errors import AnnotationError
from compfeat.data.holdout import hold_out, read_ids
from compfeat.data.shapes import ShapesGenerator
from compfeat.quantities import Count, Part, Seed, Share, Side, Workers
from compfeat.structures import Category, Clip, ClipBatch

log = logging.getLogger(__name__)

HELD_OUT = "held_out"
OTHER_CLIPS = 2**32  # added to a seed, which is less: other clips of the same videos


class VISDataModule(pl.LightningDataModule):
    """A data set in the YouTube-VIS format, in any layout that ``compfeat.data.annotations.layout`` knows.

    The trainer must run with ``use_distributed_sampler=False``: the loaders shard by themselves, validation by whole
    videos of which each rank gets every ``world_size``-th. Frames that are not on disk are left out with a warning:
    from the clips those frames, from validation and its ground truth the whole video. Nothing is written into ``root``.

    Args:
        root: folder of the data set; with ``generator`` the folder under which it writes its own.
        train_split, val_split: names of the splits; ``val_split`` None for none.
        test_split: name of the split for final numbers, on which nothing is chosen; None: they are those of validation.
        holdout: what to validate on where ``val_split`` is None, is not there or has no ground truth: so many of the
            training videos, chosen by ``compfeat.data.holdout``; None for nothing. Or the path of a list of ids of
            training videos, one a line, to validate on in any case.
        size: (width, height) into which frames are fitted.
        flip: probability of flipping a training clip.
        sampler: chooses the frames of a clip.
        batch_size: clips a step on each device.
        workers: processes that load clips.
        seed: of the choice of clips and their transforms.
        one_clip_per: what an epoch has one clip of: "video", or "frame", the paper's, each annotated one.
        generator: draws the data set first.
        coco: makes clips of still images to train on too; holds the arguments that are COCO's own. With ``generator``
            the stills are those that it draws.
        coco_share: of its clips among all clips of an epoch.
        videos_alone: clips of videos take the place of its clips: training without them takes as many steps.
        only_videos: keep only the first so many videos of each split; a generator draws no others, nor more stills.
        cache: folder under which indices of annotations are kept; by default ``$COMPFEAT_CACHE`` or
            ``~/.cache/compfeat``.

    Raises:
        ValueError: stills are to be left out of data that has none: as if one compared training with and without.
    """

    def __init__(
        self,
        root: str,
        train_split: str = "train",
        val_split: str | None = "valid",
        test_split: str | None = None,
        holdout: Count | str | None = None,
        size: tuple[Side, Side] = (640, 360),
        flip: Share = 0.5,
        sampler: ClipSampler | None = None,
        batch_size: Count = 4,
        workers: Workers = 2,
        seed: Seed = 0,
        one_clip_per: Literal["video", "frame"] = "video",
        generator: ShapesGenerator | None = None,
        coco: partial[COCOPseudoClips] | None = None,
        coco_share: Part = 0.5,
        videos_alone: bool = False,
        only_videos: Count | None = None,
        cache: str | None = None,
    ) -> None:
        super().__init__()
        if coco is None and videos_alone:
            raise ValueError("data.videos_alone leaves out still images, but there are none: data=ytvis_coco has them")
        self.root = Path(root)
        self.train_split = train_split
        self.val_split = val_split
        self.test_split = test_split
        self.holdout = holdout
        self.size = (size[0], size[1])
        self.flip = ClipFlip(flip)
        self.sampler = sampler or ClipSampler()
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.one_clip_per = one_clip_per
        self.generator = generator.first(only_videos) if generator and only_videos else generator
        self.coco = coco
        self.coco_share = coco_share
        self.videos_alone = videos_alone
        self.only_videos = only_videos
        self.cache = Path(cache) if cache else None
        self._order: EpochSampler | None = None
        self._resumed: dict[str, int] = {}

    @property
    def folder(self) -> Path:
        """Where the data set is."""
        return self.root if self.generator is None else self.generator.path(self.root)

    @property
    def sources(self) -> list[tuple[Path, str]]:
        """The (folder, split) of all annotations: training, validation where it has a split, still images."""
        splits = dict.fromkeys((self.folder, split) for split in (self.train_split, self._own_split) if split)
        return [*splits, *([self._stills] if self.coco else [])]

    @property
    def _stills(self) -> tuple[Path, str]:
        assert self.coco is not None
        stills = self.coco.keywords
        return Path(stills["root"]) if self.generator is None else self.folder, stills["split"]

    def prepare_data(self, stage: str | None = None) -> None:
        """Draws the splits of the built-in data set that are not there yet, of those which ``setup`` then reads."""
        if self.generator is not None:
            splits = [self.val_split]
            if stage in (None, "fit") or self.val_split is None or isinstance(self.holdout, str):
                splits += [self.train_split, self._stills[1] if self.coco else None]
            self.generator.write(self.root, filter(None, splits))

    def choose_validation(self) -> None:
        """Chooses the videos to validate on, whether or not their frames are on disk; enough for ``ground_truth``.

        Sets ``val_annotations`` and ``val_videos`` (positions in them), and ``held_out``, the ids of the training
        videos that are validated on, or None where the split's own are.

        Raises:
            FileNotFoundError: annotations or the list of ids are not there.
            AnnotationError: annotations are broken, or there are too few videos to hold out from.
        """
        own = None
        if not isinstance(self.holdout, str) and self._own_split is not None:
            same = self._own_split == self.train_split
            own = self.train_annotations if same else VISAnnotations.load(self.folder, self._own_split, self.cache)
        self.held_out = self._held_out(own)
        if own is None or self.held_out is not None:
            self.val_annotations = self.train_annotations
            chosen: Sequence[int] = self.train_annotations.positions(self.held_out or [])
        else:
            self.val_annotations = own
            chosen = range(len(own))
        self.val_videos = list(chosen[: self.only_videos])

    def setup(self, stage: str | None = None) -> None:
        """Reads the annotations and chooses the videos.

        Sets what ``choose_validation`` does, and, for stage "fit" or None, ``train_videos``.

        Raises:
            FileNotFoundError: annotations, frames or the list of ids are not there.
            AnnotationError: annotations are broken or of other classes to train than to validate on, or there are too
                few videos to hold out from.
        """
        self.choose_validation()
        self.val_videos = self._complete(self.val_videos)
        if stage in (None, "fit"):
            self._check_classes()
            held = set(self.train_annotations.positions(self.held_out or []))
            kept = [position for position in range(len(self.train_annotations)) if position not in held]
            self.train_videos = kept[: self.only_videos]
            self._tell_missing_frames()

    @cached_property
    def train_annotations(self) -> VISAnnotations:
        """The annotations of the training split, read when they are needed first."""
        return VISAnnotations.load(self.folder, self.train_split, self.cache)

    @cached_property
    def _own_split(self) -> str | None:
        """``val_split``; None where it is not there, and training videos are held out in its place."""
        if self.val_split is not None:
            try:
                find_annotations(self.folder, self.val_split)
            except NotFound:
                if self.holdout is None or not self.folder.is_dir():
                    raise
                _warn(f"no split {self.val_split} in {self.folder}: {self._held_out_videos} are held out")
                return None
        return self.val_split

    @property
    def _held_out_videos(self) -> str:
        return f"the videos of {self.holdout}" if isinstance(self.holdout, str) else f"{self.holdout} training videos"

    def _held_out(self, own: VISAnnotations | None) -> list[int] | None:
        if isinstance(self.holdout, str):
            return read_ids(Path(self.holdout))
        if own is not None and own.has_annotations:
            return None
        if self.holdout is None and own is None:
            raise ValueError("there is nothing to validate on: set data.val_split or data.holdout")
        if own is not None:
            instead = "" if self.holdout is None else f"; {self._held_out_videos} are held out"
            _warn(f"NO GROUND TRUTH in {own.path}: nothing can be scored on the split {self.val_split}{instead}")
        return None if self.holdout is None else hold_out(self.train_annotations, self.holdout)

    def _complete(self, positions: Sequence[int]) -> list[int]:
        """The videos all of whose frames are on disk: those that a network can be measured on."""
        complete = [position for position in positions if self.val_annotations.is_complete(position)]
        if len(complete) < len(positions):
            _warn(
                f"{len(positions) - len(complete)} of {len(positions)} validation videos lack frames on disk and are "
                "left out: metrics are of the others; scripts/check_data.py names them"
            )
        if positions and not complete:
            raise AnnotationError(f"no validation video of {self.val_annotations.path} has all of its frames on disk")
        return complete

    def _check_classes(self) -> None:
        """A label is a position among the classes, so that these must be the same, in the same order."""
        trained, validated = ([c.name for c in a.categories] for a in (self.train_annotations, self.val_annotations))
        if trained != validated:
            raise AnnotationError(
                f"{self.train_annotations.path} and {self.val_annotations.path} have other classes, or the same in "
                f"another order of ids ({', '.join(trained)}; {', '.join(validated)}): give both the same categories"
            )

    def _tell_missing_frames(self) -> None:
        annotations = self.train_annotations
        missing = int(annotations.missing.sum())
        if missing:
            incomplete = sum(not annotations.is_complete(position) for position in range(len(annotations)))
            _warn(
                f"{missing} of {len(annotations.missing)} training frames, in {incomplete} videos, are not on disk and "
                "are left out; scripts/check_data.py names them"
            )

    def use_test_split(self) -> None:
        """Takes ``test_split``, where there is one, in the place of ``val_split``; before ``prepare_data``."""
        self.val_split = self.test_split or self.val_split

    @property
    def fingerprint(self) -> dict[str, str]:
        """A digest of the annotations by split: equal where those are, wherever they lie.

        Those of the still images are ``stills``, and ``held_out`` is which training videos are validated on; a test
        split that is not there, or not drawn yet, has none.
        """
        digests = {self.train_split: self.train_annotations.arrays.digest}
        if self.held_out is not None:
            digests[HELD_OUT] = hashlib.blake2b(str(sorted(self.held_out)).encode(), digest_size=16).hexdigest()
        elif self.val_split is not None:
            digests[self.val_split] = self.val_annotations.arrays.digest
        others = [self.test_split, "stills" if self.coco else None]
        return digests | self.digests(name for name in others if name and name not in digests)

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """As ``fingerprint``, of those named splits, and of ``stills``, that are on disk; needs no ``setup``."""
        found = {}
        for name in names:
            if name == HELD_OUT:
                continue  # by ``setup`` alone
            place = self._stills if name == "stills" and self.coco else (self.folder, name)
            with suppress(NotFound):
                found[name] = digest_of(find_annotations(*place))
        return found

    @property
    def categories(self) -> list[Category]:
        """The classes, in the order of their labels."""
        return self.val_annotations.categories

    @property
    def ground_truth(self) -> dict | None:
        """The annotations of the validation videos in the YouTube-VIS layout; None where the split has none."""
        return self.val_annotations.ground_truth(self.val_videos) if self.val_annotations.has_annotations else None

    def train_clips(self) -> Dataset[Clip]:
        """The clips to train on, those of videos first."""
        of_videos = partial(
            YTVISClips,
            self.train_annotations,
            self.train_videos,
            self.sampler,
            self.size,
            self.flip,
            one_per=self.one_clip_per,
        )
        clips = of_videos(self.seed)
        if self.coco is None:
            return clips
        if self.videos_alone:
            return MixedClips(clips, of_videos(self.seed + OTHER_CLIPS), self.coco_share, self.seed)
        pseudo_clips = self.coco(
            root=self._stills[0],
            categories=self.categories,
            support_frames=self.sampler.support_frames,
            size=self.size,
            flip=self.flip,
            seed=self.seed,
            cache=self.cache,
        )
        return MixedClips(clips, pseudo_clips, self.coco_share, self.seed)

    def train_dataloader(self) -> ClipLoader:
        clips = self.train_clips()
        count = len(clips)  # type: ignore[arg-type]
        rank, ranks = self._rank()
        _require_shares(count, ranks, "training clips")
        order = self._order = EpochSampler(count, self.seed, rank, ranks, **self._resumed)
        return ClipLoader(
            clips,
            batch_size=self.batch_size,
            sampler=order,
            collate_fn=ClipBatch.collate,
            num_workers=self.workers,
            worker_init_fn=_start_worker,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            drop_last=len(order) > self.batch_size,
        )

    def state_dict(self) -> dict[str, int]:
        """Where an interrupted run goes on: the epoch under way, and how many of its clips were trained on."""
        if self.trainer is None or self._order is None:
            return {}
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return {"begun": self._order.epoch, "done": batches * self.batch_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._resumed = state

    def val_dataloader(self) -> DataLoader[VideoItem]:
        videos = YTVISVideos(self.val_annotations, self.val_videos)
        rank, ranks = self._rank()
        _require_shares(len(videos), ranks, "validation videos")
        # Each video once: not padded to equal shares, which would count a video twice.
        return DataLoader(Subset(videos, range(rank, len(videos), ranks)), batch_size=None)

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _require_shares(count: int, ranks: int, what: str) -> None:
    """Told on every rank before they wait for each other: one without a share would leave the others waiting."""
    if 0 < count < ranks:
        raise ValueError(f"{count} {what} are too few for {ranks} processes: set trainer.devices={count}")


@rank_zero_only
def _warn(message: str) -> None:
    log.warning(message)


def _start_worker(index: int) -> None:
    cv2.setNumThreads(0)  # the workers are the parallelism
