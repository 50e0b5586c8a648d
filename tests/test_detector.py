import pytest
import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

from compfeat.models.backbone import resnet_fpn
from compfeat.models.detector import CompFeat
from compfeat.models.track_heads import TrackHead
from compfeat.structures import Clip, ClipBatch

HEIGHT, WIDTH = 64, 96
LOSSES = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask", "loss_track"}


def detector(num_classes=3, **options):
    torch.manual_seed(0)
    backbone = resnet_fpn("basic", [1, 1, 1, 1], 32, frozen=False)
    small = {"anchor_sizes": (8, 16, 32, 64, 128), "box_channels": 32, "mask_channels": 16} | options
    return CompFeat(backbone, num_classes, TrackHead(32, hidden=32), **small)


def target(count):
    corners = torch.arange(count).float()[:, None] * 20 + 4
    boxes = torch.cat([corners, corners, corners + 16, corners + 16], 1)
    masks = torch.zeros(count, HEIGHT, WIDTH, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    identities = torch.arange(count) + 1
    return {"boxes": boxes, "labels": identities % 3 + 1, "masks": masks, "track_ids": identities}


def batch(*counts, height=HEIGHT):
    generator = torch.Generator().manual_seed(0)

    def image(*shape):
        return torch.randint(0, 256, (*shape, height, WIDTH), dtype=torch.uint8, generator=generator)

    clips = [Clip(image(3), image(2, 3), image(3), target(n), target(k), f"{n}:{k}") for n, k in counts]
    return ClipBatch.collate(clips)


@pytest.mark.parametrize("counts", [((2, 2), (1, 2)), ((0, 0), (0, 0)), ((2, 0), (0, 2)), ((0, 2),)])
def test_every_loss_is_finite_and_every_parameter_has_a_gradient(counts):
    model = detector()
    losses = model(batch(*counts))
    assert {name for name in losses if name.startswith("loss_")} == LOSSES
    total = sum(value for name, value in losses.items() if name in LOSSES)
    assert total.isfinite()
    total.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


def test_losses_of_what_is_not_there_are_zero():
    losses = detector()(batch((0, 0), (0, 0)))
    for name in ("loss_rpn_box_reg", "loss_box_reg", "loss_mask", "loss_track"):
        assert losses[name].item() == 0
    assert losses["match_accuracy"].isnan()


def test_detections_of_a_frame_do_not_depend_on_its_batch():
    model = detector(score_threshold=0.0).eval()
    images = batch((1, 1), (1, 1), (1, 1)).current
    sizes = [(HEIGHT, WIDTH), (HEIGHT - 20, WIDTH - 30), (HEIGHT, WIDTH)]
    with torch.inference_mode():
        together = model.detect(images, sizes)
        alone = [model.detect(images[i : i + 1], sizes[i : i + 1])[0] for i in range(3)]
    for a, b in zip(together, alone, strict=True):
        assert len(a) == 10 and a.features.shape == (10, 32, 7, 7) and a.masks.shape == (10, 1, 28, 28)
        torch.testing.assert_close(a.boxes, b.boxes, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(a.masks, b.masks, atol=1e-4, rtol=1e-3)
    assert together[1].boxes[:, 2].max() <= WIDTH - 30 and together[1].boxes[:, 3].max() <= HEIGHT - 20


def test_detections_equal_those_of_torchvisions_mask_rcnn_with_the_same_weights():
    model = detector(score_threshold=0.0).eval()
    sizes = (8, 16, 32, 64, 128)
    theirs = MaskRCNN(
        resnet_fpn("basic", [1, 1, 1, 1], 32, frozen=False),
        min_size=HEIGHT,
        max_size=WIDTH,
        rpn_anchor_generator=AnchorGenerator(tuple((s,) for s in sizes), ((0.5, 1.0, 2.0),) * 5),
        rpn_pre_nms_top_n_test=1000,
        rpn_post_nms_top_n_test=200,
        box_head=type(model.roi_heads.box_head)(32 * 49, 32),
        box_predictor=type(model.roi_heads.box_predictor)(32, 4),
        mask_head=type(model.roi_heads.mask_head)(32, [16] * 4, 1),
        mask_predictor=type(model.roi_heads.mask_predictor)(16, 16, 4),
        box_score_thresh=0.0,
        box_detections_per_img=10,
    ).eval()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("track_head.")}
    theirs.load_state_dict(state)  # the same parameter names
    image = batch((1, 1)).current
    with torch.inference_mode():
        ours = model.detect(image, [(HEIGHT, WIDTH)])[0]
        expected = theirs([image[0] / 255])[0]
    torch.testing.assert_close(ours.boxes, expected["boxes"], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(ours.scores, expected["scores"])
    assert ours.labels.tolist() == expected["labels"].tolist()


def test_match_scores_each_detection_against_each_memory_and_new():
    model = detector(score_threshold=0.0).eval()
    with torch.inference_mode():
        (found,) = model.detect(batch((1, 1)).current, [(HEIGHT, WIDTH)])
        scores = model.match(found, found.features[:4])
    assert scores.shape == (10, 5) and (scores[:, 0] == 0).all()


def test_uint8_and_float_images_are_the_same():
    model = detector()
    image = batch((1, 1)).current
    same = model.normalize(image / 255, [(HEIGHT, WIDTH)])
    torch.testing.assert_close(model.normalize(image, [(HEIGHT, WIDTH)]), same)


def test_padding_is_zero_after_normalisation():
    clips = batch((1, 1), height=50)  # padded to 64
    assert clips.current.shape[-2:] == (64, WIDTH) and clips.image_sizes == [(50, WIDTH)]
    normalized = detector().normalize(clips.current, clips.image_sizes)
    assert (normalized[:, :, 50:] == 0).all() and (normalized[:, :, :50] != 0).any()


def test_frozen_backbone_trains_neither_stem_nor_norms():
    backbone = resnet_fpn("basic", [1, 1, 1, 1], 32, frozen=True)
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert not any(name.startswith(("body.conv1", "body.layer1", "body.bn1")) for name in trained)
    assert not any(".bn" in name for name in trained)
    assert any(name.startswith("body.layer2") for name in trained)
