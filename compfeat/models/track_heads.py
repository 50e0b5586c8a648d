"""Heads that score how likely a detected object is one of the remembered ones, and the losses that train them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from compfeat.models.roi_heads import SampledObjects
from compfeat.quantities import Channels, Positive
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

    def forward(
        self, objects: Sequence[Tensor], boxes: Sequence[Tensor], frames: Sequence[Tensor], references: Sequence[Tensor]
    ) -> list[Tensor]:
        """Scores every detected object of a frame against every remembered object of the same video.

        Args:
            objects: for each of B frames the features ``[N_i, C, h, w]`` of its objects.
            boxes: for each frame the boxes ``[N_i, 4]`` of its objects; unused here.
            frames: for each frame its stride-16 feature map ``[C, H, W]``; unused here.
            references: for each frame the features ``[K_i, C, h, w]`` of the remembered objects.

        Returns:
            for each frame unnormalised scores ``[N_i, K_i + 1]``; column 0 is "a new object" and always zero.
        """
        sizes = [len(x) for x in (*objects, *references)]
        embeddings = self.embed(torch.cat([*objects, *references])).split(sizes)
        pairs = zip(embeddings[: len(objects)], embeddings[len(objects) :], strict=True)
        return [F.pad(self.scale * (x @ r.T), (1, 0)) for x, r in pairs]

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
            frames: the stride-16 feature map ``[C, H, W]`` of each current frame.
            references: the features ``[K_i, C, h, w]`` of the objects of each reference frame.
            targets, reference_targets: the true objects of the current and of the reference frames.

        Returns:
            ``loss_track``, and ``match_accuracy`` as ``match_loss`` gives it.
        """
        scores = self([o.features for o in objects], [o.boxes for o in objects], frames, references)
        return match_losses(scores, objects, reference_targets)


class CorrelationTrackHead(nn.Module):
    """The correlation-based tracking module (paper, "Correlation-based Tracking Module"; Fig. 4).

    Two vectors for every pair of a detected and a remembered object: their depth-wise correlation, and the depth-wise
    correlation of the remembered object with the whole frame, refined and RoIAligned inside the box of the detected
    one. Two 1x1 convolutions map their sum to the score. A one-channel convolution predicts from the refined features
    where the remembered object is; only training looks at that map.

    What is correlated is embedded first, objects and frame alike, as in SiamRPN++ (Li et al. 2019), from which the
    paper takes the correlation: features made for detection say little about which object of a kind this is.

    Args:
        channels: C of the object and frame features.
        width: channels D of the embeddings; None correlates the features as they are, by the paper's letter (D = C).
        sigma: of the Gaussian that supervises the map, in sides of the object's box.
    """

    STRIDE = 16  # of the frame features, in pixels

    def __init__(self, channels: Channels, width: Channels | None = 256, sigma: Positive = 0.25) -> None:
        super().__init__()
        self.sigma = sigma
        self.embed: nn.Module = nn.Identity()
        if width is not None:  # the norm gives objects and frames of all pyramids one scale
            convolution = nn.Conv2d(channels, width, 3, padding=1)
            self.embed = nn.Sequential(convolution, nn.GroupNorm(8, width), nn.ReLU())
        width = width or channels
        self.refine = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())
        self.locate = nn.Conv2d(width, 1, 1)
        # 1x1 convolutions over the N x K pairs, which are linear layers on the last dimension
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(
        self, objects: Sequence[Tensor], boxes: Sequence[Tensor], frames: Sequence[Tensor], references: Sequence[Tensor]
    ) -> list[Tensor]:
        """As ``TrackHead.forward``, which takes the same."""
        return self._match(objects, boxes, frames, references)[0]

    def losses(
        self,
        objects: Sequence[SampledObjects],
        frames: Sequence[Tensor],
        references: Sequence[Tensor],
        targets: Sequence[FrameTarget],
        reference_targets: Sequence[FrameTarget],
    ) -> dict[str, Tensor]:
        """As ``TrackHead.losses``, and ``loss_corr``, the cross entropy of maps and Gaussians (mean over positions)."""
        scores, maps = self._match([o.features for o in objects], [o.boxes for o in objects], frames, references)
        wanted = [
            gaussian_maps(*whereabouts(r["track_ids"], t), (frame.shape[-2], frame.shape[-1]), self.STRIDE, self.sigma)
            for r, t, frame in zip(reference_targets, targets, frames, strict=True)
        ]
        located = self.locate(torch.cat(maps))[:, 0].float()
        loss = F.binary_cross_entropy_with_logits(located, torch.cat(wanted), reduction="sum") / max(1, located.numel())
        return match_losses(scores, objects, reference_targets) | {"loss_corr": loss}

    def location_maps(self, frames: Sequence[Tensor], references: Sequence[Tensor]) -> list[Tensor]:
        """For each of B frames ``[C, H, W]`` the probability of each object ``[K_i, C, h, w]`` to be at a position:
        maps ``[K_i, H, W]``, whose cell i has its centre at pixel ``(i + 0.5) * STRIDE``."""
        embedded = self.embed(torch.cat(list(references))).split([len(r) for r in references])
        maps = map(self.correlate, embedded, self.embed(torch.stack(list(frames))))
        return [self.locate(m)[:, 0].sigmoid() for m in maps]

    def correlate(self, references: Tensor, frame: Tensor) -> Tensor:
        """Refined correlation ``[K, D, H, W]`` of embedded objects ``[K, D, h, w]`` with a frame ``[D, H, W]``."""
        return self.refine(depthwise_correlation(references, frame) / references.shape[-2:].numel())

    def _match(
        self, objects: Sequence[Tensor], boxes: Sequence[Tensor], frames: Sequence[Tensor], references: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The scores of ``forward``, and the refined correlations ``[K_i, D, H, W]`` with each frame."""
        counts = [len(x) for x in (*objects, *references)]
        embedded = self.embed(torch.cat([*objects, *references])).split(counts)
        objects, references = embedded[: len(objects)], embedded[len(objects) :]
        maps = list(map(self.correlate, references, self.embed(torch.stack(list(frames)))))
        vectors = [
            torch.einsum("nchw,kchw->nkc", x, r) / x.shape[-2:].numel() + pool_pairs(correlation, box, self.STRIDE)
            for x, box, r, correlation in zip(objects, boxes, references, maps, strict=True)
        ]
        return [F.pad(self.score(vector)[..., 0], (1, 0)) for vector in vectors], maps


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
    pooled = roi_align(maps, rois.to(maps), output_size=1, spatial_scale=1 / stride, sampling_ratio=2, aligned=True)
    return pooled.reshape(len(boxes), count, maps.shape[1])


def whereabouts(identities: Tensor, target: FrameTarget) -> tuple[Tensor, Tensor]:
    """The boxes ``[K, 4]`` of K identities in a frame, and which of them are there, bool ``[K]``."""
    same = identities[:, None] == target["track_ids"][None]
    return same.to(target["boxes"]) @ target["boxes"], same.any(1)


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
