"""What the network makes of one whole frame, as a program that runs without this project (torch.export, ONNX).

It ends where the boxes to look at are chosen: from there on how much is computed depends on what was found. Two things
cannot be traced: torchvision's ``batched_nms`` of the proposals asks whether any are left, and object-level attention
goes through the pyramid levels from which RoIs were pooled. So proposals (NMS), RoI heads (object-level attention,
classes, masks), track head and tracker are not in the program.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

from compfeat.models.attention import Features
from compfeat.models.detector import CompFeat, Memory, support_maps
from compfeat.structures import pad_and_stack

FRAMES = 3  # random ones, on which a program is compared with the network
TOLERANCE = 1e-3  # of the largest value of an output: other kernels may round otherwise


class FrameProgram(nn.Module):
    """Backbone, feature pyramid, frame-level attention and the head of the region proposals on one frame.

    Args:
        detector: the network, in the mode for evaluation, on a CPU.
        size: (width, height) of the frames; they are padded here to the next multiples of 32.
        support_frames: T, of which frame-level attention gathers; others need another program.
    """

    def __init__(self, detector: CompFeat, size: tuple[int, int], support_frames: int) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)
        del self.detector.roi_heads, self.detector.track_head  # whose weights are not to be kept
        self.size = size
        self.support_frames = support_frames

    @property
    def gathers(self) -> bool:
        """Whether frame-level attention looks at support frames."""
        attention = self.detector.frame_attention
        return attention is not None and attention.attention.temporal is not None

    def forward(self, frame: Tensor, support: Features | None = None) -> dict[str, Any]:
        """
        Args:
            frame: ``[1, 3, H, W]`` uint8 RGB.
            support: ``[1, T, C, H / s, W / s]`` for the levels ``"0"`` to ``"3"``, s = 4, 8, 16, 32: the ``maps`` that
                were returned for T frames of the same video; only where the network ``gathers``.

        Returns:
            ``maps``: the feature pyramid ``[1, C, H / s, W / s]`` by level, which support frames are made of.
            ``refined``: the same after frame-level attention. ``boxes [A, 4]``: for every anchor of every level the box
            that is proposed, in pixels of the frame, neither clipped nor suppressed. ``objectness [A]``: its logit.
        """
        network = self.detector
        width, height = self.size
        seen = network.extract(pad_and_stack([frame[0]]), [(height, width)])
        gathered = network.frame_attention.embed(support) if network.frame_attention and support else {}
        refined = network.aggregate(seen, Memory(frame=gathered))
        levels = list(refined.maps.values())
        anchors = network.rpn.anchor_generator(ImageList(refined.images, refined.image_sizes), levels)
        logits, deltas = concat_box_prediction_layers(*network.rpn.head(levels))
        boxes = network.rpn.box_coder.decode(deltas, anchors)[:, 0]
        return {"maps": seen.maps, "refined": refined.maps, "boxes": boxes, "objectness": logits[:, 0]}

    def random_inputs(self, generator: torch.Generator) -> tuple[Any, ...]:
        """Frames of noise, and where the network gathers the maps of such frames: what ``forward`` takes."""
        width, height = self.size
        frame, *others = torch.randint(
            0, 256, (1 + self.support_frames, 1, 3, height, width), dtype=torch.uint8, generator=generator
        )
        if not self.gathers:
            return (frame,)
        seen = self.detector.extract_each([pad_and_stack([other[0]]) for other in others], [(height, width)])
        return frame, {level: x for level, x in support_maps(seen).items() if level in self.detector.support_pooling}


@torch.no_grad()
def save_program(program: FrameProgram, path: Path, onnx: Path | None = None) -> dict[str, float]:
    """Traces a program by ``torch.export`` and writes it, as ONNX too where that is wanted.

    Returns:
        for each file that was written the largest difference between its outputs and those of the network, on random
        frames.

    Raises:
        ArithmeticError: a file computes something else than the network.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = [program.random_inputs(generator) for _ in range(FRAMES)]
    wanted = [pytree.tree_leaves(program(*of_frame)) for of_frame in inputs]
    traced = torch.export.export(program, inputs[0], strict=False)
    traced.example_inputs = None  # nearly as large as the weights, and of no use to anybody
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found in the group")  # of weights that share memory
        torch.export.save(traced, path)
    loaded = torch.export.load(path).module()
    found = {path.name: [pytree.tree_leaves(loaded(*of_frame)) for of_frame in inputs]}
    if onnx is not None:
        _save_onnx(traced, onnx, program(*inputs[0]))
        found[onnx.name] = [_run_onnx(onnx, pytree.tree_leaves(of_frame)) for of_frame in inputs]
    return {name: _difference(name, outputs, wanted) for name, outputs in found.items()}


def _difference(name: str, found: Sequence[Sequence[Tensor]], wanted: Sequence[Sequence[Tensor]]) -> float:
    largest = 0.0
    for ours, networks in zip(found, wanted, strict=True):
        for x, y in zip(ours, networks, strict=True):
            difference = float((x - y).abs().max())
            if not difference <= TOLERANCE * max(1.0, float(y.abs().max())):
                raise ArithmeticError(f"{name} computes something else than the network: values differ by {difference}")
            largest = max(largest, difference)
    return largest


def _save_onnx(traced: ExportedProgram, path: Path, outputs: Mapping[str, Any]) -> None:
    maps = [f"{kind}_{level}" for kind in ("maps", "refined") for level in outputs[kind]]
    names = [*maps, "boxes", "objectness"]
    torch.onnx.export(traced, (), path, dynamo=True, output_names=names, external_data=False, verbose=False)


def _run_onnx(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return [torch.from_numpy(x) for x in session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))]
