"""How far a training run is: a bar in a terminal, lines in a file or a pipe."""

import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar

from compfeat.progress import ProgressLines


def training_progress() -> ProgressBar:
    """The progress bar that suits where stderr goes."""
    return RichProgressBar(console_kwargs={"stderr": True}) if sys.stderr.isatty() else TrainingLines()


class TrainingLines(ProgressBar):
    """Prints ``ProgressLines`` of the steps of the whole run and of the videos of each validation."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._steps: ProgressLines | None = None
        self._videos: ProgressLines | None = None

    def disable(self) -> None:
        """Lightning calls this on every process but the first."""
        self._enabled = False

    def enable(self) -> None:
        """The opposite of ``disable``."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._steps = self._lines("training", trainer.estimated_stepping_batches, "steps", trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any) -> None:
        if self._steps is not None and trainer.global_step > self._steps.done:

            def note() -> str:
                shown = self.get_metrics(trainer, pl_module)
                values = (f"{name} {value:.3g}" for name, value in shown.items() if isinstance(value, float))
                return f"epoch {trainer.current_epoch + 1}, {', '.join(values)}"

            self._steps.advance(trainer.global_step - self._steps.done, note)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._videos = self._lines("validation", sum(trainer.num_val_batches), "videos")

    def on_validation_batch_end(self, *batch: Any) -> None:
        if self._videos is not None:
            self._videos.advance()

    def _lines(self, description: str, total: int | float, unit: str, done: int = 0) -> ProgressLines | None:
        known = int(total) if 0 < total < float("inf") else None
        return ProgressLines(description, known, unit, done) if self._enabled else None
