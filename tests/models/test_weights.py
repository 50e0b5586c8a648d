import re
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.mask_rcnn import MaskRCNN
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import FrozenBatchNorm2d

from compfeat.models.backbone import resnet_fpn
from compfeat.models.weights import COCO, WeightsError, load_pretrained

CLASS_LOGITS = "roi_heads.box_predictor.cls_score.weight"
BOXES = "roi_heads.box_predictor.bbox_pred.weight"
MASK_LOGITS = "roi_heads.mask_predictor.mask_fcn_logits.bias"


def tiny(classes: int, **own: nn.Module) -> nn.Module:
    """A small Mask R-CNN of torchvision with so many classes besides background, and other modules of its own."""
    model = MaskRCNN(resnet_fpn("basic", [1, 1, 1, 1], 16, frozen=True), num_classes=classes + 1)
    overwrite_eps(model, 0.0)  # as torchvision does for its COCO weights
    for name, module in own.items():
        model.add_module(name, module)
    return model


@pytest.fixture(scope="module")
def source() -> dict[str, torch.Tensor]:
    """A state dict of four classes in which every value differs from a fresh one."""
    return {name: torch.randn_like(value.float()) for name, value in tiny(4).state_dict().items()}


@pytest.fixture
def offer(monkeypatch):
    """Makes a state dict the download of the COCO weights."""
    return lambda state: monkeypatch.setattr(MaskRCNN_ResNet50_FPN_Weights, "get_state_dict", lambda *_, **__: state)


def test_rows_of_shared_classes_are_copied_and_the_rest_is_as_it_was(source, offer):
    offer(source)
    model = tiny(2, track_head=nn.Linear(3, 2))
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    report = load_pretrained(model, "coco", {2: 3})
    state = model.state_dict()

    for name in (CLASS_LOGITS, MASK_LOGITS):
        assert torch.equal(state[name][[0, 2]], source[name][[0, 3]])
        assert torch.equal(state[name][1], fresh[name][1])
    assert torch.equal(state[BOXES][:4], source[BOXES][:4])
    assert torch.equal(state[BOXES][4:8], fresh[BOXES][4:8])
    assert torch.equal(state[BOXES][8:], source[BOXES][12:16])
    assert torch.equal(state["roi_heads.box_head.fc6.weight"], source["roi_heads.box_head.fc6.weight"])
    assert torch.equal(state["track_head.weight"], fresh["track_head.weight"])

    assert report.copied_rows == {0: 0, 2: 3}
    assert report.initialised == ["track_head.weight", "track_head.bias"]
    assert report.skipped == []
    assert len(report.loaded) == len(source) - 6  # weight and bias of three predictors
    assert str(report) == (
        f"weights from coco: loaded {len(source) - 6} tensors, predictor rows of 1 classes and background; "
        "initialised track_head (2); skipped nothing"
    )


def test_without_a_class_map_only_equal_label_sets_are_loaded(source, offer):
    offer(source)
    model = tiny(4)
    report = load_pretrained(model, "coco")
    assert all(torch.equal(value, source[name]) for name, value in model.state_dict().items())
    assert (len(report.loaded), report.copied_rows) == (len(source), {})

    model = tiny(2)
    assert load_pretrained(model, "coco").copied_rows == {0: 0}
    assert torch.equal(model.state_dict()[CLASS_LOGITS][0], source[CLASS_LOGITS][0])


def test_old_names_and_the_counters_of_batch_norm_are_understood(source, offer):
    old = {}
    for name, value in source.items():
        name = re.sub(r"(_blocks\.\d)\.0\.", r"\1.", name).replace("rpn.head.conv.0.0", "rpn.head.conv")
        name = re.sub(r"mask_head\.(\d)\.0", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}", name)
        old[name] = value
    assert len(set(old) - set(source)) == 26  # 8 pyramid, 1 proposal and 4 mask layers
    old["backbone.body.bn1.num_batches_tracked"] = torch.tensor(7)
    offer(old)
    model = tiny(4)
    report = load_pretrained(model, "coco")
    assert (len(report.loaded), report.skipped, report.initialised) == (len(source), [], [])
    assert all(torch.equal(value, source[name]) for name, value in model.state_dict().items())


def test_files_of_state_dicts_and_of_training_runs(source, tmp_path):
    other = {name: value for name, value in source.items() if "fc7" not in name}
    other["roi_heads.box_head.fc6.bias"] = torch.zeros(3)
    other["decoder.weight"] = torch.zeros(1)
    torch.save(other, tmp_path / "plain.pth")
    torch.save({"state_dict": {f"detector.{n}": v for n, v in other.items()}, "epoch": 3}, tmp_path / "run.ckpt")
    for file in ("plain.pth", "run.ckpt"):
        model = tiny(4)
        report = load_pretrained(model, tmp_path / file)
        assert torch.equal(model.state_dict()[CLASS_LOGITS], source[CLASS_LOGITS])
        assert report.skipped == ["roi_heads.box_head.fc6.bias", "decoder.weight"]
        assert set(report.initialised) == {f"roi_heads.box_head.{n}" for n in ("fc6.bias", "fc7.weight", "fc7.bias")}


def test_group_norms_are_not_taken_for_batch_norms_without_statistics(tmp_path):
    path = tmp_path / "scratch.pth"
    trained, again = (MaskRCNN(resnet_fpn("basic", [1, 1, 1, 1], 16, frozen=False), num_classes=5) for _ in range(2))
    torch.save(trained.state_dict(), path)
    with pytest.raises(WeightsError, match="group norms.*frozen=false model.detector.backbone.norm=group"):
        load_pretrained(tiny(4), path)
    assert load_pretrained(again, path).initialised == []


def test_weights_of_another_backbone_are_refused_which_would_leave_frozen_layers_as_they_began(source, offer):
    offer(source)
    deeper = MaskRCNN(resnet_fpn("basic", [2, 1, 1, 1], 16, frozen=True), num_classes=5)
    with pytest.raises(WeightsError, match="coco has another backbone than this model: recipe=small"):
        load_pretrained(deeper, "coco")


def test_errors_are_one_line(source, offer, monkeypatch, tmp_path):
    def fails(*_, **__):
        raise URLError("Name or service\nnot known")

    monkeypatch.setattr(MaskRCNN_ResNet50_FPN_Weights, "get_state_dict", fails)
    with pytest.raises(WeightsError) as caught:
        load_pretrained(tiny(1), "coco")
    reason = "<urlopen error Name or service not known>; give its file as coco:PATH"
    assert str(caught.value) == f"could not download {COCO.url}: {reason}"
    with pytest.raises(FileNotFoundError, match="no weights at .*gone.pth"):
        load_pretrained(tiny(1), tmp_path / "gone.pth")
    (tmp_path / "noise.pth").write_bytes(b"noise")
    with pytest.raises(WeightsError, match="noise.pth cannot be read as weights"):
        load_pretrained(tiny(1), tmp_path / "noise.pth")
    for content in ({"state_dict": []}, {"state_dict": {1: torch.zeros(1)}}, {"weights": "all"}):
        torch.save(content, tmp_path / "else.pth")
        with pytest.raises(WeightsError, match="else.pth is not a state dict"):
            load_pretrained(tiny(1), tmp_path / "else.pth")
    torch.save(ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=FrozenBatchNorm2d).state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match="holds no weights of this model"):
        load_pretrained(tiny(1), tmp_path / "resnet.pth")
    offer(source)
    with pytest.raises(WeightsError, match="beyond the 2 rows of the model or 5 of the source"):
        load_pretrained(tiny(1), "coco", {1: 5})
