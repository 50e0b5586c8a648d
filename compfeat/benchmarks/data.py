"""Opening and loading a data set of the size of YouTube-VIS, against a plain loader."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import masks_to_boxes

from compfeat.benchmarks.figures import report
from compfeat.benchmarks.synthetic import SPLIT, Scale, synthesise
from compfeat.data.annotations.reader import VISAnnotations
from compfeat.data.clips.epochs import EpochSampler
from compfeat.data.clips.sampler import ClipSampler
from compfeat.data.clips.transforms import ClipFlip, fit
from compfeat.data.clips.ytvis import YTVISClips
from compfeat.progress import tracked
from compfeat.quantities import Count, Side, Workers
from compfeat.structures import Clip, FrameTarget

GROUP = 10  # clips that one loader makes before it is the other's turn


class DataConfig(Protocol):
    """The keys of ``conf/benchmark/data.yaml``."""

    root: str
    scale: Scale
    size: tuple[Side, Side]
    repeats: Count
    clips: Count
    workers: Workers


def data(cfg: DataConfig) -> None:
    """Prints what ``conf/benchmark/data.yaml`` describes: a table, and the figures as json on the last line."""
    scale = Scale(**cfg.scale)  # type: ignore[arg-type]  # a mapping there
    size = (cfg.size[0], cfg.size[1])
    root = synthesise(scale, Path(cfg.root))
    figures = {"json_mb": (root / f"{SPLIT}.json").stat().st_size / 2**20}
    figures |= measure_opening(root, cfg.repeats)
    figures |= measure_clips(root, size, cfg.clips)
    figures |= measure_workers(root, size, cfg.workers)
    rows = []
    for name, key, form, required in (
        ("opening the annotations, first time (s)", "open_first_s", ".2f", "<= 1.5x"),
        ("opening them again (s)", "open_again_s", ".2f", "< 1 s"),
        ("resident memory that opening adds (MB)", "resident_mb", ".0f", "< 0.15x"),
        ("memory of its own of a worker after an epoch (MB)", "worker_mb", ".0f", "< 40 MB"),
        ("clips a second, one process", "clips_per_s", ".1f", ">= 2.5x"),
    ):
        plain, ours = figures[f"plain_{key}"], figures[key]
        ratio = f"{ours / plain:.2f}x" if plain else ""  # a few frames need no memory that could be measured
        rows.append([name, f"{plain:{form}}", f"{ours:{form}}", ratio, required])
    rows.append(["overlap of the masks, least", "", f"{figures['mask_iou_least']:.4f}", "", ">= 0.97"])
    rows.append(["difference of the pixels, mean, of 255", "", f"{figures['pixel_difference']:.2f}", "", ""])
    title = f"{scale.videos} videos, {scale.objects} objects"
    report(title, ["", "plain", "compfeat", "ratio", "required"], rows, figures)


class PlainClips(Dataset[Clip]):
    """The loader one writes first: the same clips as ``YTVISClips`` makes, each object and frame at full size.

    The json is in memory; frames and the masks of the current and the reference frame are decoded whole, then resized.
    """

    def __init__(self, root: Path, sampler: ClipSampler, size: tuple[int, int], seed: int) -> None:
        with (root / f"{SPLIT}.json").open() as file:
            content = json.load(file)
        self.images = root / SPLIT / "JPEGImages"
        self.videos = content["videos"]
        self.tracks: dict[int, list[dict]] = {video["id"]: [] for video in self.videos}
        for entry in content["annotations"]:
            self.tracks[entry["video_id"]].append(entry)
        self.sampler, self.size, self.seed = sampler, size, seed

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, item: tuple[int, int]) -> Clip:
        epoch, index = item
        rng = np.random.default_rng([self.seed, epoch, index])
        video = self.videos[index]
        tracks = self.tracks[video["id"]]
        annotated = [i for i in range(len(video["file_names"])) if any(t["segmentations"][i] for t in tracks)]
        frames = self.sampler.sample(len(video["file_names"]), annotated, rng)
        flips = rng.random() < 0.5
        support = [self._image(video["file_names"][i], flips) for i in frames.support]
        return Clip(
            current=self._image(video["file_names"][frames.current], flips),
            support=torch.stack(support),
            reference=self._image(video["file_names"][frames.reference], flips),
            target=self._target(video, tracks, frames.current, flips),
            reference_target=self._target(video, tracks, frames.reference, flips),
            video=str(video["id"]),
            name=f"{video['file_names'][0].split('/')[0]}/{frames.current}",
        )

    def _image(self, name: str, flips: bool) -> Tensor:
        image = cv2.cvtColor(np.asarray(cv2.imread(str(self.images / name))), cv2.COLOR_BGR2RGB)
        height, width = fit(image.shape[0], image.shape[1], self.size)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(np.ascontiguousarray(image[:, ::-1] if flips else image)).permute(2, 0, 1).contiguous()

    def _target(self, video: dict, tracks: Sequence[dict], frame: int, flips: bool) -> FrameTarget:
        height, width = fit(video["height"], video["width"], self.size)
        masks = []
        for entry in tracks:
            mask = rle.decode(rle.frPyObjects(entry["segmentations"][frame], video["height"], video["width"]))
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
            masks.append(torch.from_numpy(np.ascontiguousarray(mask[:, ::-1] if flips else mask)))
        stack = torch.stack(masks)
        kept = stack.bool().flatten(1).any(1)
        boxes = masks_to_boxes(stack[kept])
        boxes[:, 2:] += 1
        return FrameTarget(
            boxes=boxes,
            labels=torch.tensor([entry["category_id"] for entry in tracks])[kept],
            masks=stack[kept],
            track_ids=torch.tensor([entry["id"] for entry in tracks])[kept],
        )


def _our_clips(root: Path, size: tuple[int, int]) -> YTVISClips:
    annotations = VISAnnotations.load(root, SPLIT, root / "cache")
    return YTVISClips(annotations, range(len(annotations)), ClipSampler(), size, ClipFlip(), seed=0)


def measure_opening(root: Path, repeats: int) -> dict[str, float]:
    """Seconds and resident memory (MB) that ``json.load`` and the index take, each in a new process; medians."""
    plain, first, again = [], [], []
    for _ in tracked(range(repeats), "opening the annotations", repeats, "times"):
        plain.append(_in_new_process(_PLAIN, root))
        with tempfile.TemporaryDirectory(dir=root.parent) as cache:
            first.append(_in_new_process(_OURS, root, cache))
            again.append(_in_new_process(_OURS, root, cache))
    columns = {
        "plain_open_first": plain,
        "open_first": first,
        "plain_open_again": plain,
        "open_again": again,
    }
    figures = {f"{name}_s": median(seconds for seconds, _ in runs) for name, runs in columns.items()}
    figures["plain_resident_mb"] = median(memory for _, memory in plain)
    figures["resident_mb"] = max(median(memory for _, memory in runs) for runs in (first, again))
    return figures


_MEASURE = """
import json, sys
from pathlib import Path
from time import perf_counter
from compfeat.data.annotations.index import AnnotationIndex
def resident():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmRSS"].split()[0]) / 1024
before, began = resident(), perf_counter()
{opening}
seconds = perf_counter() - began
print(json.dumps([seconds, resident() - before]))
"""
_PLAIN = _MEASURE.format(opening=f"content = json.load(open(sys.argv[1] + '/{SPLIT}.json'))")
_OURS = _MEASURE.format(opening=f"content = AnnotationIndex.open(Path(sys.argv[1], '{SPLIT}.json'), Path(sys.argv[2]))")


def _in_new_process(code: str, *arguments: Any) -> tuple[float, float]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory = json.loads(done.stdout)
    return seconds, memory


def measure_clips(root: Path, size: tuple[int, int], count: int) -> dict[str, float]:
    """Clips a second of both loaders, taking turns in one thread, and how far their clips agree."""
    cv2.setNumThreads(0)
    loaders: tuple[Dataset[Clip], ...] = (PlainClips(root, ClipSampler(), size, seed=0), _our_clips(root, size))
    seconds = [0.0, 0.0]
    overlaps: list[float] = []
    differences: list[float] = []
    keys = list(islice(EpochSampler(len(loaders[1]), 0, 0, 1), count))  # type: ignore[arg-type]
    for start in tracked(range(0, count, GROUP), "loading clips", -(-count // GROUP), "groups"):
        group = keys[start : start + GROUP]
        for key in group:  # both find the files in the page cache
            loaders[0][key]
        made = []
        for loader, dataset in enumerate(loaders):
            began = perf_counter()
            made.append([dataset[key] for key in group])
            seconds[loader] += perf_counter() - began
        for plain, ours in zip(*made, strict=True):
            _require_same(plain, ours)
            for a, b in ((plain.target, ours.target), (plain.reference_target, ours.reference_target)):
                both = (a["masks"] & b["masks"]).sum((1, 2))
                overlaps += (both / (a["masks"] | b["masks"]).sum((1, 2))).tolist()
            differences.append((plain.current.float() - ours.current.float()).abs().mean().item())
    return {
        "plain_clips_per_s": count / seconds[0],
        "clips_per_s": count / seconds[1],
        "mask_iou": float(np.mean(overlaps)),
        "mask_iou_least": min(overlaps),
        "pixel_difference": float(np.mean(differences)),
    }


def _require_same(plain: Clip, ours: Clip) -> None:
    same = plain.name == ours.name and plain.support.shape == ours.support.shape
    for a, b in ((plain.target, ours.target), (plain.reference_target, ours.reference_target)):
        same = same and torch.equal(a["labels"], b["labels"]) and torch.equal(a["track_ids"], b["track_ids"])
    if not same:
        raise ValueError(f"the loaders made different clips: {plain.name} and {ours.name}")


class _MemoryOf(Dataset[tuple[int, float]]):
    """Makes the clips of a data set and tells the process and its private memory in MB instead."""

    def __init__(self, clips: Dataset[Clip]) -> None:
        self.clips = clips

    def __getitem__(self, item: tuple[int, int]) -> tuple[int, float]:
        self.clips[item]
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return os.getpid(), sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def measure_workers(root: Path, size: tuple[int, int], workers: int) -> dict[str, float]:
    """The private memory of a worker, in MB, when all workers together have made one epoch of clips; the largest."""
    makers: dict[str, Callable[[], Dataset[Clip]]] = {
        "worker_mb": lambda: _our_clips(root, size),
        "plain_worker_mb": lambda: PlainClips(root, ClipSampler(), size, seed=0),
    }
    figures = {}
    for name, make in makers.items():
        clips = make()
        order = EpochSampler(len(clips), 0, 0, 1)  # type: ignore[arg-type]
        loader = DataLoader(_MemoryOf(clips), batch_size=None, sampler=order, num_workers=workers)
        last = {pid: memory for pid, memory in tracked(loader, f"an epoch in {workers} workers", len(loader), "clips")}
        figures[name] = max(last.values())
    return figures
