import math

import pytest
import torch

from compfeat.models.roi_heads import FRAME_STRIDE, SampledObjects
from compfeat.models.track_heads import (
    CorrelationTrackHead,
    TrackHead,
    correlation_at,
    depthwise_correlation,
    gaussian_maps,
    match_loss,
    match_targets,
    pool_pairs,
    pooled_cells,
    whereabouts,
)


def scored(head, objects, references, boxes=None, frame=None):
    """The scores of one frame, as inference computes them."""
    frame = None if frame is None else head.embed_frames(frame[None])[0]
    return head.compare(head.embed(objects), boxes, frame, head.embed(references))


def test_scores_are_scaled_dot_products_of_embeddings_and_a_zero_column():
    torch.manual_seed(0)
    head = TrackHead(channels=4, size=3, hidden=16)
    objects, references = torch.randn(2, 4, 3, 3), torch.randn(3, 4, 3, 3)
    scores = scored(head, objects, references)
    assert scores.shape == (2, 4)
    assert (scores[:, 0] == 0).all()
    expected = (head.embed(objects[1:2])[0] @ head.embed(references[2:3])[0]) / math.sqrt(16)
    assert scores[1, 3].item() == pytest.approx(expected.item(), rel=1e-5)


def test_initial_scores_do_not_saturate_the_softmax():
    torch.manual_seed(0)
    head = TrackHead(channels=64)
    features = torch.randn(4, 64, 7, 7).abs() * 3  # the scale of pyramid features of an untrained network
    scores = scored(head, features, features)
    assert scores.abs().max() < 10


def test_initial_maps_are_nearly_empty():
    torch.manual_seed(0)
    (maps,) = CorrelationTrackHead(channels=4).location_maps([torch.randn(4, 6, 8)], [torch.randn(2, 4, 7, 7)])
    assert maps.mean() < 0.1


def test_match_targets_name_the_column_of_the_same_identity():
    assert match_targets(torch.tensor([7, 3, 9]), torch.tensor([9, 7])).tolist() == [2, 0, 1]
    assert match_targets(torch.tensor([7, 3]), torch.empty(0, dtype=torch.int64)).tolist() == [0, 0]


def test_match_loss_averages_over_the_objects_of_all_frames():
    scores = [torch.tensor([[0.0, 2.0], [0.0, -1.0]]), torch.zeros(1, 3)]
    loss, accuracy = match_loss(scores, [torch.tensor([1, 1]), torch.tensor([2])])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1)) + math.log(3)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert accuracy.item() == pytest.approx(1 / 3)


def test_no_object_gives_a_zero_loss_that_reaches_the_parameters():
    head = TrackHead(channels=4, size=3, hidden=8)
    scores = [scored(head, torch.randn(0, 4, 3, 3), torch.randn(2, 4, 3, 3))]
    loss, accuracy = match_loss(scores, [torch.empty(0, dtype=torch.int64)])
    loss.backward()
    assert loss.item() == 0 and accuracy.isnan()
    assert all(p.grad is not None and (p.grad == 0).all() for p in head.parameters())


def test_depthwise_correlation_is_the_sum_over_the_window():
    torch.manual_seed(0)
    kernels, features = torch.randn(3, 4, 3, 5), torch.randn(4, 6, 7)
    found = depthwise_correlation(kernels, features)
    assert found.shape == (3, 4, 6, 7)
    padded = torch.nn.functional.pad(features.double(), (2, 2, 1, 1))
    for k in range(3):
        for y in range(6):
            for x in range(7):
                expected = (kernels[k].double() * padded[:, y : y + 3, x : x + 5]).sum((1, 2))
                torch.testing.assert_close(found[k, :, y, x].double(), expected, rtol=1e-5, atol=1e-5)
    assert depthwise_correlation(kernels[:0], features).shape == (0, 4, 6, 7)


def test_correlation_of_an_object_with_its_own_frame_peaks_at_the_object():
    torch.manual_seed(0)
    frame = torch.randn(16, 24, 40)
    (height, width), (y, x) = (7, 7), (9, 21)
    kernel = frame[:, y - height // 2 : y + height // 2 + 1, x - width // 2 : x + width // 2 + 1]
    total = depthwise_correlation(kernel[None], frame)[0].sum(0)
    assert divmod(total.argmax().item(), 40) == (y, x)


def test_pool_pairs_means_inside_every_box_of_every_map():
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(10.0), indexing="ij")
    maps = torch.stack([torch.stack([rows, columns]), torch.stack([2 * rows, 2 * columns])])  # [K=2, C=2, 8, 10]
    boxes = torch.tensor([[16.0, 32.0, 80.0, 96.0], [32.0, 16.0, 64.0, 48.0], [48.0, 48.0, 112.0, 112.0]])
    pooled = pool_pairs(maps, boxes, stride=16)
    assert pooled.shape == (3, 2, 2)
    centres = torch.stack([(boxes[:, 1] + boxes[:, 3]) / 2, (boxes[:, 0] + boxes[:, 2]) / 2], 1) / 16 - 0.5
    torch.testing.assert_close(pooled[:, 0], centres)  # the mean of a ramp is its middle
    torch.testing.assert_close(pooled[:, 1], 2 * centres)
    assert pool_pairs(maps, boxes[:0], 16).shape == (0, 2, 2)
    assert pool_pairs(maps[:0], boxes, 16).shape == (3, 0, 2)


def plain_embedding(weights, x):
    """What an object or a frame ``[C, h, w]`` is embedded as, float64; itself where there are no such weights."""
    x = x.double()
    if "embed.0.weight" not in weights:
        return x
    for layer in (0, 3):
        norm = f"embed.{layer + 1}"
        x = torch.nn.functional.conv2d(x[None], weights[f"embed.{layer}.weight"], padding=1)[0]
        x = (x + weights[f"embed.{layer}.bias"][:, None, None]).unflatten(0, (8, -1))
        mean = x.mean((1, 2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean((1, 2, 3), keepdim=True)
        x = ((x - mean) / (variance + 1e-5).sqrt()).flatten(0, 1)
        x = x * weights[f"{norm}.weight"][:, None, None] + weights[f"{norm}.bias"][:, None, None]
        x = x if layer else x.relu()
    return x


def plain_kernel(weights, x):
    """The means of the 3x3 windows of an embedded 7x7 object, which overlap by one; itself where not embedded."""
    if "embed.0.weight" not in weights:
        return x
    edges = [(0, 3), (2, 5), (4, 7)]
    return torch.stack([torch.stack([x[:, a:b, c:d].mean((1, 2)) for c, d in edges], 1) for a, b in edges], 1)


def test_what_is_pooled_of_a_map_comes_from_few_cells_of_it():
    torch.manual_seed(0)
    maps = torch.randn(3, 2, 7, 11)
    corners = 16 * (torch.rand(40, 2) * torch.tensor([17.0, 13.0]) - 3)  # some boxes reach out of the frame
    boxes = torch.cat([corners, corners + 100 * torch.rand(40, 2)], 1)
    cells, weights = pooled_cells(boxes, (7, 11), stride=16)
    pooled = (maps.flatten(2)[:, :, cells] * weights).sum(-1).permute(2, 0, 1)
    torch.testing.assert_close(pooled, pool_pairs(maps, boxes, stride=16))
    assert pooled_cells(boxes[:0], (7, 11), 16)[0].shape == (0, 16)


@pytest.mark.parametrize("size", [(3, 3), (7, 7), (3, 5)])
def test_correlation_in_some_cells_is_that_of_the_whole_map(size):
    torch.manual_seed(0)
    kernels, features = torch.randn(4, 5, *size), torch.randn(5, 6, 8)
    cells = torch.randint(48, (3, 16))
    whole = depthwise_correlation(kernels, features).flatten(2)[:, :, cells]
    torch.testing.assert_close(correlation_at(kernels, features, cells), whole.permute(2, 0, 1, 3))


def plain_score(head, x, box, frame, reference):
    """The score of one pair by Fig. 4, float64, for a box whose sides are whole cells."""
    double = {name: value.double() for name, value in head.state_dict().items()}
    x, reference, frame = (plain_embedding(double, x) for x in (x, reference, frame))
    area = reference[0].numel()
    kernel = plain_kernel(double, reference)
    correlated = depthwise_correlation(kernel[None].double(), frame.double())[0] / kernel[0].numel()
    weight = double["refine.0.weight"][:, :, 0, 0]
    refined = (torch.einsum("oc,chw->ohw", weight, correlated) + double["refine.0.bias"][:, None, None]).relu()
    # sampled at the middles of the four quarters of the box, bilinearly
    x1, y1, x2, y2 = (side / FRAME_STRIDE - 0.5 for side in box.tolist())
    samples = []
    for v in (0.25, 0.75):
        for u in (0.25, 0.75):
            py, px = y1 + v * (y2 - y1), x1 + u * (x2 - x1)
            top, left = math.floor(py), math.floor(px)
            a, b = py - top, px - left
            corner = refined[:, top : top + 2, left : left + 2]
            row = (1 - a) * corner[:, 0] + a * corner[:, 1]
            samples.append((1 - b) * row[:, 0] + b * row[:, 1])
    vector = sum(samples) / 4 + (x.double() * reference.double()).sum((1, 2)) / area
    hidden = (double["score.0.weight"] @ vector + double["score.0.bias"]).relu()
    return (double["score.2.weight"] @ hidden + double["score.2.bias"]).item()


@pytest.mark.parametrize("width", [None, 16])
def test_correlation_scores_are_those_of_figure_4(width):
    torch.manual_seed(0)
    head = CorrelationTrackHead(channels=6, width=width)
    objects, references, frame = torch.randn(3, 6, 7, 7), torch.randn(2, 6, 7, 7), torch.randn(6, 9, 11)
    boxes = FRAME_STRIDE * torch.tensor([[1.0, 1.0, 4.0, 5.0], [2.0, 3.0, 7.0, 6.0], [4.0, 2.0, 6.0, 7.0]])
    scores = scored(head, objects, references, boxes, frame)
    assert scores.shape == (3, 3) and (scores[:, 0] == 0).all()
    for i in range(3):
        for j in range(2):
            expected = plain_score(head, objects[i], boxes[i], frame, references[j])
            assert scores[i, 1 + j].item() == pytest.approx(expected, rel=1e-4)


def test_gaussians_peak_at_the_centre_of_the_box_and_are_zero_for_the_absent():
    boxes = torch.tensor([[32.0, 16.0, 112.0, 64.0], [0.0, 0.0, 16.0, 16.0], [70.0, 38.0, 74.0, 42.0]])
    maps = gaussian_maps(boxes, torch.tensor([True, False, True]), (6, 10), stride=16, sigma=0.25)
    assert maps.shape == (3, 6, 10)
    assert divmod(maps[0].argmax().item(), 10) == (2, 4)  # pixel (40, 72), the middle of a cell
    assert maps[0, 2, 4].item() == pytest.approx(1)
    one_cell = math.exp(-0.5 * (16 / (0.25 * 80)) ** 2)
    assert maps[0, 2, 5].item() == pytest.approx(one_cell) and maps[0, 2, 3].item() == pytest.approx(one_cell)
    assert (maps[1] == 0).all()
    assert maps[2, 2, 4].item() == 1 and maps[2, 2, 5].item() == pytest.approx(math.exp(-0.5 * 2**2))  # half a cell


def sampled(features, boxes, identities):
    return SampledObjects(features, boxes, torch.tensor(identities))


def frame_target(boxes, identities):
    return {"boxes": boxes, "track_ids": torch.tensor(identities, dtype=torch.int64)}


def test_correlation_loss_is_the_cross_entropy_with_the_gaussian_of_each_reference_object():
    torch.manual_seed(0)
    head = CorrelationTrackHead(channels=4)
    frames, references = torch.randn(2, 4, 6, 8), [torch.randn(2, 4, 7, 7), torch.randn(1, 4, 7, 7)]
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    targets = [frame_target(boxes, [5]), frame_target(boxes, [6])]
    remembered = [frame_target(torch.zeros(2, 4), [9, 5]), frame_target(torch.zeros(1, 4), [6])]
    where, there = whereabouts(remembered[0]["track_ids"], targets[0])
    assert there.tolist() == [False, True] and where[1].tolist() == boxes[0].tolist()

    objects = [sampled(torch.randn(1, 4, 7, 7), boxes, [i]) for i in (5, 6)]
    losses = head.losses(objects, frames, references, targets, remembered)
    gaussian = gaussian_maps(boxes, torch.tensor([True]), (6, 8), FRAME_STRIDE, head.sigma)[0]
    own = head.location_maps(frames, references)
    strangers = head.location_maps(frames, references[::-1])  # of the other clip
    present = [own[0][1], own[1][0]]

    def expected(present, absent):
        loss = -sum((gaussian * x.log() + (1 - gaussian) * (1 - x).log()).sum() for x in present)
        loss = loss - sum((1 - x).log().sum() for x in absent)
        return pytest.approx((loss / (len(present) * gaussian.sum())).item(), rel=1e-4)

    assert losses["loss_corr"].item() == expected(present, [own[0][0], *strangers[0], *strangers[1]])
    targets[1] = frame_target(boxes, [9])  # both clips are of one video, and 9 is in the second one's frame alone
    losses = head.losses(objects, frames, references, targets, remembered)
    absent = [own[0][0], own[1][0], strangers[0][0], strangers[1][1]]
    assert losses["loss_corr"].item() == expected([own[0][1], strangers[1][0]], absent)
    assert losses["loss_track"] > 0 and losses["match_accuracy"] in (0, 0.5, 1)


@pytest.mark.parametrize("side", [0, 8])
def test_small_and_absent_objects_do_not_drown_other_losses(side):
    torch.manual_seed(0)
    head = CorrelationTrackHead(channels=4)
    frames, references = torch.randn(1, 4, 48, 80), [torch.randn(1, 4, 7, 7)]

    def loss(side):
        boxes = torch.tensor([[100.0, 100.0, 100.0 + side, 100.0 + side]])[: side > 0]
        objects, there = sampled(torch.randn(1, 4, 7, 7), torch.ones(1, 4), [0]), [0][: side > 0]
        target = frame_target(boxes, there)
        return head.losses([objects], frames, references, [target], [frame_target(torch.zeros(1, 4), [0])])["loss_corr"]

    assert 0 < loss(side) < 2 * loss(160)


@pytest.mark.parametrize("make", [TrackHead, CorrelationTrackHead])
def test_training_scores_the_objects_of_each_clip_as_inference_does(make):
    torch.manual_seed(0)
    head = make(channels=4)
    counts = [(2, 3), (0, 2), (1, 0)]  # objects of the current and of the reference frame
    boxes = [FRAME_STRIDE * torch.rand(found, 4).cumsum(1) for found, _ in counts]
    objects = [sampled(torch.randn(len(b), 4, 7, 7), b, list(range(len(b)))) for b in boxes]
    references = [torch.randn(remembered, 4, 7, 7, requires_grad=True) for _, remembered in counts]
    frames = torch.randn(3, 4, 6, 8)
    targets = [frame_target(b, list(range(len(b)))) for b in boxes]
    remembered = [frame_target(torch.zeros(len(r), 4), list(range(len(r)))[::-1]) for r in references]
    losses = head.losses(objects, frames, references, targets, remembered)
    scores = [scored(head, o.features, r, o.boxes, f) for o, r, f in zip(objects, references, frames, strict=True)]
    columns = [torch.tensor([k - i if i < k else 0 for i in range(n)], dtype=torch.int64) for n, k in counts]
    torch.testing.assert_close((losses["loss_track"], losses["match_accuracy"]), match_loss(scores, columns))
    losses["loss_track"].backward()
    assert references[0].grad.abs().sum() > 0  # also what is remembered learns to be told apart


@pytest.mark.parametrize(("found", "remembered"), [(0, 0), (0, 2), (2, 0)])
def test_correlation_losses_of_nothing_reach_every_parameter(found, remembered):
    head = CorrelationTrackHead(channels=4)
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0]]).repeat(found, 1)
    objects = [sampled(torch.randn(found, 4, 7, 7), boxes, list(range(found)))]
    references = frame_target(torch.zeros(remembered, 4), list(range(10, 10 + remembered)))
    target = frame_target(boxes, list(range(found)))
    kernels = torch.randn(remembered, 4, 7, 7)
    losses = head.losses(objects, [torch.randn(4, 6, 8)], [kernels], [target], [references])
    (losses["loss_track"] + losses["loss_corr"]).backward()
    assert losses["loss_track"].isfinite() and losses["loss_corr"].isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
