"""What a training run shows besides numbers."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger

from compfeat.media.overlays import contact_sheet, overlay
from compfeat.quantities import Count, Natural, Share


class ValidationOverlays(pl.Callback):
    """Writes overlays of the first validation videos to ``overlays/`` of the run after each validation, and to W&B.

    Args:
        videos: how many videos.
        frames: evenly spaced frames of each.
        score: only tubes scored at least this are drawn.
    """

    def __init__(self, videos: Natural = 3, frames: Count = 5, score: Share = 0.3) -> None:
        self.videos = videos
        self.frames = frames
        self.score = score
        self._rows: list[np.ndarray] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._rows = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or batch_idx >= self.videos:
            return
        shown = set(np.linspace(0, len(batch.frames) - 1, self.frames).round().astype(int).tolist())
        tubes = [tube for tube in outputs["tubes"] if tube.score >= self.score]
        drawn = overlay(batch.frames, tubes, pl_module.predictor.class_names)
        row = [frame for index, frame in enumerate(drawn) if index in shown]
        self._rows.append(contact_sheet(row, columns=self.frames))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._rows:
            return
        path = Path(trainer.default_root_dir) / "overlays" / f"epoch={trainer.current_epoch:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), contact_sheet(self._rows, columns=1)[:, :, ::-1])
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/overlays", [str(path)], step=trainer.global_step)
