"""What the commands do: joins config, data, network and trainer."""

import contextlib
import functools
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import hydra
import numpy as np
import pytorch_lightning as pl
import torch
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from compfeat.categories import coco_class_map
from compfeat.data.holdout import write_ids
from compfeat.data.validation import SplitCheck
from compfeat.evaluation import METRICS, TubeEvaluation, to_results, write_results, zip_results
from compfeat.models.weights import load_pretrained
from compfeat.module import NonFiniteLoss
from compfeat.predictor import VideoPredictor
from compfeat.video import Camera, open_frames, write_video
from compfeat.visualize import contact_sheet, draw_clip, draw_tubes, overlay, worth_drawing

CONF = Path(__file__).resolve().parents[1] / "conf"
NOISE = (  # what libraries say that no user of this project can or should act on
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r".*`tensorboardX` has been removed as a dependency",
    r"Experiment logs directory",  # of a run, which holds Hydra's files from the beginning
    r"You have overridden `transfer_batch_to_device`",
    r"The 'val_dataloader' does not have many workers",
    r"The 'train_dataloader' does not have many workers",
    r"The number of training batches .* is smaller than the logging interval",  # counted over epochs here
    r"Checkpoint directory .* exists and is not empty",  # of a run done again
)
USER_ERRORS = (HydraException, OmegaConfBaseException, ValueError, OSError, NonFiniteLoss)
console = Console()


def launch(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Runs a task of this module under Hydra, and turns what a user can put right into one line and exit code 2.

    With ``HYDRA_FULL_ERROR=1`` in the environment the traceback is shown instead.
    """
    traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra must raise its errors, not print them
    if "WANDB_API_KEY" not in os.environ:
        os.environ.setdefault("WANDB_MODE", "offline")  # never a prompt
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    for library in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)

    @contextlib.contextmanager
    def one_line_errors() -> Iterator[None]:
        try:
            yield
        except USER_ERRORS as error:
            if traceback:
                raise
            print(f"error: {one_line(error)}", file=sys.stderr)
            sys.exit(2)

    @functools.wraps(task)
    def job(cfg: DictConfig) -> Any:
        with one_line_errors():  # before Hydra adds lines of its own
            if missing := sorted(OmegaConf.missing_keys(cfg)):
                wanted = " ".join(f"{key}=PATH" for key in missing)
                raise ValueError(f"{' and '.join(missing)} must be given: add {wanted}")
            return task(cfg)

    with one_line_errors():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()


def one_line(error: BaseException) -> str:
    """What an error says, without the frames of Hydra and OmegaConf around it."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    message = str(error).split("\n    full_key:")[0].split("\nConfig search path:")[0]
    return " ".join(message.split())


def train(cfg: DictConfig) -> float | None:
    """Trains a network as ``conf/train.yaml`` describes; returns the best validation AP, for sweeps."""
    pl.seed_everything(cfg.seed, workers=True)
    data = instantiate(cfg.data)
    data.prepare_data()
    data.setup()
    if data.held_out is not None:
        write_ids(data.held_out, Path(cfg.trainer.default_root_dir) / "holdout.txt")
    ground_truth = data.ground_truth

    cfg.model.categories = [{"id": c.id, "name": c.name} for c in data.categories]
    cfg.model.detector.num_classes = len(data.categories)
    if cfg.model.detector.backbone.frozen is None:
        cfg.model.detector.backbone.frozen = cfg.weights is not None
    recipe = OmegaConf.to_container(cfg.model, resolve=True)
    predictor = instantiate(recipe, _convert_="all")
    if cfg.weights is not None:
        source = str(cfg.weights)
        class_map = coco_class_map(data.categories) if source == "coco" or source.startswith("coco:") else None
        console.print(str(load_pretrained(predictor.detector, source.removeprefix("coco:"), class_map)))

    if not predictor.detector.uses_support:
        data.sampler.support_frames = 0  # not decoded in vain

    module = instantiate(cfg.module, _convert_="all")(predictor=predictor, recipe=recipe, ground_truth=ground_truth)
    unscored = {} if ground_truth else {"limit_val_batches": 0}
    trainer = instantiate(
        cfg.trainer, callbacks=_each(cfg.callbacks), logger=_each(cfg.logger), _convert_="all", **unscored
    )
    trainer.fit(module, data, ckpt_path=cfg.resume)

    checkpoint = trainer.checkpoint_callback
    if trainer.fast_dev_run or checkpoint is None or checkpoint.best_model_score is None:
        return None
    console.print(f"best AP {checkpoint.best_model_score:.4f}: {checkpoint.best_model_path}", soft_wrap=True)
    return float(checkpoint.best_model_score)


def evaluate(cfg: DictConfig) -> None:
    """Prints the metrics of a checkpoint as ``conf/evaluate.yaml`` describes; writes them and results.json."""
    predictor = _load(cfg)
    data = instantiate(cfg.data)
    data.prepare_data()
    data.setup("validate")
    if data.held_out is not None:
        write_ids(data.held_out, Path(cfg.output) / "holdout.txt")
    if predictor.categories != data.categories:
        raise ValueError(
            f"{cfg.ckpt} was trained for other classes ({_names(predictor.class_names)}) than the data has "
            f"({_names([c.name for c in data.categories])}): choose the data set it was trained on with data=..."
        )
    videos = data.val_dataloader()
    ids = [category.id for category in predictor.categories]
    results: list[dict] = []
    for video in track(videos, description="videos", console=console):
        results += to_results(video.id, len(video.frames), predictor.predict(video.frames), ids)
    path = Path(cfg.output) / "results.json"
    write_results(results, path)
    zip_results(path)
    if data.ground_truth is None:
        console.print(f"[bold red]no ground truth in this split: nothing can be scored[/]; results in {path}")
        return
    scores = TubeEvaluation(data.ground_truth, results)
    (path.parent / "metrics.json").write_text(json.dumps(scores.metrics))
    _print_table("tube AP and AR", {name: scores.metrics[name] for name in METRICS})
    _print_table("AP by class", scores.per_class)
    console.print(f"results: {path} and {path.with_suffix('.zip').name}", soft_wrap=True)


def predict(cfg: DictConfig) -> None:
    """Writes overlay.mp4 and results.json of one video as ``conf/predict.yaml`` describes."""
    predictor = _load(cfg)
    frames = open_frames(cfg.video)
    output = Path(cfg.output)
    if isinstance(frames, Camera):
        console.print(f"recording {output / 'overlay.mp4'} until Ctrl-C", soft_wrap=True)
        write_video(output / "overlay.mp4", _live(predictor, frames, cfg.score), frames.fps)
        return
    length = 0

    def advance(count: int) -> None:
        nonlocal length
        length += count
        bar.advance(task, count)

    with Progress(console=console) as bar:
        task = bar.add_task(frames.name, total=frames.length)
        tubes = predictor.predict(frames, advance)
    ids = [category.id for category in predictor.categories]
    write_results(to_results(1, length, tubes, ids), output / "results.json")
    drawn = worth_drawing(tubes, cfg.score)
    write_video(output / "overlay.mp4", overlay(frames, drawn, predictor.class_names), frames.fps)
    console.print(f"drawn: {len(drawn)} of {len(tubes)} objects found, {output / 'overlay.mp4'}", soft_wrap=True)


def check_data(cfg: DictConfig) -> None:
    """Names what is wrong with a data set as ``conf/check_data.yaml`` describes; exits with 1 when anything is."""
    data = instantiate(cfg.data)
    data.prepare_data()
    found = 0
    for folder, split in data.sources:
        try:
            check = SplitCheck(folder, split)
        except FileNotFoundError as error:
            if split != data.val_split or data.holdout is None:
                raise
            console.print(f"{error}; {data.holdout} training videos are held out instead", soft_wrap=True)
            continue
        for faults in track(check.run(), total=check.steps, description=str(check.path), console=console):
            found += len(faults)
            for fault in faults:
                console.print(f"error: {fault}", style="red", markup=False, highlight=False, soft_wrap=True)
        _print_statistics(check)
    if found:
        console.print(f"[bold red]{found} errors[/]")
        sys.exit(1)
    path = Path(cfg.output) / "clips.png"
    _write_clips(data, cfg.clips, path)
    console.print(f"[green]no errors[/]; sample clips as the network gets them: {path}", soft_wrap=True)


def _write_clips(data: Any, count: int, path: Path) -> None:
    """Draws clips evenly spread over an epoch, one a row, into a picture."""
    data.setup("fit")
    clips = data.train_clips()
    names = [category.name for category in data.categories]
    chosen = np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int).tolist()
    rows = [draw_clip(clips[0, index], names) for index in chosen]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), contact_sheet(rows, columns=1)[:, :, ::-1])


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
        _print_table("content", counts, "{:.0f}")
        _print_table("objects by class", dict(statistics.objects.most_common()), "{:d}")
    else:
        _print_table("content", dict(list(counts.items())[:4]), "{:.0f}")
        console.print("[bold red]NO GROUND TRUTH in this split[/]")


def _live(predictor: VideoPredictor, frames: Iterable[np.ndarray], score: float) -> Iterator[np.ndarray]:
    """Draws on the frames of an endless source as they come; ends at Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        for index, frame in enumerate(frames):
            seen = worth_drawing(predictor.step(frame), score)
            yield draw_tubes(frame, index, seen, predictor.class_names)


def _load(cfg: DictConfig) -> VideoPredictor:
    device = cfg.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    changes = {part: instantiate(cfg[part]) for part in ("tracker", "support") if cfg.get(part) is not None}
    return VideoPredictor.from_checkpoint(cfg.ckpt, device, **changes)


def _each(group: DictConfig | None) -> list[Any]:
    return [instantiate(entry) for entry in (group or {}).values() if entry is not None]  # name=null drops one


def _names(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _print_table(title: str, values: Mapping[str, float], form: str = "{:.4f}") -> None:
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("")
    table.add_column("value", justify="right")
    for name, value in values.items():
        table.add_row(name, "-" if value < 0 else form.format(value))
    console.print(table)
