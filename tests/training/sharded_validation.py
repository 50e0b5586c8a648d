"""Validates in so many processes with a network that finds something: python sharded_validation.py ROOT PROCESSES."""

import json
import sys

import numpy as np
import pytorch_lightning as pl
import torch
from pycocotools import mask as rle

from compfeat.data.datamodule import VISDataModule
from compfeat.masks import decode_mask
from compfeat.structures import Tube
from compfeat.training.module import VISModule


class Guess:
    """Stands in for a predictor: the true tubes of a video, each moved by a few pixels, some of a wrong class."""

    def __init__(self, data):
        self.detector = torch.nn.Linear(1, 1)
        self.categories = data.categories
        self.videos = {str(v.file_names[0]): v for v in (data.val_annotations[i] for i in data.val_videos)}

    def predict(self, frames):
        video = next(v for name, v in self.videos.items() if str(frames.paths[0]).endswith(name))
        rng = np.random.default_rng(video.id)
        return [self._moved(track, rng) for track in video.tracks]

    def _moved(self, track, rng):
        seen = [i for i, mask in enumerate(track.segmentations) if mask]
        shift, label = rng.integers(0, 6), track.label if rng.random() < 0.8 else 1 + track.label % 8
        moved = [np.roll(decode_mask(track.segmentations[i]), shift, axis=1) for i in seen]
        masks = [rle.encode(np.asfortranarray(mask)) for mask in moved]
        return Tube(track.id, seen, [(0, 0, 1, 1)] * len(seen), masks, [rng.random()] * len(seen), [label] * len(seen))


def main(root, processes):
    data = VISDataModule(root)
    data.setup("validate")
    module = VISModule(Guess(data), {}, None, None, batch_size=1, reference_batch=1, ground_truth=data.ground_truth)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        logger=False,
        use_distributed_sampler=False,
        enable_progress_bar=False,
    )
    trainer.validate(module, data, verbose=False)
    if trainer.is_global_zero:
        print(json.dumps({name: float(value) for name, value in trainer.callback_metrics.items()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
