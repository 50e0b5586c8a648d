from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import box_iou

from compfeat.models.attention import DualAttention, SupportMemory
from compfeat.models.backbone import resnet_fpn
from compfeat.models.detector import CompFeat, Memory
from compfeat.models.labels import HardLabels, SoftLabels
from compfeat.models.roi_heads import FRAME_STRIDE, frame_maps, refine_rois
from compfeat.models.track_heads import CorrelationTrackHead, TrackHead
from compfeat.structures import Clip, ClipBatch

HEIGHT, WIDTH = 64, 96
SIZES = [(HEIGHT, WIDTH)]
LOSSES = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask", "loss_track"}
ALL = SoftLabels(score_threshold=0.0)
MODULES = ["none", "frame", "object", "correlation", "all"]


def detector(num_classes=3, modules="none", **options):
    """A small network with some of the paper's three modules."""
    torch.manual_seed(0)
    backbone = resnet_fpn("basic", [1, 1, 1, 1], 32, frozen=False)
    head = CorrelationTrackHead(32) if modules in ("correlation", "all") else TrackHead(32, hidden=32)
    small = {"anchor_sizes": (8, 16, 32, 64, 128), "box_channels": 32, "mask_channels": 16}
    if modules in ("frame", "all"):
        small["frame_attention"] = DualAttention(32)
    if modules in ("object", "all"):
        small["object_attention"] = DualAttention(32)
    return CompFeat(backbone, num_classes, head, **(small | options))


def found(model, images, sizes, support=None, labels=ALL):
    """The detections of frames, alone or with the frames ``[T, 3, H, W]`` that support them."""
    memory = Memory()
    if support is not None:
        maps = model.extract(support, [(HEIGHT, WIDTH)] * len(support)).maps
        memory = model.remember({level: x[None] for level, x in maps.items()})
    return model.detect(model.extract(images, sizes), memory, labels)


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

    clips = [Clip(image(3), image(2, 3), image(3), target(n), target(k), *[f"{n}:{k}"] * 2) for n, k in counts]
    return ClipBatch.collate(clips)


@pytest.mark.parametrize("modules", MODULES)
@pytest.mark.parametrize("counts", [((2, 2), (1, 2)), ((0, 0), (0, 0)), ((2, 0), (0, 2)), ((0, 2),)])
def test_every_loss_is_finite_and_every_parameter_has_a_gradient(modules, counts):
    model = detector(modules=modules)
    losses = {name: value for name, value in model(batch(*counts)).items() if name.startswith("loss_")}
    assert set(losses) == LOSSES | ({"loss_corr"} if modules in ("correlation", "all") else set())
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


@pytest.mark.parametrize("modules", ["frame", "object"])
def test_clips_without_support_frames_are_one_clear_error(modules):
    clips = batch((1, 1))
    with pytest.raises(ValueError, match="temporal attention needs support frames"):
        detector(modules=modules)(replace(clips, support=clips.support[:, :0]))


def test_losses_of_what_is_not_there_are_zero():
    losses = detector()(batch((0, 0), (0, 0)))
    for name in ("loss_rpn_box_reg", "loss_box_reg", "loss_mask", "loss_track"):
        assert losses[name].item() == 0
    assert losses["match_accuracy"].isnan()


@pytest.mark.parametrize("modules", ["none", "all"])
def test_detections_of_a_frame_do_not_depend_on_its_batch(modules):
    model = detector(modules=modules).eval()
    images = batch((1, 1), (1, 1), (1, 1)).current
    sizes = [(HEIGHT, WIDTH), (HEIGHT - 20, WIDTH - 30), (HEIGHT, WIDTH)]
    with torch.inference_mode():
        together = found(model, images, sizes, images[:2])
        alone = [found(model, images[i : i + 1], sizes[i : i + 1], images[:2])[0] for i in range(3)]
    for a, b in zip(together, alone, strict=True):
        assert len(a) == len(a.features) == 10 and a.masks.shape == (10, 1, 28, 28)
        for name in ("boxes", "classes", "masks", "features", "frame"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=1e-3, rtol=1e-3)
    assert together[1].boxes[:, 2].max() <= WIDTH - 30 and together[1].boxes[:, 3].max() <= HEIGHT - 20


def test_detections_equal_those_of_torchvisions_mask_rcnn_with_the_same_weights():
    model = detector().eval()
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
        box_detections_per_img=100,
    ).eval()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("track_head.")}
    theirs.load_state_dict(state)  # the same parameter names
    image = batch((1, 1)).current
    with torch.inference_mode():
        ours = found(model, image, SIZES, labels=HardLabels(score_threshold=0.0, detections=100))[0]
        expected = theirs([image[0] / 255])[0]
    torch.testing.assert_close(ours.boxes, expected["boxes"], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(ours.scores, expected["scores"])
    assert (ours.classes.argmax(1) + 1).tolist() == expected["labels"].tolist()
    torch.testing.assert_close(paste_masks_in_image(ours.masks, ours.boxes, SIZES[0]), expected["masks"])


@pytest.mark.parametrize("modules", ["none", "correlation"])
def test_match_scores_each_detection_against_each_memory_and_new(modules):
    model = detector(modules=modules).eval()
    with torch.inference_mode():
        (seen,) = found(model, batch((1, 1)).current, SIZES)
        scores = model.match(seen, seen.features[:4])
        model.track_head = None
        none = model.match(seen, seen.features[:4])
    assert scores.shape == none.shape == (10, 5) and (scores[:, 0] == 0).all() and (none == 0).all()


def test_modules_that_are_off_or_at_the_identity_change_no_detection():
    model = detector().eval()
    off = DualAttention(32, temporal=False, spatial=False)
    fresh = DualAttention(32, temporal=False)  # spatial attention starts at zero
    images = batch((1, 1), (1, 1)).current
    with torch.inference_mode():
        expected = found(model, images, SIZES * 2)
        for dual in (off, fresh):
            same = detector(frame_attention=dual, object_attention=dual).eval()
            same.load_state_dict(model.state_dict(), strict=False)
            assert not same.uses_support
            for a, b in zip(found(same, images, SIZES * 2), expected, strict=True):
                for name in ("boxes", "classes", "masks", "features", "frame"):
                    torch.testing.assert_close(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("modules", ["frame", "object"])
def test_support_frames_change_what_is_found(modules):
    model = detector(modules=modules).eval()
    assert model.uses_support
    clips = batch((1, 1), (1, 1))
    with torch.inference_mode():
        one, other = (found(model, clips.current[:1], SIZES, clips.support[i])[0] for i in range(2))
    assert not torch.equal(one.scores, other.scores)


def test_every_parameter_of_every_module_learns_within_a_few_steps():
    model = detector(modules="all")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    moved = set()
    for _ in range(3):
        optimizer.zero_grad()
        sum(value for name, value in model(batch((2, 2), (2, 2))).items() if name.startswith("loss_")).backward()
        moved |= {name for name, p in model.named_parameters() if p.grad.abs().sum() > 0}
        assert all(p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
    assert {name for name, _ in model.named_parameters()} - moved == set()


def test_gradients_through_support_frames_are_a_switch():
    def body_gradient(through):
        model = detector(modules="all", support_gradients=through)
        support_only = model.remember(model.extract_clips(batch((1, 1)))[1]).objects["0"].value.sum()
        support_only.backward()
        return model.backbone.body.conv1.weight.grad

    assert body_gradient(True).abs().sum() > 0
    assert body_gradient(False) is None


@pytest.mark.parametrize("through", [True, False])
def test_mixed_precision_takes_no_gradient_from_any_parameter(through):
    """Autocast keeps the weights it has cast: if without gradients for support frames, so for all others."""
    model = detector(modules="all", support_gradients=through)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch((2, 2), (1, 2)))
    sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("through", [True, False])
def test_one_pass_over_all_frames_of_the_clips_sees_what_a_pass_for_each_sees(through):
    model = detector(modules="all", support_gradients=through)
    clips = batch((1, 1), (2, 0))
    seen, support = model.extract_clips(clips)
    for frames, images in zip(seen, (clips.current, clips.reference), strict=True):
        torch.testing.assert_close(frames.maps, model.extract(images, clips.image_sizes).maps)
    for number, images in enumerate(clips.support.unbind(1)):
        maps = {level: x[:, number] for level, x in support.items()}
        torch.testing.assert_close(maps, model.extract(images, clips.image_sizes).maps)


class Witness(TrackHead):
    """Remembers what it was given to compare."""

    def losses(self, *given):
        self.given = given
        return super().losses(*given)


def test_all_parts_are_trained_on_refined_features_of_the_frames_they_are_for():
    model = detector(modules="all")
    model.track_head, proposed, masked = Witness(32, hidden=32), [], []
    model.rpn.register_forward_pre_hook(lambda _, given: proposed.append(given[1]))
    model.roi_heads.mask_head.register_forward_pre_hook(lambda _, given: masked.append(given[0]))
    clips = batch((2, 1), (1, 2))
    model(clips)
    objects, frames, references, targets, reference_targets = model.track_head.given
    assert all(x.requires_grad for x in (*frames, *references, *(o.features for o in objects)))  # end to end
    with torch.no_grad():
        seen, support = model.extract_clips(clips)
        memory = model.remember(support)
        current, reference = (model.aggregate(frames, memory).maps for frames in seen)
        model.eval().detect(seen[0], memory, ALL)
        heads, boxes = model.roi_heads, [o.boxes for o in objects]
        features = heads.object_features(current, boxes, memory.objects)
        kept = heads.object_features(reference, [t["boxes"] for t in clips.reference_targets], memory.objects)
        rois = heads.mask_roi_pool(current, boxes)  # of small objects, all from the finest level
        rois = refine_rois(heads.object_attention, rois, [len(b) for b in boxes], memory.objects["0"])
    assert targets is clips.targets and reference_targets is clips.reference_targets
    torch.testing.assert_close(proposed, [current, current])  # in training and in inference
    torch.testing.assert_close(torch.stack(frames), frame_maps(current))
    torch.testing.assert_close(references, kept)
    torch.testing.assert_close(masked[0], rois)
    for found, refined, target in zip(objects, features, targets, strict=True):
        overlap, nearest = box_iou(found.boxes, target["boxes"]).max(1)
        assert (overlap >= 0.5).all() and torch.equal(found.identities, target["track_ids"][nearest])
        torch.testing.assert_close(found.features, refined)


def test_the_map_of_a_frame_is_the_mean_of_its_pyramid():
    maps = {level: torch.full((1, 2, HEIGHT >> i, WIDTH >> i), float(i)) for i, level in enumerate("0123", start=2)}
    torch.testing.assert_close(frame_maps(maps), torch.full((1, 2, HEIGHT // FRAME_STRIDE, WIDTH // FRAME_STRIDE), 3.5))


def test_attention_of_both_levels_remembers_as_many_positions_of_each_pyramid_level():
    model = detector(modules="all")
    memory = model.remember(model.extract_clips(batch((0, 0)))[1])
    cells = 2 * (HEIGHT // 32) * (WIDTH // 32)  # of two support frames
    for levels in (memory.frame, memory.objects):
        assert [levels[level].key.shape[1] for level in "0123"] == [cells] * 4


def test_parameters_that_each_module_adds():
    def parameters(module):
        return sum(p.numel() for p in module.parameters())

    base, dual = parameters(detector()), parameters(DualAttention(32))
    assert parameters(detector(modules="frame")) == base + dual  # shared by the levels
    assert parameters(detector(modules="object")) == base + dual
    heads = parameters(CorrelationTrackHead(32)) - parameters(TrackHead(32, hidden=32))
    assert parameters(CorrelationTrackHead(32, width=None)) == 2 * (32 * 32 + 32) + 2 * (32 + 1)
    embedding = 9 * 32 * (32 + 64) + 3 * (32 + 64)  # two convolutions with biases and norms
    assert parameters(CorrelationTrackHead(32, width=64)) == embedding + 2 * (64 * 64 + 64) + 2 * (64 + 1)
    assert parameters(detector(modules="all")) == base + 2 * dual + heads


def test_uint8_and_float_images_are_the_same():
    model = detector()
    image = batch((1, 1)).current
    same = model.normalize(image / 255, [(HEIGHT, WIDTH)])
    torch.testing.assert_close(model.normalize(image, [(HEIGHT, WIDTH)]), same)


def test_padding_is_zero_after_normalisation():
    clips = batch((1, 1), height=50)  # padded to 64
    assert clips.current.shape[-2:] == (64, WIDTH) and clips.image_sizes == [(50, WIDTH)]
    normalized = detector().normalize(clips.current, [(50, 70)])
    assert (normalized[:, :, 50:] == 0).all() and (normalized[..., 70:] == 0).all()
    assert (normalized[:, :, :50, :70] != 0).any()


def test_frozen_backbone_trains_neither_stem_nor_norms():
    backbone = resnet_fpn("basic", [1, 1, 1, 1], 32, frozen=True)
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert not any(name.startswith(("body.conv1", "body.layer1", "body.bn1")) for name in trained)
    assert not any(".bn" in name for name in trained)
    assert any(name.startswith("body.layer2") for name in trained)


def test_objects_of_several_clips_are_refined_each_by_the_support_frames_of_its_clip():
    model = detector(modules="object").eval()
    clips = batch((3, 1), (1, 2), (0, 0))
    boxes = [t["boxes"] for t in clips.targets]
    boxes[0] = torch.cat([boxes[0], torch.tensor([[0.0, 0.0, 90.0, 60.0], [0.0, 0.0, 200.0, 200.0]])])  # of all levels
    with torch.inference_mode():
        (current, _), support = model.extract_clips(clips)
        memory = model.remember(support)
        together = model.roi_heads.object_features(current.maps, boxes, memory.objects)
        for i, frame in enumerate(current.split()):
            one = {k: SupportMemory(m.key[i : i + 1], m.value[i : i + 1]) for k, m in memory.objects.items()}
            (alone,) = model.roi_heads.object_features(frame.maps, boxes[i : i + 1], one)
            torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-5)
    assert [len(x) for x in together] == [5, 1, 0]


def test_a_roi_looks_at_the_support_features_of_its_own_level():
    model = detector(modules="object").eval()
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 150.0, 150.0], [0.0, 0.0, 300.0, 300.0]])
    with torch.inference_mode():
        (current, _), support = model.extract_clips(batch((0, 0)))
        memory = model.remember(support)
        pooled = model.roi_heads.box_roi_pool(current.maps, [boxes])
        (refined,) = model.roi_heads.object_features(current.maps, [boxes], memory.objects)
        for roi, found, level in zip(pooled, refined, ("0", "1", "2"), strict=True):
            expected = model.roi_heads.object_attention.refine(roi[None], memory.objects[level])[0]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("height", [20, 33, 64, 67])
def test_where_a_roi_is_pooled_does_not_depend_on_the_padding_of_frames(height):
    """Of maps that hold their own coordinates, the mean of a RoI is its centre, whatever was padded to 32."""
    clips = batch((0, 0), height=height)
    pool = detector().roi_heads.box_roi_pool
    maps = {}
    for level, stride in zip(("0", "1", "2", "3"), (4, 8, 16, 32), strict=True):
        rows, columns = clips.current.shape[-2] // stride, clips.current.shape[-1] // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        maps[level] = (torch.stack([x, y])[None] + 0.5) * stride
    pooled = pool(maps, [torch.tensor([[32.0, 6.0, 64.0, 18.0]])])
    torch.testing.assert_close(pooled.mean((2, 3)), torch.tensor([[48.0 + 2, 12.0 + 2]]))


@pytest.mark.parametrize("labels", [SoftLabels(), HardLabels()])
def test_where_nothing_is_proposed_nothing_is_found(labels):
    model = detector(modules="all").eval()
    images = batch((1, 1), (1, 1)).current
    with torch.inference_mode():
        model.rpn.head.bbox_pred.bias.view(-1, 4)[:, 0] = 1e4  # all boxes lie far right of the frame
        assert [len(d) for d in found(model, images, SIZES * 2, images, labels)] == [0, 0]


class NoWaits(TorchDispatchMode):
    """Fails where an operation would wait for what a GPU has computed."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        aten = torch.ops.aten
        assert operation not in (aten._local_scalar_dense.default, aten._unique2.default, aten.nonzero.default)
        assert operation != aten.index.Tensor or all(i is None or i.dtype != torch.bool for i in arguments[1])
        return operation(*arguments, **(options or {}))


def test_rois_are_sorted_by_level_without_a_wait_for_each():
    model = detector(modules="object").eval()
    attention = model.roi_heads.object_attention
    memory = {level: attention.embed(torch.randn(1, 2, 32, 6, 6)) for level in ("0", "1", "2", "3")}
    with torch.inference_mode(), NoWaits():
        model.roi_heads._refine(attention, torch.randn(9, 32, 7, 7), torch.arange(9) % 4, [4, 0, 5], memory)
