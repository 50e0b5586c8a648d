"""What goes with a network that is handed over: its model card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compfeat.evaluation.tube_ap import METRICS
from compfeat.experiments.record import Run
from compfeat.experiments.report import words
from compfeat.experiments.report.contents import described
from compfeat.experiments.report.markdown import as_table
from compfeat.experiments.runs import MeasuredRun
from compfeat.models.weights import of_coco

LAST = "last.ckpt"  # the checkpoint that train.py measures
SETTINGS = {
    "Optimizer": "module.optimizer._target_",
    "Learning rate": "module.optimizer.lr",
    "Clips a step that the learning rate is for, scaled linearly": "module.reference_batch",
    "Clips a step, on each device": "module.batch_size",
    "Batches whose gradients are added up": "trainer.accumulate_grad_batches",
    "Support frames of a clip": "data.sampler.support_frames",
    "Schedule": "module.scheduler._target_",
    "Epochs": "trainer.max_epochs",
    "Precision": "trainer.precision",
}
USE = """\
```python
from compfeat import VideoPredictor, open_frames

predictor = VideoPredictor.from_checkpoint("{folder}")
for tube in predictor.predict(open_frames("video.mp4")):
    print(tube.track_id, predictor.class_names[tube.label - 1], tube.score, tube.frames)
```

```sh
python scripts/predict.py ckpt={folder} video=video.mp4             # page.html, overlay.mp4, tracks.csv, results.json
python scripts/evaluate.py ckpt={folder} data=ytvis data.root=PATH  # tube AP and AR, on a data set of the same classes
python train.py weights={folder} data=ytvis data.root=PATH          # training that starts from these weights
```"""
PROGRAM = """\
A part of the network for frames of {width} × {height} pixels, traced: it runs without this project. Only load it from
where you trust it, for it is a program.

```python
import torch

program = torch.export.load("{folder}/detector.pt2").module()
{call}
```

- `frame`: `[1, 3, {height}, {width}]` uint8 RGB.{support}
- `found["maps"]`: the feature pyramid `[1, C, h, w]` by level, before attention; `found["refined"]`: after frame-level
  attention, where the network has it.
- `found["boxes"]`: `[A, 4]`, of every anchor the box (x1, y1, x2, y2) that is proposed, in pixels of the frame, neither
  clipped nor suppressed; `found["objectness"]`: `[A]`, its logit.
{onnx}- Largest difference from the network, on frames of noise: {differences}.
- **Not in it**: non-maximum suppression of the proposals, object-level attention, classes, masks, matching, tracker.
  How much these compute depends on what was found, which `torch.export` cannot trace through torchvision's
  `batched_nms` and the attention of RoIs level by level; the Python above does all of it."""
ONNX = """\
- `detector.onnx` is the same; `support["0"]` is its input `support_0`, `found["maps"]["0"]` its output `maps_0`.
"""
SUPPORT = """
- `support`: for the levels `"0"` to `"3"` the `found["maps"]` of {frames} other frames of the video, stacked to
  `[1, {frames}, C, h, w]`. For the first frames there are none yet: call with zeros, and use `maps` alone."""
LICENCE = """\
The code is under Apache-2.0. The licence of the weights depends on that of the data, and of the weights that the
training began with: **whoever hands this folder on states it here.**"""


def model_card(
    folder: str,
    checkpoint: Path,
    recipe: Mapping[str, Any],
    parameters: int,
    one: MeasuredRun | None,
    program: str | None = None,
) -> str:
    """The card in Markdown.

    Args:
        folder: the name of that which is handed over.
        checkpoint: which network it is.
        recipe: of its predictor, as ``read_checkpoint`` gives it.
        parameters: how many it has.
        one: the run that it comes from, where that is known; what was measured is told of its last checkpoint alone,
            with which it was.
        program: what is said of the traced program, if there is one, as ``about_program`` has it.
    """
    names = [category["name"] for category in recipe["categories"]]
    title = f"{one.run.name}, seed {one.run.seed}" if one else folder
    parts = [
        f"# {title}",
        "Finds the objects of a video: masks, boxes, classes and identities. A network of CompFeat, an implementation "
        "of *CompFeat: Comprehensive Feature Aggregation for Video Instance Segmentation* (Fu et al., AAAI 2021).",
        "## Use",
        "With CompFeat installed, beside this folder:",
        USE.format(folder=folder),
        "Loading it runs nothing: `model.safetensors` holds the weights and nothing else, `config.json` the parts of "
        "CompFeat they belong to, with sizes and classes, and is checked to name no others.",
        f"## Classes\n\n{len(names)}: {', '.join(map(str, names))}.",
        "## Network\n\n" + _listed(_network(recipe, parameters)),
    ]
    if one is None:
        parts.append(
            f"## Data, training and results\n\nNo run.json was found beside `{checkpoint.name}`: **what the network "
            "was trained on, how, and what it was measured at is to be stated here.**"
        )
    else:
        data = {"Data set": _data_set(one), **described(one)}
        if not _measured(one, checkpoint.name):
            data.pop("Measured on", None)
        parts += [
            "## Data\n\n" + _listed(data),
            "## Results\n\n" + _results(one, checkpoint.name),
            "## Training\n\n" + _listed(_training(one, checkpoint.name)),
        ]
    if program is not None:
        parts.append(f"## Without CompFeat: `detector.pt2`\n\n{program}")
    parts.append(f"## Licence\n\n{LICENCE}")
    return "\n\n".join(parts) + "\n"


def about_program(
    folder: str, size: tuple[int, int], support_frames: int | None, differences: Mapping[str, float]
) -> str:
    """What a card says of a traced program.

    Args:
        folder: that it is in.
        size: (width, height) of its frames.
        support_frames: how many it takes the maps of; None if it takes none.
        differences: by file the largest one between what it computes and what the network does.
    """
    return PROGRAM.format(
        folder=folder,
        width=size[0],
        height=size[1],
        call="found = program(frame, support)" if support_frames else "found = program(frame)",
        support=SUPPORT.format(frames=support_frames) if support_frames else "",
        onnx=ONNX if "detector.onnx" in differences else "",
        differences=", ".join(f"{value:.1g} (`{name}`)" for name, value in differences.items()),
    )


def _network(recipe: Mapping[str, Any], parameters: int) -> dict[str, str]:
    detector = recipe["detector"]
    backbone = detector["backbone"]
    told = {
        "Parameters": f"{parameters:,}",
        "Backbone": f"ResNet of {backbone.get('block')} blocks {backbone.get('layers')}, "
        f"feature pyramid of {backbone.get('out_channels')} channels",
    }
    for name, key in (("Frame-level attention", "frame_attention"), ("Object-level attention", "object_attention")):
        attention = detector.get(key) or {}
        kind = _short(attention.get("_target_"))
        halves = " and ".join(half for half in ("temporal", "spatial") if attention.get(half))
        told[name] = ", ".join(filter(None, ("" if kind == "DualAttention" else kind, halves))) or "none"
    return told | {
        "Track head": _short(_at(detector, "track_head._target_")) or "none",
        "Labels": _short(_at(recipe, "labels._target_")),
        "Support frames of a video": str(_at(recipe, "support.frames")),
        "Frames are fitted into": " × ".join(map(str, recipe.get("size", ()))) + " pixels",
    }


def _data_set(one: MeasuredRun) -> str:
    data = one.run.config.get("data", {})
    if data.get("generator"):
        return "the built-in one, drawn by CompFeat itself"
    folders = [Path(part["root"]).name for part in (data, data.get("coco") or {}) if part.get("root")]
    return " and ".join(f"folder {name}" for name in folders) or words.NOTHING


def _measured(one: MeasuredRun, checkpoint: str) -> bool:
    return bool(one.metrics) and checkpoint == LAST


def _results(one: MeasuredRun, checkpoint: str) -> str:
    """What was measured of this checkpoint, and not of another one of the run."""
    said = []
    if _measured(one, checkpoint):
        rows = (
            [evaluation, *(words.number(100 * metrics[name] if metrics[name] >= 0 else None) for name in METRICS)]
            for evaluation, metrics in one.metrics.items()
        )
        said.append("Tube AP and AR in points; a row is a way to measure, a file of CompFeat's `conf/evaluation`:")
        said.append(as_table(["", *METRICS], rows))
    elif one.metrics:
        said.append(f"The run was measured with `{LAST}`; this is `{checkpoint}`, of which those numbers say nothing.")
    if checkpoint == "best.ckpt" and one.run.best is not None:
        said.append(
            f"AP {words.number(100 * one.run.best)} on the videos of validation, by which this checkpoint was chosen "
            "among those of the run: lower is to be expected on others."
        )
    return "\n\n".join(said) or "It was not measured when it was trained: `python scripts/evaluate.py` does."


def _training(one: MeasuredRun, checkpoint: str) -> dict[str, str]:
    run = one.run
    settings = {what: _short(_at(run.config, key)) for what, key in SETTINGS.items()}
    return {
        "Checkpoint": f"`{checkpoint}`" + ("" if run.status == "finished" else f", **of a run that is {run.status}**"),
        "Started from": _start(run),
        **{what: told for what, told in settings.items() if told},
        "Seed": str(run.seed),
        "Steps": f"{run.steps:,}, in {run.seconds / 60:.1f} minutes and {run.peak_memory_gib:.1f} GiB",
        "Machine": words.machine(run.machine),
        "Commit": run.commit or words.NOTHING,
    }


def _listed(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {what}: {told}" for what, told in facts.items())


def _at(config: Any, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def _short(value: Any) -> str:
    """A class without its module; nothing where there is no value."""
    return "" if value is None else str(value) if isinstance(value, float) else str(value).rpartition(".")[2]


def _start(run: Run) -> str:
    """What a training began with, without the folders of whoever's machine it was."""
    weights, resume = (run.config.get(key) for key in ("weights", "resume"))
    if resume and run.weights is None:  # a checkpoint holds all of them
        return f"{_last_parts(resume)}, whose steps are counted, its minutes are not"
    if weights is None:
        return "random weights"
    return "COCO" if of_coco(weights) else _last_parts(weights)


def _last_parts(path: str) -> str:
    return "/".join(Path(path).parts[-3:])
