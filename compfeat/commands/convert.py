"""Converts data sets of other forms into the YouTube-VIS layout, and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from compfeat.commands import CheckFailed
from compfeat.commands.check_data import tell_faults
from compfeat.commands.console import console
from compfeat.commands.launch import launch_named
from compfeat.data.annotations.reader import VISAnnotations
from compfeat.data.checks import SplitCheck
from compfeat.data.convert.coco import COCOVideos
from compfeat.data.convert.coco_video import to_coco_video
from compfeat.data.convert.davis import DAVISVideos
from compfeat.data.convert.labelled import LabelledVideos
from compfeat.data.convert.layout_writer import refuse_to_overwrite, write_split
from compfeat.data.convert.mots import MOTSVideos
from compfeat.evaluation.results import ResultsError, read_results, validate_results
from compfeat.files import write_json
from compfeat.progress import tracked
from compfeat.quantities import PathName


class ConvertConfig(Protocol):
    """The keys of ``conf/_convert.yaml``."""

    source: PathName
    output: PathName
    split: str


class COCOConfig(ConvertConfig, Protocol):
    """The keys of ``conf/convert/coco.yaml``."""

    images: str | None
    identity: str | None


class DAVISConfig(ConvertConfig, Protocol):
    """The keys of ``conf/convert/davis.yaml``."""

    classes: str | list[str]


class MOTSConfig(ConvertConfig, Protocol):
    """The keys of ``conf/convert/mots.yaml``."""

    images: str | None
    classes: list[str]


class COCOVideoConfig(ConvertConfig, Protocol):
    """The keys of ``conf/convert/coco_video.yaml``."""

    results: str | None


def coco(cfg: COCOConfig) -> None:
    """COCO json over frames of videos into the YouTube-VIS layout, as ``conf/convert/coco.yaml`` describes."""
    _convert(COCOVideos(Path(cfg.source), _path(cfg.images), cfg.identity), cfg)


def davis(cfg: DAVISConfig) -> None:
    """PNGs of identities into the YouTube-VIS layout, as ``conf/convert/davis.yaml`` describes.

    Raises:
        ValueError: several classes are given, and nothing says of which each object is.
    """
    classes = [cfg.classes] if isinstance(cfg.classes, str) else list(cfg.classes)
    if len(classes) != 1:
        raise ValueError("classes: give the one class of all objects, or FILE.json, which says of which each is")
    _convert(DAVISVideos(Path(cfg.source), classes[0]), cfg)


def mots(cfg: MOTSConfig) -> None:
    """Text files of MOTS into the YouTube-VIS layout, as ``conf/convert/mots.yaml`` describes."""
    _convert(MOTSVideos(Path(cfg.source), cfg.classes, _path(cfg.images)), cfg)


def coco_video(cfg: COCOVideoConfig) -> None:
    """The YouTube-VIS layout, or results, into COCO json with videos, as ``conf/convert/coco_video.yaml`` describes.

    Raises:
        FileExistsError: the output is there already.
        ResultsError: the results do not fit the annotations.
    """
    output = Path(cfg.output)
    refuse_to_overwrite(output)
    annotations = VISAnnotations.load(cfg.source, cfg.split)  # the frames need not be there
    results = None
    if cfg.results is not None:
        results = read_results(cfg.results)
        if problems := validate_results(results, annotations.ground_truth(range(len(annotations)))):
            raise ResultsError(f"{cfg.results} does not fit {annotations.path}: {problems[0]} ({len(problems)} in all)")
    content = to_coco_video(annotations, annotations.categories, results)
    write_json(output, content)
    objects = len({annotation["instance_id"] for annotation in content["annotations"]})
    counts = f"{len(content['videos'])} videos, {len(content['images'])} frames, {objects} objects"
    console.print(f"converted: {counts} in {output}", style="green", soft_wrap=True)


CONVERTERS: dict[str, Callable[[Any], None]] = {
    "coco": coco,
    "davis": davis,
    "mots": mots,
    "coco_video": coco_video,
}


def convert() -> None:
    """Launches the converter that the first argument names."""
    launch_named(CONVERTERS, "convert")


def _convert(source: LabelledVideos, cfg: ConvertConfig) -> None:
    """Writes the videos of a source in the YouTube-VIS layout and checks the result.

    Raises:
        CheckFailed: something is wrong with it.
    """
    output = Path(cfg.output)
    refuse_to_overwrite(output / cfg.split)
    if output.resolve().is_relative_to(Path(cfg.source).resolve()):
        raise ValueError(f"the output {output} is in the source, into which nothing is written: give another output")
    videos = list(tracked(source, f"reading {cfg.source}", len(source), "videos"))
    write_split(videos, source.categories, output, cfg.split)
    check = SplitCheck(output, cfg.split)
    found = tell_faults(check)
    statistics = check.statistics
    classes = ", ".join(f"{name} {count}" for name, count in statistics.objects.most_common())
    crowds = f", {statistics.crowds} crowd regions" if statistics.crowds else ""
    counts = f"{statistics.videos} videos, {statistics.frames} frames, {len(statistics.track_lengths)} objects"
    kinds = f"{len(statistics.objects)} of {len(source.categories)} classes ({classes})"
    console.print(f"converted: {counts} of {kinds}{crowds} in {output / cfg.split}", style="green", soft_wrap=True)
    if found:
        raise CheckFailed(found)


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)
