"""A predictor whose network is made up."""

import torch

from compfeat.inference.predictor import VideoPredictor
from compfeat.inference.support import SupportBank
from compfeat.inference.tracker import OnlineTracker
from compfeat.models.detector import Frames
from compfeat.models.labels import SoftLabels
from compfeat.structures import Category, Detections


class OneObject(torch.nn.Module):
    """Finds one object in the left half of every frame, and remembers what it was given: frames are told by a pixel."""

    def __init__(self, uses_support=False):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.uses_support = uses_support
        self.extracted = []
        self.seen = []

    def extract(self, images, image_sizes):
        self.extracted.append(images[:, 0, 0, 0].tolist())
        return Frames(images, image_sizes, {"0": images[:, :1].float()})

    def remember(self, support):
        return support["0"][0, :, 0, 0, 0].tolist()

    def detect(self, frames, memory, labels):
        self.seen.append((frames.images[:, 0, 0, 0].tolist(), memory))
        return [
            Detections(
                boxes=torch.tensor([[0.0, 0.0, width / 2, float(height)]]),
                classes=torch.tensor([[0.125, 0.75]]),
                masks=torch.ones(1, 1, 28, 28),
                features=torch.ones(1, 2, 7, 7),
                frame=torch.ones(2, 3, 4),
            )
            for height, width in frames.image_sizes
        ]

    def match(self, detections, memory):
        return torch.tensor([[0.0] + [5.0] * len(memory)])


def predictor(uses_support=False, **options):
    categories = [Category(4, "cat"), Category(9, "dog")]
    options = {"support": SupportBank(), "labels": SoftLabels(), "size": (64, 32)} | options
    return VideoPredictor(OneObject(uses_support), OnlineTracker(), categories, **options)
