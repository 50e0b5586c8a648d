"""From frames as they are on disk to what the network sees: one geometry for all frames of a clip."""

from collections.abc import Sequence

import albumentations as A
import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes

from compfeat.structures import FrameTarget


def fit(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) of a frame scaled to fit into ``size`` = (width, height), keeping its ratio."""
    scale = min(size[0] / width, size[1] / height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a uint8 image ``[H, W, 3]`` to fit into ``size`` = (width, height), keeping its ratio."""
    height, width = fit(image.shape[0], image.shape[1], size)
    if (height, width) == image.shape[:2]:
        return image
    shrinks = height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


class ClipTransform:
    """Resizes the frames of a clip and flips them all together.

    Args:
        size: (width, height) the frames are fitted into.
        flip: probability of a horizontal flip of the whole clip.
    """

    def __init__(self, size: tuple[int, int] = (640, 360), flip: float = 0.5) -> None:
        self.size = (size[0], size[1])
        self.flip = flip

    def __call__(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], rng: np.random.Generator
    ) -> tuple[list[Tensor], list[np.ndarray]]:
        """Transforms frames uint8 ``[H, W, 3]`` and masks uint8 ``[N_i, H, W]``, all of one clip, alike.

        Returns:
            images as uint8 tensors ``[3, h, w]`` and masks uint8 ``[N_i, h, w]``.
        """
        flip = A.HorizontalFlip(p=1.0) if rng.random() < self.flip else A.NoOp(p=1.0)
        height, width = fit(images[0].shape[0], images[0].shape[1], self.size)
        images = [flip.apply(resize_image(image, self.size)) for image in images]
        resized = []
        for stack in masks:
            small = [cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) for mask in stack]
            flipped = [flip.apply_to_mask(mask) for mask in small]
            resized.append(np.stack(flipped) if flipped else np.zeros((0, height, width), np.uint8))
        return [torch.from_numpy(np.ascontiguousarray(i)).permute(2, 0, 1).contiguous() for i in images], resized


def frame_target(masks: np.ndarray, labels: Sequence[int], track_ids: Sequence[int]) -> FrameTarget:
    """A training target from masks uint8 ``[N, H, W]``; objects without a pixel are left out.

    Boxes are recomputed from the masks and end after the last pixel: a mask of one pixel has a box of 1 x 1.
    """
    kept = torch.from_numpy(masks).bool().flatten(1).any(1)
    visible = torch.from_numpy(masks)[kept]
    boxes = masks_to_boxes(visible).float() if len(visible) else torch.zeros(0, 4)
    boxes[:, 2:] += 1
    return FrameTarget(
        boxes=boxes,
        labels=torch.tensor(labels, dtype=torch.int64)[kept],
        masks=visible,
        track_ids=torch.tensor(track_ids, dtype=torch.int64)[kept],
    )
