"""Finds what is wrong with a data set."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from hydra.utils import instantiate

from compfeat.commands import CheckFailed
from compfeat.commands.console import console, print_table
from compfeat.data.checks import SplitCheck
from compfeat.findings.overlays import contact_sheet, draw_clip
from compfeat.images import write_image
from compfeat.progress import tracked
from compfeat.quantities import Count, PathName, Seed


class CheckDataConfig(Protocol):
    """The keys of ``conf/check_data.yaml``."""

    clips: Count
    output: PathName
    seed: Seed
    data: Any


def check_data(cfg: CheckDataConfig) -> None:
    """Names what is wrong with a data set as ``conf/check_data.yaml`` describes.

    Raises:
        CheckFailed: something is.
    """
    data = instantiate(cfg.data)
    data.prepare_data()
    found = 0
    for folder, split in data.sources:
        check = SplitCheck(folder, split)
        found += tell_faults(check)
        _print_statistics(check)
    if found:
        raise CheckFailed(found)
    path = Path(cfg.output) / "clips.png"
    _write_clips(data, cfg.clips, path)
    console.print(f"no errors; sample clips as the network gets them: {path}", style="green", soft_wrap=True)


def tell_faults(check: SplitCheck) -> int:
    """Runs a check, and prints what is wrong as it is found; returns how much that is."""
    found = 0
    for faults in tracked(check.run(), str(check.path), check.steps, "entries"):
        found += len(faults)
        for fault in faults:
            console.print(f"error: {fault}", style="red", highlight=False, soft_wrap=True)
    return found


def _write_clips(data: Any, count: int, path: Path) -> None:
    """Draws clips evenly spread over an epoch, one a row, into a picture."""
    data.setup("fit")
    clips = data.train_clips()
    names = [category.name for category in data.categories]
    chosen = np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int).tolist()
    rows = [draw_clip(clips[0, index], names) for index in chosen]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, contact_sheet(rows, columns=1))


def _print_statistics(check: SplitCheck) -> None:
    statistics = check.statistics
    lengths = np.array(statistics.track_lengths or [0])
    counts = {
        "videos": statistics.videos,
        "videos that lack frames on disk": statistics.incomplete_videos,
        "frames": statistics.frames,
        "frames that are not on disk": statistics.missing_frames,
        "objects": len(statistics.track_lengths),
        "crowd regions": statistics.crowds,
        "frames an object is seen in, at least": lengths.min(),
        "in the median": np.median(lengths),
        "at most": lengths.max(),
    }
    console.print(f"frames in {check.image_root}", soft_wrap=True)
    if check.has_annotations:
        print_table("content", counts, "{:.0f}")
        print_table("objects by class", dict(statistics.objects.most_common()), "{:d}")
    else:
        print_table("content", dict(list(counts.items())[:4]), "{:.0f}")
        console.print("NO GROUND TRUTH in this split", style="bold red")
