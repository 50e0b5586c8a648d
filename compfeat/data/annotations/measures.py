"""Masks as the entries of an annotation file have them: in json, with their boxes and areas."""

from collections.abc import Sequence
from typing import Any

from pycocotools import mask as rle

from compfeat.masks import json_rle
from compfeat.structures import RLE


def measured(mask: RLE) -> dict[str, Any]:
    """A mask as COCO has it in an annotation, with its box [x, y, width, height] and area in pixels."""
    return {"segmentation": json_rle(mask), "bbox": rle.toBbox(mask).tolist(), "area": int(rle.area(mask))}


def measured_track(masks: Sequence[RLE | None]) -> dict[str, list]:
    """The masks of a track as YouTube-VIS has them: lists of what is ``measured``, None in frames without a mask."""
    frames = [{} if mask is None else measured(mask) for mask in masks]
    lists = {"segmentations": "segmentation", "bboxes": "bbox", "areas": "area"}
    return {plural: [frame.get(key) for frame in frames] for plural, key in lists.items()}
