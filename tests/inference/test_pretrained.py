"""That torchvision's Mask R-CNN predicts as it is: with its weights, random ones here, in its own file format."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from compfeat.commands.launch import CONF
from compfeat.inference.predictor import VideoPredictor
from compfeat.inference.pretrained import coco_recipe
from compfeat.inference.tracker import OnlineTracker
from compfeat.models.labels import HardLabels
from compfeat.models.track_heads import LikenessHead
from compfeat.models.weights import WeightsError


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    torch.manual_seed(0)
    network = MaskRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None), num_classes=91).eval()
    overwrite_eps(network, 0.0)  # as torchvision does where it loads its weights
    for norm in network.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.running_var.uniform_(0, 1).pow_(4)
            norm.weight.mul_(norm.running_var.sqrt())
            norm.running_var[0], norm.weight[0] = 1e-42, 1e-21  # of a dead channel
    path = tmp_path_factory.mktemp("coco") / "maskrcnn.pth"
    torch.save(network.state_dict(), path)
    return network, path


def test_its_classes_are_the_80_of_coco_each_with_its_own_rows(coco):
    network, path = coco
    predictor = VideoPredictor.from_checkpoint(f"coco:{path}", "cpu")
    names = predictor.class_names
    assert len(names) == 80 and names[:2] == ["person", "bicycle"] and names[-1] == "toothbrush"
    rows = predictor.detector.roi_heads.box_predictor.cls_score.weight
    label = 1 + names.index("mouse")
    assert torch.equal(rows[label], network.roi_heads.box_predictor.cls_score.weight[74])
    assert not predictor.detector.training and not predictor.detector.uses_support


def test_its_cues_are_those_of_the_config():
    cues = OmegaConf.to_container(OmegaConf.load(CONF / "tracker" / "cues.yaml"))["cues"]
    assert asdict(instantiate(coco_recipe()["tracker"]).cues) == asdict(instantiate(cues))


def test_its_maps_are_those_of_torchvision(coco):
    network, path = coco
    predictor = VideoPredictor.from_checkpoint(f"coco:{path}", "cpu")
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, theirs = predictor.detector.backbone(image), network.backbone(image)
    for level, wanted in theirs.items():
        torch.testing.assert_close(ours[level], wanted, atol=1e-3 * wanted.abs().max().item(), rtol=0)


def test_it_follows_what_it_finds(coco):
    _, path = coco
    labels = HardLabels(score_threshold=0.0, detections=5)
    predictor = VideoPredictor.from_checkpoint(f"coco:{path}", labels=labels, size=(128, 64), tracker=OnlineTracker())
    frame = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    first, second = predictor.step(frame), predictor.step(frame)
    assert [t.track_id for t in first] == [t.track_id for t in second] != []
    assert all(a.boxes[0] == pytest.approx(b.boxes[0], abs=1e-2) for a, b in zip(first, second, strict=True))


def test_objects_that_look_alike_match_and_those_that_do_not_are_new():
    head = LikenessHead(scale=10.0, novelty=0.6)
    noise = torch.randn(3, 16, 7, 7, generator=torch.Generator().manual_seed(0))
    features = noise + 1.5 + torch.eye(3, 16)[..., None, None] * 9  # what they share makes a cosine of 0.44
    embedded = head.embed(features)
    scores = head.compare(embedded[[2, 0]], torch.zeros(2, 4), torch.zeros(16, 8, 8), embedded[:2])
    assert scores.argmax(1).tolist() == [0, 1] and (scores[:, 0] == 0).all()
    assert scores[1, 1].item() == pytest.approx(10 * (1 - 0.6))
    assert head.compare(embedded[:0], torch.zeros(0, 4), torch.zeros(16, 8, 8), embedded[:2]).shape == (0, 3)


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at"):
        VideoPredictor.from_checkpoint(f"coco:{tmp_path / 'missing.pth'}")
    (tmp_path / "text.pth").write_text("x")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        VideoPredictor.from_checkpoint(f"coco:{tmp_path / 'text.pth'}")
