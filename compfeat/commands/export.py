"""Hands over a trained network."""

from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from compfeat.commands.console import console
from compfeat.experiments.card import about_program, model_card
from compfeat.experiments.run_folder import run_folder
from compfeat.experiments.runs import MeasuredRun
from compfeat.files import folder_written_whole
from compfeat.inference.checkpoint import read_checkpoint, rebuild, write_folder
from compfeat.models.frame_program import FrameProgram, save_program
from compfeat.quantities import PathName, Side

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class ExportConfig(Protocol):
    """The keys of ``conf/export.yaml``."""

    ckpt: PathName
    output: PathName
    exported: tuple[Side, Side] | None
    onnx: bool


def export(cfg: ExportConfig) -> None:
    """Writes the folder in which a network is handed over, as ``conf/export.yaml`` describes; whole or not at all.

    Raises:
        ValueError: something stands where the folder is to be, or ONNX is asked for and cannot be written.
        FileNotFoundError, CheckpointError: as ``rebuild``.
    """
    output = Path(cfg.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir()) or output.samefile(".")):
        raise ValueError(f"{output} is there already: move it away, or give another output=FOLDER")
    if cfg.onnx:
        _require_onnx(cfg.exported)
    recipe, weights = read_checkpoint(cfg.ckpt)
    predictor = rebuild(cfg.ckpt)  # what cannot be loaded is not handed over
    run = MeasuredRun.read(run_folder(Path(cfg.ckpt).resolve()))
    name = output.resolve().name
    with folder_written_whole(output) as folder:
        write_folder(folder, recipe, weights)
        program = None
        if cfg.exported is not None:
            width, height = cfg.exported
            traced = FrameProgram(predictor.detector.eval(), (width, height), predictor.support.frames)
            differences = save_program(traced, folder / "detector.pt2", folder / "detector.onnx" if cfg.onnx else None)
            gathered = predictor.support.frames if traced.gathers else None
            program = about_program(name, (width, height), gathered, differences)
            for file, value in differences.items():
                console.print(
                    f"{file}: differs by {value:.1g} at most from the network, on random frames", soft_wrap=True
                )
        parameters = sum(value.numel() for value in predictor.detector.parameters())
        card = model_card(name, Path(cfg.ckpt), recipe, parameters, run, program)
        (folder / "README.md").write_text(card, encoding="utf-8")
    console.print(f"handed over: {output}; its README.md leaves the licence of the weights to you", soft_wrap=True)


def _require_onnx(exported: tuple[int, int] | None) -> None:
    if exported is None:
        raise ValueError("onnx=true: a program is of frames of one size, add exported=[WIDTH,HEIGHT]")
    if missing := [package for package in ONNX_PACKAGES if find_spec(package) is None]:
        raise ValueError(f"onnx=true needs {', '.join(missing)}: pip install -e '.[onnx]'")
