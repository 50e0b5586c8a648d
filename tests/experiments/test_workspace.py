"""That the workspace compares what was measured."""

import json

from wandb_workspaces.reports.v2 import BarPlot, LinePlot, MediaBrowser

from compfeat.experiments.record import Run
from compfeat.experiments.runs import measured_runs
from compfeat.experiments.workspace import comparison_workspace


def test_a_workspace_shows_rows_curves_classes_and_videos(tmp_path):
    for name in ("baseline", "compfeat"):
        folder = tmp_path / f"{name}-0"
        Run(name=name, seed=0, config={}, page="chosen-by-an-agent" if name == "baseline" else None).write(folder)
        for way in ("scores", "cues"):
            (folder / way).mkdir()
            (folder / way / "metrics.json").write_text(json.dumps({"AP": 0.5}))
            groups = {"per_class": {"cat": {}, "dog": {}}, "per_size": {}, "per_length": {}}
            (folder / way / "breakdown.json").write_text(json.dumps({"overall": {}, **groups}))
        (folder / "overlays").mkdir()
        (folder / "overlays/video=3.mp4").touch()
    workspace = comparison_workspace("someone", "compfeat", measured_runs(tmp_path))
    rows, training, classes, videos = workspace.sections
    assert [panel.metrics[0].name for panel in rows.panels] == ["cues/AP", "scores/AP"]
    assert {panel.groupby_rangefunc for panel in (*rows.panels, *training.panels)} == {"stderr"}
    assert all(isinstance(panel, LinePlot) for panel in training.panels)
    assert {panel.x.name for panel in training.panels} == {"trainer/global_step", "train/images_seen"}
    assert [panel.metrics[0].name for panel in classes.panels] == [
        "cues/class/cat",
        "cues/class/dog",
        "scores/class/cat",
        "scores/class/dog",
    ]
    assert all(isinstance(panel, BarPlot) for panel in (*rows.panels, *classes.panels))
    (browser,) = videos.panels
    assert isinstance(browser, MediaBrowser) and browser.media_keys == ["val/video-3"]  # as the run's own page has it
    sent = workspace._to_model().model_dump_json()
    for page in ("chosen-by-an-agent", Run.read(tmp_path / "compfeat-0").id):  # whatever else is in the project
        assert sent.count(page) == 1
