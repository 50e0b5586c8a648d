"""The loaders of a run: clips to train on, whole videos to validate on and to predict."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler, Subset

from compfeat.data.annotations import VISAnnotations
from compfeat.data.sampler import ClipSampler
from compfeat.data.shapes import ShapesGenerator
from compfeat.data.transforms import ClipTransform
from compfeat.data.ytvis import VideoItem, YTVISClips, YTVISVideos
from compfeat.structures import Category, Clip, ClipBatch


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields ``(epoch, index)`` in an order that depends on seed and epoch alone, each rank its share.

    The epoch travels with the index because workers that live on would not see it otherwise. Every rank yields equally
    many: the order is cut to a multiple of ``ranks``.
    """

    def __init__(self, length: int, seed: int, rank: int, ranks: int) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the beginning of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.ranks

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator)
        for index in order[self.rank :: self.ranks][: len(self)].tolist():
            yield self.epoch, index


class VISDataModule(pl.LightningDataModule):
    """A data set in the YouTube-VIS layout.

    The trainer must run with ``use_distributed_sampler=False``: the loaders shard by themselves, validation by whole
    videos of which each rank gets every ``world_size``-th.

    Args:
        root: folder of the data set; with ``generator`` the folder under which it writes its own.
        train_split, val_split: names of the splits.
        size: (width, height) into which frames are fitted.
        flip: probability of flipping a training clip.
        sampler: chooses the frames of a clip.
        batch_size: clips a step on each device.
        workers: processes that load clips.
        seed: of the choice of clips and their transforms.
        generator: draws the data set first.
        only_videos: keep only the first so many videos of each split.
    """

    def __init__(
        self,
        root: str,
        train_split: str = "train",
        val_split: str = "valid",
        size: tuple[int, int] = (640, 360),
        flip: float = 0.5,
        sampler: ClipSampler | None = None,
        batch_size: int = 4,
        workers: int = 2,
        seed: int = 0,
        generator: ShapesGenerator | None = None,
        only_videos: int | None = None,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.train_split = train_split
        self.val_split = val_split
        self.transform = ClipTransform(size, flip)
        self.sampler = sampler or ClipSampler()
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.generator = generator
        self.only_videos = only_videos

    def prepare_data(self) -> None:
        if self.generator is not None:
            self.generator.write(self.root)

    def setup(self, stage: str | None = None) -> None:
        """Reads the annotations; FileNotFoundError or AnnotationError when they are missing or broken."""
        root = self.root if self.generator is None else self.generator.path(self.root)
        self.val_annotations = VISAnnotations.load(root, self.val_split)
        self.train_annotations = VISAnnotations.load(root, self.train_split)

    @property
    def categories(self) -> list[Category]:
        """The classes, in the order of their labels."""
        return self.val_annotations.categories

    @property
    def ground_truth(self) -> dict | None:
        """The annotations of the validation videos in the YouTube-VIS layout; None where the split has none."""
        if not self.val_annotations.has_annotations:
            return None
        content = json.loads(self.val_annotations.path.read_bytes())
        videos = content["videos"][: self.only_videos]
        ids = {video["id"] for video in videos}
        annotations = [entry for entry in content["annotations"] if entry["video_id"] in ids]
        return {"videos": videos, "annotations": annotations, "categories": content["categories"]}

    def train_dataloader(self) -> DataLoader[Clip]:
        videos = self.train_annotations.videos[: self.only_videos]
        clips = YTVISClips(self.train_annotations, videos, self.sampler, self.transform, self.seed)
        rank, ranks = self._rank()
        order = EpochSampler(len(clips), self.seed, rank, ranks)
        return DataLoader(
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

    def val_dataloader(self) -> DataLoader[VideoItem]:
        videos = YTVISVideos(self.val_annotations, self.val_annotations.videos[: self.only_videos])
        rank, ranks = self._rank()
        # Each video once: not padded to equal shares, which would count a video twice.
        return DataLoader(Subset(videos, range(rank, len(videos), ranks)), batch_size=None)

    def predict_dataloader(self) -> DataLoader[VideoItem]:
        return self.val_dataloader()

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _start_worker(index: int) -> None:
    cv2.setNumThreads(0)  # the workers are the parallelism
