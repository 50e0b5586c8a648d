"""What there is to predict with where nothing was trained: torchvision's Mask R-CNN, which has learned COCO."""

from dataclasses import asdict
from typing import Any

from compfeat.categories import COCO_CATEGORIES


def coco_recipe() -> dict[str, Any]:
    """The recipe of a predictor into whose detector COCO's weights fit, as a checkpoint of ``train.py`` holds one.

    It finds COCO's 80 classes. Nothing has learned to tell objects apart: they are matched by the cues, and by how much
    their RoI features are alike.
    """
    return {
        "_target_": "compfeat.inference.predictor.VideoPredictor",
        "detector": {
            "_target_": "compfeat.models.detector.CompFeat",
            "backbone": {
                "_target_": "compfeat.models.backbone.resnet_fpn",
                "block": "bottleneck",
                "layers": [3, 4, 6, 3],
                "out_channels": 256,
                "frozen": True,
            },
            "num_classes": len(COCO_CATEGORIES),
            "track_head": {"_target_": "compfeat.models.track_heads.LikenessHead"},
        },
        "tracker": {
            "_target_": "compfeat.inference.tracker.OnlineTracker",
            "cues": {"_target_": "compfeat.inference.tracker.Cues", "iou": 4.0, "label": 2.0, "novelty": 0.5},
        },
        "categories": [asdict(category) for category in COCO_CATEGORIES],
        "support": {"_target_": "compfeat.inference.support.SupportBank"},
        "labels": {"_target_": "compfeat.models.labels.SoftLabels", "score_threshold": 0.5, "detections": 30},
        "size": [960, 540],  # nearer than 640x360 to the 800 pixels of height on which it was trained
    }
