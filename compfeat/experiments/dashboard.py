"""The page of a run on Weights & Biases, online or kept on disk to be synchronised later."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from compfeat.evaluation.breakdown import KINDS, Breakdown
from compfeat.evaluation.tube_ap import TubeEvaluation
from compfeat.experiments.record import Run

log = logging.getLogger(__name__)
STEP = "trainer/global_step"
IMAGES = "train/images_seen"
FACTS = ("commit", "data", "machine", "parameters")  # of a run, which its config does not tell


class Dashboard(Logger):
    """Tells Weights & Biases what a run is, what it learns and what it is measured at.

    The page is opened when there is something to tell, and goes on where it was left, under the id of the run. If
    Weights & Biases fails, now or halfway, that is said once, and the run goes on without.

    Args:
        save_dir: folder of the run; what is not sent is kept under ``wandb/`` there.
        project, entity: where the page belongs.
        name: of the page: row and seed.
        group: of the pages of one table.
        tags: by which pages are found.
    """

    def __init__(
        self,
        save_dir: str,
        project: str,
        name: str,
        group: str | None = None,
        tags: Sequence[str] = (),
        entity: str | None = None,
    ) -> None:
        super().__init__()
        self._folder = Path(save_dir)
        self._place: dict[str, Any] = {"project": project, "entity": entity}
        self._title: dict[str, Any] = {"name": name, "group": group, "tags": list(tags)}
        self._run: Run | None = None
        self._page: wandb.Run | None = None
        self._lost = False

    @classmethod
    def of(cls, run: Run, folder: Path) -> "Dashboard | None":
        """The dashboard that a run in a folder was trained with; None if it was not trained with one."""
        for settings in run.config.get("logger", {}).values():
            if settings and settings["_target_"] == f"{cls.__module__}.{cls.__name__}":
                own = {key: value for key, value in settings.items() if key != "_target_"}
                return cls(**own | {"save_dir": str(folder)}).about(run)
        return None

    def about(self, run: Run) -> "Dashboard":
        """Says which run it is that will be told of."""
        self._run = run
        return self

    @property
    def name(self) -> str:
        return str(self._place["project"])

    @property
    def version(self) -> str | None:
        return None if self._run is None else page_of(self._run)

    @property
    def save_dir(self) -> str:
        return str(self._folder)

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: the page has the whole config from the beginning."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._tell(lambda page: page.log({**metrics, STEP: step}))

    @rank_zero_only
    def log_videos(self, videos: Mapping[str, Path], step: int) -> None:
        """Puts mp4 files on the page, by name."""

        def tell(page: wandb.Run) -> None:
            media = {name: wandb.Video(str(path), format="mp4") for name, path in videos.items()}
            page.log({**media, STEP: step})

        self._tell(tell)

    @rank_zero_only
    def log_evaluation(self, name: str, scores: TubeEvaluation, errors: Breakdown) -> None:
        """Puts what one evaluation of the trained network has measured on the page."""

        def tell(page: wandb.Run) -> None:
            classes = wandb.Table(
                ["class", "AP", *KINDS],
                [[c, ap, *(errors.per_class[c][kind] for kind in KINDS)] for c, ap in scores.per_class.items()],
            )
            kinds = wandb.Table(["error", "AP to be gained"], [[kind, errors.overall[kind]] for kind in KINDS])
            page.config.update({"run": self._facts()}, allow_val_change=True)  # now with the data it was measured on
            page.log({f"{name}/classes": classes, f"{name}/errors": kinds})
            page.summary.update({f"{name}/{metric}": value for metric, value in scores.metrics.items()})
            page.summary.update({f"{name}/class/{c}": ap for c, ap in scores.per_class.items()})

        self._tell(tell)

    def close(self, failed: bool) -> None:
        """Ends the page, as that of a run that failed or finished; it can be opened again."""
        page, self._page = self._page, None
        if page is not None:
            self._guard(lambda: page.finish(exit_code=int(failed)))

    def _tell(self, tell: Callable[[wandb.Run], None]) -> None:
        def opened() -> None:
            self._page = self._page or self._open()
            tell(self._page)

        if not self._lost:
            self._guard(opened)

    def _open(self) -> wandb.Run:
        if self._run is None:
            raise ValueError("a dashboard tells of a run: say which with `about`")
        run = self._run
        page = wandb.init(
            **self._place,
            **self._title,
            id=page_of(run),
            resume="allow",
            job_type="train",
            dir=self._folder,
            config={**run.config, "run": self._facts()},
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )
        page.define_metric(STEP)
        page.define_metric(IMAGES)
        page.define_metric("*", step_metric=STEP)
        page.define_metric("val/AP", step_metric=STEP, summary="max")
        return page

    def _facts(self) -> dict[str, Any]:
        return {} if self._run is None else {fact: asdict(self._run)[fact] for fact in FACTS}

    def _guard(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception as error:  # whatever it is, it is not worth a training
            self._lost = True
            reason = " ".join(str(error).split())
            log.warning(f"Weights & Biases: logging failed and is off for the rest of this run: {reason}")


def page_of(run: Run) -> str:
    """The id of the page of a run."""
    return run.page or run.id


@contextmanager
def told(run: Run, loggers: Sequence[Logger]) -> Iterator[list[Dashboard]]:
    """The dashboards among the loggers of a run; whatever happens to it, their pages are ended afterwards."""
    run.page = os.environ.get("WANDB_RUN_ID", run.page)  # which an agent of a W&B sweep has chosen
    dashboards = [logger.about(run) for logger in loggers if isinstance(logger, Dashboard)]
    failed = True
    try:
        yield dashboards
        failed = False
    finally:
        for dashboard in dashboards:
            dashboard.close(failed)
