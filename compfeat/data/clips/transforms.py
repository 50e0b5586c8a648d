"""From decoded frames and masks to what the network sees; albumentations lives here only."""

import os
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from compfeat.data.clips.frames import resize
from compfeat.quantities import Share, Slant, Turn
from compfeat.structures import FrameTarget

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the network for a newer version

import albumentations as A  # noqa: E402


def fit(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) of a frame scaled to fit into ``size`` = (width, height), keeping its ratio.

    A frame that stands upright fits into a size that does so too, as for MaskTrack R-CNN: the long side of the one
    bounds the long side of the other.
    """
    scale = min(max(size) / max(height, width), min(size) / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a uint8 image ``[H, W, 3]`` to fit into ``size`` = (width, height), keeping its ratio."""
    return resize(image, fit(image.shape[0], image.shape[1], size))


class ClipFlip:
    """Flips the frames of a clip horizontally, all of them or none.

    Args:
        probability: of a flip.
    """

    def __init__(self, probability: Share = 0.5) -> None:
        self.probability = probability
        self.flip = A.HorizontalFlip(p=1.0)

    def __call__(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], rng: np.random.Generator
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Flips frames uint8 ``[H, W, 3]`` and stacks of masks uint8 ``[N_i, H, W]``, all of one clip, alike."""
        if rng.random() >= self.probability:
            return list(images), list(masks)
        flipped = [np.stack([self.flip.apply_to_mask(m) for m in stack]) if len(stack) else stack for stack in masks]
        return [self.flip.apply(image) for image in images], flipped


class AffineMotion:
    """Moves a still image as if the camera had moved: rotation about the centre, translation and shear, at random.

    Each is drawn evenly between minus and plus its bound, translation and shear for both axes on their own; bounds of 0
    leave the image as it is. What comes in from outside the image is black, like the padding of a batch.

    Args:
        rotate: bound of the rotation, in degrees.
        translate: bound of the translation, as a fraction of the width and of the height.
        shear: bound of the shear, in degrees.
    """

    def __init__(self, rotate: Turn = 15.0, translate: Share = 0.1, shear: Slant = 10.0) -> None:
        self.affine = A.Affine(
            rotate=(-rotate, rotate),
            translate_percent={axis: (-translate, translate) for axis in "xy"},
            shear={axis: (-shear, shear) for axis in "xy"},
            p=1.0,
        )

    def __call__(self, image: np.ndarray, masks: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Moves an image uint8 ``[H, W, 3]`` and its masks uint8 ``[N, H, W]`` alike; the same shapes again."""
        self.affine.set_random_seed(int(rng.integers(2**32)))
        if not len(masks):
            return self.affine(image=image)["image"], masks
        moved = self.affine(image=image, masks=masks)
        return moved["image"], np.asarray(moved["masks"])


def to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """N images uint8 ``[H, W, 3]`` of one size as a tensor ``[N, 3, H, W]``."""
    planes = np.empty((len(images), 3, *images[0].shape[:2]), np.uint8)
    for image, into in zip(images, planes, strict=True):
        cv2.split(image, list(into))  # twice as fast as a transposed copy
    return torch.from_numpy(planes)


def frame_target(masks: np.ndarray, labels: Sequence[int], track_ids: Sequence[int]) -> FrameTarget:
    """A training target from masks uint8 ``[N, H, W]``; objects without a pixel are left out.

    Boxes are recomputed from the masks and end after the last pixel: a mask of one pixel has a box of 1 x 1.
    """
    x, y, width, height = np.array([cv2.boundingRect(mask) for mask in masks], np.float32).reshape(-1, 4).T
    kept = width > 0
    return FrameTarget(
        boxes=torch.from_numpy(np.stack([x, y, x + width, y + height], axis=-1)[kept]),
        labels=torch.from_numpy(np.array(labels, np.int64)[kept]),
        masks=torch.from_numpy(masks if kept.all() else masks[kept]),
        track_ids=torch.from_numpy(np.array(track_ids, np.int64)[kept]),
    )
