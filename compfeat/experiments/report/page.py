"""The page of a report: one file of HTML that needs nothing else, and a folder of videos beside it."""

import shutil
from pathlib import Path
from urllib.parse import quote

from compfeat.evaluation.breakdown import KINDS
from compfeat.experiments.comparison import BASELINE
from compfeat.experiments.report import words
from compfeat.experiments.report.charts import curve_panels, gain_bars
from compfeat.experiments.report.contents import Contents
from compfeat.files import written_whole
from compfeat.html import rendered

VIDEOS = "report_videos"  # the folder beside the page


def write_page(contents: Contents, path: Path) -> None:
    """Writes the page, and copies the videos it shows into the folder beside it, which is replaced."""
    gains = [gained.mean for rows in contents.errors.values() for row in rows for gained in row.gains.values()]
    page = rendered(
        "compfeat.experiments.report",
        "page.html",
        report=contents,
        words=words,
        kinds=KINDS,
        most=max(gains, default=0),
        gain_bars=gain_bars,
        curves=[
            (logged.title, curve_panels(rows, BASELINE, logged.factor)) for logged, rows in contents.curves.items()
        ],
        source=lambda one, video: quote(f"{VIDEOS}/{one.folder.name}/{video}.mp4"),
    )
    with written_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")
    _copy_videos(contents, path.parent / VIDEOS)


def _copy_videos(contents: Contents, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for video, runs in contents.videos.items():
        for one in runs:
            copy = folder / one.folder.name / f"{video}.mp4"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(one.videos()[video], copy)
