"""What a training run shows besides numbers, and when and how it is kept."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from compfeat.files import written_whole
from compfeat.findings.overlays import contact_sheet, overlay
from compfeat.images import write_image
from compfeat.media.sinks import write_video
from compfeat.quantities import Count, Natural, Share

FPS = 6.0  # of overlays that play: what is annotated of YouTube-VIS


class ValidationOverlays(pl.Callback):
    """Writes overlays of the first validation videos to ``overlays/`` of the run after each validation: a sheet of
    some frames of all of them, and each as an mp4 of its own, which dashboards get too.

    Args:
        videos: how many videos.
        frames: evenly spaced frames of each on the sheet.
        score: only tubes scored at least this are drawn.
    """

    def __init__(self, videos: Natural = 3, frames: Count = 5, score: Share = 0.3) -> None:
        self.videos = videos
        self.frames = frames
        self.score = score
        self._rows: list[np.ndarray] = []
        self._videos: dict[str, Path] = {}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._rows, self._videos = [], {}

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
        row: list[np.ndarray] = []

        def watched(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            for index, frame in enumerate(frames):
                if index in shown:
                    row.append(frame)
                yield frame

        path = Path(trainer.default_root_dir) / "overlays" / f"video={batch.id}.mp4"
        write_video(path, watched(overlay(batch.frames, tubes, pl_module.predictor.class_names)), FPS)
        self._videos[f"val/video-{batch.id}"] = path
        self._rows.append(contact_sheet(row, columns=self.frames))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._rows:
            return
        path = Path(trainer.default_root_dir) / "overlays" / f"epoch={trainer.current_epoch:02d}.png"
        write_image(path, contact_sheet(self._rows, columns=1))
        for logger in trainer.loggers:
            if hasattr(logger, "log_videos"):
                logger.log_videos(self._videos, trainer.global_step)


class CheckpointAfterStep(ModelCheckpoint):
    """Checkpoints after batches with which the optimizer stepped, and none in between: the gradients that batches of
    ``accumulate_grad_batches`` have added up so far are not in a checkpoint."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


class BestOfFolder(pl.Callback):
    """Lets a run that goes on know the best checkpoint that lies where it keeps its own: also where the folder has been
    moved, which Lightning takes for another one, and none that is gone, whose score Lightning would go by."""

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint["callbacks"].pop(callback.state_key, None)
            if state is not None and isinstance(callback, ModelCheckpoint):
                here = Path(str(callback.dirpath), Path(state["best_model_path"]).name)
                if here.is_file():
                    moved = {"dirpath": callback.dirpath, "best_model_path": str(here)}
                    checkpoint["callbacks"][callback.state_key] = state | moved


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their place, whole or not at all. Lightning writes them where temporary files go, and
    from another file system they are copied: a kill or a full disk on the way costs the older one too."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        content = BytesIO()
        torch.save(checkpoint, content)
        with written_whole(path) as partial:
            partial.write_bytes(content.getbuffer())
