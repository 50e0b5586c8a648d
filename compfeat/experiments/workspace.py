"""The workspace on Weights & Biases in which the rows of a table are compared."""

import json
from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces

from compfeat.experiments.dashboard import IMAGES, STEP, page_of
from compfeat.experiments.runs import MeasuredRun

LOSSES = ("loss", "loss_classifier", "loss_mask", "loss_track")
CURVES = ("val/AP", *(f"train/{name}" for name in LOSSES), "train/match_accuracy")


def comparison_workspace(entity: str, project: str, runs: Sequence[MeasuredRun]) -> workspaces.Workspace:
    """Runs of one row together: bars with standard errors, curves over steps and images, AP by class, videos.

    Args:
        entity, project: where the pages of the runs are.
        runs: those that are compared, whatever else is in the project; tell which evaluations, classes and videos
            there are.
    """
    row = panels.Config("name")
    together: Any = {"groupby": row, "groupby_aggfunc": "mean", "groupby_rangefunc": "stderr"}
    evaluations = list(dict.fromkeys(name for run in runs for name in run.metrics))
    classes = list(dict.fromkeys(name for run in runs for name in run.classes()))
    videos = list(dict.fromkeys(name.replace("=", "-") for run in runs for name in run.videos()))

    def bars(title: str, metric: str) -> panels.BarPlot:
        return panels.BarPlot(title=title, metrics=[panels.SummaryMetric(metric)], **together)

    def of_classes(way: str) -> list[panels.BarPlot]:
        return [bars(f"AP, {way}: {name}", f"{way}/class/{name}") for name in classes]

    def curves(metric: str, x: str) -> panels.LinePlot:
        return panels.LinePlot(title=f"{metric} over {x}", x=panels.Metric(x), y=[panels.Metric(metric)], **together)

    sections = [
        workspaces.Section("Rows", [bars(f"AP, {way}", f"{way}/AP") for way in evaluations], is_open=True),
        workspaces.Section("Training", [curves(name, x) for name in CURVES for x in (STEP, IMAGES)], is_open=True),
        workspaces.Section("Classes", [panel for way in evaluations for panel in of_classes(way)]),
        workspaces.Section(
            "Videos",
            [panels.MediaBrowser(title=name, media_keys=[f"val/{name}"], gallery_axis="run") for name in videos],
        ),
    ]
    pages = json.dumps([page_of(one.run) for one in runs])
    settings = workspaces.RunsetSettings(filters=f'Metric("ID") in {pages}', groupby=[workspaces.Config("name")])
    return workspaces.Workspace(entity, project, "CompFeat: rows compared", sections, runset_settings=settings)
