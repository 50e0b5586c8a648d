"""Heads that score how likely a detected object is one of the remembered ones, and the losses that train them."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from compfeat.models.roi_heads import FRAME_STRIDE, SampledObjects
from compfeat.quantities import Channels, GroupedChannels, Positive, Share
from compfeat.structures import FrameTarget


class TrackHead(nn.Module):
    """The MaskTrack R-CNN tracking branch (Yang et al. 2019): two fully connected layers and scaled dot products.

    Args:
        channels: C of the object features.
        size: height and width of the object features.
        hidden: width of both layers; no ReLU follows the last.
    """

    def __init__(self, channels: Channels, size: Channels = 7, hidden: Channels = 1024) -> None:
        super().__init__()
        last = nn.Linear(hidden, hidden)
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, hidden), nn.ReLU(), last)
        # A dot product sums `hidden` terms: with torch's default initialisation it starts in the thousands, the softmax
        # saturates, and the matching never leaves chance. Small last weights and the scale start it near zero.
        self.scale = hidden**-0.5
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)

    def embed_frames(self, frames: Tensor) -> Tensor:
        """The maps ``[B, C, H, W]`` of frames as ``compare`` takes them, which has no use for them."""
        return frames

    def compare(self, objects: Tensor, boxes: Tensor, frame: Tensor, references: Tensor) -> Tensor:
        """Scores the N objects of one frame against K remembered ones.

        Args:
            objects: embedded, ``[N, hidden]``.
            boxes: theirs, ``[N, 4]``, in pixels; unused here.
            frame: the map of the frame, as ``embed_frames`` has it; unused here.
            references: embedded, ``[K, hidden]``.

        Returns:
            unnormalised scores ``[N, K + 1]``; column 0 is "a new object" and always zero.
        """
        return F.pad(self.scale * (objects @ references.T), (1, 0))

    def losses(
        self,
        objects: Sequence[SampledObjects],
        frames: Sequence[Tensor],
        references: Sequence[Tensor],
        targets: Sequence[FrameTarget],
        reference_targets: Sequence[FrameTarget],
    ) -> dict[str, Tensor]:
        """The losses of the matching of B current with B reference frames.

        Args:
            objects: the sampled objects of each current frame.
            frames: the map ``[C, H, W]`` of each current frame, as ``frame_maps`` has it.
            references: the features ``[K_i, C, h, w]`` of the objects of each reference frame.
            targets, reference_targets: the true objects of the current and of the reference frames.

        Returns:
            ``loss_track``, and ``match_accuracy`` as ``match_loss`` gives it.
        """
        found, remembered = embed_lists(self.embed, [o.features for o in objects], references)
        scores = [
            self.compare(x, o.boxes, frame, kept)
            for x, o, frame, kept in zip(found, objects, frames, remembered, strict=True)
        ]
        return match_losses(scores, objects, reference_targets)


class LikenessHead(nn.Module):
    """Matching by objects that look alike, where none was learned: the cosine of their mean features.

    Args:
        scale: what a cosine weighs more than another by 1 in the scores.
        novelty: cosine that a new object is taken to have.
    """

    def __init__(self, scale: Positive = 10.0, novelty: Share = 0.6) -> None:
        super().__init__()
        self.scale = scale
        self.novelty = novelty

    def embed(self, objects: Tensor) -> Tensor:
        """Features ``[N, C, h, w]`` of objects as ``compare`` takes them, ``[N, C]`` of length 1."""
        return F.normalize(objects.mean((2, 3)), dim=1)

    def embed_frames(self, frames: Tensor) -> Tensor:
        """The maps ``[B, C, H, W]`` of frames as ``compare`` takes them, which has no use for them."""
        return frames

    def compare(self, objects: Tensor, boxes: Tensor, frame: Tensor, references: Tensor) -> Tensor:
        """As ``TrackHead.compare``, of ``objects [N, C]`` and ``references [K, C]``."""
        return F.pad(self.scale * (objects @ references.T - self.novelty), (1, 0))

    def losses(self, *_: object) -> dict[str, Tensor]:
        """None: there is nothing to learn."""
        return {}


class CorrelationTrackHead(nn.Module):
    """The correlation-based tracking module (paper, "Correlation-based Tracking Module"; Fig. 4).

    Two vectors for every pair of a detected and a remembered object: their depth-wise correlation, and the depth-wise
    correlation of the remembered object with the whole frame, refined and RoIAligned inside the box of the detected
    one. Two 1x1 convolutions map their sum to the score. A one-channel convolution predicts from the refined features
    where the remembered object is; only training looks at that map.

    What is correlated is embedded first, objects and frame alike, as in SiamRPN++ (Li et al. 2019), from which the
    paper takes the correlation: features made for detection say little about which object of a kind this is. No ReLU
    follows the last norm, so that what two objects do not share counts against them. An object's kernel is pooled to
    3x3 cells: seven are finer than those of the frame. Both correlations are means over an object's cells, so that
    their scale does not depend on how many it has.

    Args:
        channels: C of the object and frame features.
        width: channels D of the embeddings, a multiple of 16 (two group norms of eight groups); None correlates the
            features as they are, by the paper's letter (D = C).
        sigma: of the Gaussian that supervises the map, in sides of the object's box.
    """

    def __init__(self, channels: Channels, width: GroupedChannels | None = 128, sigma: Positive = 0.25) -> None:
        super().__init__()
        self.sigma = sigma
        self.embed: nn.Module = nn.Identity()
        self.kernel: nn.Module = nn.Identity()
        if width is not None:
            self.embed = embedding(channels, width)
            self.kernel = nn.AdaptiveAvgPool2d(3)
        width = width or channels
        self.refine = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())
        self.locate = nn.Conv2d(width, 1, 1)
        nn.init.constant_(self.locate.get_parameter("bias"), -3.0)  # nearly all of a map is empty (Lin et al. 2017)
        # 1x1 convolutions over the N x K pairs, which are linear layers on the last dimension
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def embed_frames(self, frames: Tensor) -> Tensor:
        """The maps ``[B, C, H, W]`` of frames as ``compare`` takes them, ``[B, D, H, W]``."""
        return self.embed(frames)

    def compare(self, objects: Tensor, boxes: Tensor, frame: Tensor, references: Tensor) -> Tensor:
        """As ``TrackHead.compare``, of ``objects [N, D, h, w]``, ``frame [D, H, W]`` and ``references [K, D, h, w]``.

        Training looks at whole maps of what is correlated with the frame; here they are computed in those few cells
        alone that are pooled inside ``boxes [N, 4]``.
        """
        cells, weights = pooled_cells(boxes, (frame.shape[-2], frame.shape[-1]), FRAME_STRIDE)
        kernels = self.kernel(references)
        correlated = correlation_at(kernels, frame, cells) / kernels.shape[-2:].numel()
        refined = self.refine(correlated.flatten(0, 1)[..., None])[..., 0].unflatten(0, correlated.shape[:2])
        return self._score(objects, references, (refined * weights[:, None, None]).sum(-1))

    def losses(
        self,
        objects: Sequence[SampledObjects],
        frames: Sequence[Tensor],
        references: Sequence[Tensor],
        targets: Sequence[FrameTarget],
        reference_targets: Sequence[FrameTarget],
    ) -> dict[str, Tensor]:
        """As ``TrackHead.losses``, and ``loss_corr``, the cross entropy of maps and Gaussians, summed over positions
        and divided by the sum of the Gaussians, or a hundredth of the positions where objects are small or absent.

        Maps are trained with the objects of the next clip's reference frame too, which are absent from a frame unless
        both clips are of one video: within a clip hardly any is, and a map could not but show all objects alike.
        """
        found, remembered = embed_lists(self.embed, [o.features for o in objects], references)
        embedded = self.embed_frames(torch.stack(list(frames)))
        clips = range(len(frames))
        pairs = [(i, i) for i in clips] + [((i + 1) % len(clips), i) for i in clips if len(clips) > 1]
        maps = self._correlate([remembered[i] for i, _ in pairs], [embedded[j] for _, j in pairs])
        inside = [pool_pairs(x, o.boxes, FRAME_STRIDE) for x, o in zip(maps, objects, strict=False)]
        scores = list(map(self._score, found, remembered, inside))
        there = [whereabouts(reference_targets[i]["track_ids"], targets[j]) for i, j in pairs]
        size = (embedded.shape[-2], embedded.shape[-1])
        wanted = torch.cat([gaussian_maps(*where, size, FRAME_STRIDE, self.sigma) for where in there])
        located = self.locate(torch.cat(maps))[:, 0].float()
        loss = F.binary_cross_entropy_with_logits(located, wanted, reduction="sum")
        weight = wanted.sum().clamp(min=max(1, wanted.numel() / 100))  # empty maps alone would drown all other losses
        return match_losses(scores, objects, reference_targets) | {"loss_corr": loss / weight}

    def location_maps(self, frames: Sequence[Tensor], references: Sequence[Tensor]) -> list[Tensor]:
        """For each of B frames ``[C, H, W]`` the probability of each object ``[K_i, C, h, w]`` to be at a position:
        maps ``[K_i, H, W]``, whose cell i has its centre at pixel ``(i + 0.5) * FRAME_STRIDE``."""
        _, remembered = embed_lists(self.embed, [], references)
        maps = self._correlate(remembered, self.embed_frames(torch.stack(list(frames))))
        return [self.locate(x)[:, 0].sigmoid() for x in maps]

    def _correlate(self, references: Sequence[Tensor], frames: Iterable[Tensor]) -> list[Tensor]:
        """For each of B embedded frames ``[D, H, W]`` its refined correlations ``[K_i, D, H, W]`` with embedded
        objects."""
        kernels = map(self.kernel, references)
        return [
            self.refine(depthwise_correlation(kernel, frame) / kernel.shape[-2:].numel())
            for kernel, frame in zip(kernels, frames, strict=True)
        ]

    def _score(self, objects: Tensor, references: Tensor, inside: Tensor) -> Tensor:
        """The scores ``[N, K + 1]`` from embedded objects, and what each pair's vector is of the correlation with the
        frame, ``inside [N, K, D]``."""
        vectors = torch.einsum("nchw,kchw->nkc", objects, references) / objects.shape[-2:].numel() + inside
        return F.pad(self.score(vectors)[..., 0], (1, 0))


AnyTrackHead = TrackHead | CorrelationTrackHead | LikenessHead  # what a detector may have


def embed_lists(
    embed: nn.Module, objects: Sequence[Tensor], references: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Detected and remembered objects of several frames, embedded in one go."""
    embedded = embed(torch.cat([*objects, *references])).split([len(x) for x in (*objects, *references)])
    return list(embedded[: len(objects)]), list(embedded[len(objects) :])


def embedding(channels: int, width: int) -> nn.Sequential:
    """Two 3x3 convolutions; the norms give objects and frames of all pyramids one scale."""
    half = width // 2
    first, second = nn.Conv2d(channels, half, 3, padding=1), nn.Conv2d(half, width, 3, padding=1)
    return nn.Sequential(first, nn.GroupNorm(8, half), nn.ReLU(), second, nn.GroupNorm(8, width))


def depthwise_correlation(kernels: Tensor, features: Tensor) -> Tensor:
    """Correlates each of K objects with one map, channel by channel, zero-padded to keep its size (Li et al. 2019).

    ``kernels [K, C, h, w]``, ``features [C, H, W]`` -> ``[K, C, H, W]``.
    """
    count, channels, height, width = kernels.shape
    if count == 0:  # torch has no convolution without output channels
        return features.new_zeros(0, *features.shape)
    weight = kernels.transpose(0, 1).reshape(channels * count, 1, height, width)
    correlated = F.conv2d(features[None], weight, padding="same", groups=channels)
    return correlated[0].unflatten(0, (channels, count)).transpose(0, 1)


def pool_pairs(maps: Tensor, boxes: Tensor, stride: int) -> Tensor:
    """The mean of each of K maps ``[K, C, H, W]`` inside each of N boxes ``[N, 4]`` (pixels) -> ``[N, K, C]``."""
    count = len(maps)
    index = torch.arange(count, device=boxes.device).repeat(len(boxes))
    rois = torch.cat([index[:, None].to(boxes), boxes.repeat_interleave(count, 0)], 1)
    maps = maps.to(rois.dtype)  # coordinates need more than the eight bits of mixed precision
    pooled = roi_align(maps, rois, output_size=1, spatial_scale=1 / stride, sampling_ratio=2, aligned=True)
    return pooled.reshape(len(boxes), count, maps.shape[1])


def correlation_at(kernels: Tensor, features: Tensor, cells: Tensor) -> Tensor:
    """What ``depthwise_correlation`` has in S cells for each of N objects, computed there alone.

    ``kernels [K, C, h, w]``, ``features [C, H, W]``, ``cells [N, S]`` (row * W + column) -> ``[N, K, C, S]``.
    """
    height, width = kernels.shape[-2:]
    top, left = (height - 1) // 2, (width - 1) // 2
    padded = F.pad(features, (left, width - 1 - left, top, height - 1 - top))
    rows, columns = cells // features.shape[-1], cells % features.shape[-1]
    y = rows[..., None, None] + torch.arange(height, device=cells.device)[:, None]
    x = columns[..., None, None] + torch.arange(width, device=cells.device)
    return torch.einsum("kchw,cnshw->nkcs", kernels, padded[:, y, x])


def pooled_cells(boxes: Tensor, size: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
    """The cells of a map of the given (height, width) from which ``pool_pairs`` takes its means, and their weights.

    Two by two points of a box, each between four cells: ``boxes [N, 4]`` (pixels) -> ``cells [N, 16]`` int64 (row *
    width + column) and ``weights [N, 16]``.
    """

    def along(low: Tensor, high: Tensor, cells: int) -> tuple[Tensor, Tensor]:
        shares = torch.tensor([0.25, 0.75], device=boxes.device)
        points = (low[:, None] + (high - low)[:, None] * shares) / stride - 0.5  # in cells, from the first one's centre
        in_reach = (points >= -1) & (points <= cells)
        points = points.clamp(0, cells - 1)
        before = points.floor()
        after = (before + 1).clamp(max=cells - 1)
        weights = torch.stack([1 - points + before, points - before], -1) * in_reach[..., None] / 2
        return torch.stack([before, after], -1).long().flatten(1), weights.flatten(1)

    x1, y1, x2, y2 = boxes.float().unbind(1)
    (rows, of_rows), (columns, of_columns) = along(y1, y2, size[0]), along(x1, x2, size[1])
    cells = rows[:, :, None] * size[1] + columns[:, None]
    return cells.flatten(1), (of_rows[:, :, None] * of_columns[:, None]).flatten(1)


def whereabouts(identities: Tensor, target: FrameTarget) -> tuple[Tensor, Tensor]:
    """The boxes ``[K, 4]`` of K identities in a frame, and which of them are there, bool ``[K]``."""
    same = identities[:, None] == target["track_ids"][None]
    return (same[..., None] * target["boxes"]).sum(1), same.any(1)


def gaussian_maps(boxes: Tensor, present: Tensor, size: tuple[int, int], stride: int, sigma: float) -> Tensor:
    """A Gaussian of peak 1 at the centre of each box, zero where the object is not present.

    Args:
        boxes: ``[K, 4]`` in pixels.
        present: bool ``[K]``.
        size: (height, width) of the maps.
        stride: of the maps; the centre of cell i lies at pixel ``(i + 0.5) * stride``.
        sigma: in sides of the box, at least half a cell.

    Returns:
        ``[K, height, width]`` in [0, 1].
    """

    def profile(low: Tensor, high: Tensor, cells: int) -> Tensor:
        position = (torch.arange(cells, device=boxes.device) + 0.5) * stride
        width = (sigma * (high - low)).clamp(min=stride / 2)
        return torch.exp(-0.5 * ((position - (low + high)[:, None] / 2) / width[:, None]) ** 2)

    x1, y1, x2, y2 = boxes.unbind(1)
    maps = profile(y1, y2, size[0])[:, :, None] * profile(x1, x2, size[1])[:, None, :]
    return maps * present[:, None, None]


def match_targets(identities: Tensor, reference_identities: Tensor) -> Tensor:
    """The column of ``TrackHead``'s scores that is right for each object.

    ``identities [N]`` and ``reference_identities [K]`` int64 -> ``[N]`` int64: 1 + the position of the same identity
    among the references, 0 where it is not among them.
    """
    same = identities[:, None] == reference_identities[None]
    return (same * torch.arange(1, same.shape[1] + 1, device=same.device)).sum(1)


def match_losses(
    scores: Sequence[Tensor], objects: Sequence[SampledObjects], reference_targets: Sequence[FrameTarget]
) -> dict[str, Tensor]:
    """``loss_track`` and ``match_accuracy`` of the scores ``[N_i, K_i + 1]`` of sampled objects; see ``match_loss``."""
    columns = [match_targets(o.identities, r["track_ids"]) for o, r in zip(objects, reference_targets, strict=True)]
    loss, accuracy = match_loss(scores, columns)
    return {"loss_track": loss, "match_accuracy": accuracy}


def match_loss(scores: Sequence[Tensor], targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Cross entropy over the K + 1 columns, averaged over all objects of all frames.

    Args:
        scores: for each frame ``[N_i, K_i + 1]``.
        targets: for each frame the right columns ``[N_i]``.

    Returns:
        the loss and the share of objects whose highest score is the right one, both scalars; the loss is a zero with
        gradients and the share NaN where there is no object at all.
    """
    count = sum(len(target) for target in targets)
    if count == 0:
        return sum((s.sum() for s in scores), start=torch.zeros(())) * 0.0, torch.full((), torch.nan)
    pairs = [(s.float(), t) for s, t in zip(scores, targets, strict=True)]
    loss = torch.stack([F.cross_entropy(s, t, reduction="sum") for s, t in pairs]).sum() / count
    correct = torch.stack([(s.argmax(1) == t).sum() for s, t in pairs]).sum() / count
    return loss, correct
