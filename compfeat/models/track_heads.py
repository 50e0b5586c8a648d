"""Heads that score how likely a detected object is one of the remembered ones, and the loss that trains them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TrackHead(nn.Module):
    """The MaskTrack R-CNN tracking branch (Yang et al. 2019): two fully connected layers and scaled dot products.

    Args:
        channels: C of the object features.
        size: height and width of the object features.
        hidden: width of both layers; no ReLU follows the last.
    """

    def __init__(self, channels: int, size: int = 7, hidden: int = 1024) -> None:
        super().__init__()
        last = nn.Linear(hidden, hidden)
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, hidden), nn.ReLU(), last)
        # A dot product sums `hidden` terms: with torch's default initialisation it starts in the thousands, the softmax
        # saturates, and the matching never leaves chance. Small last weights and the scale start it near zero.
        self.scale = hidden**-0.5
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)

    def forward(self, objects: Sequence[Tensor], references: Sequence[Tensor]) -> list[Tensor]:
        """Scores every detected object of a frame against every remembered object of the same video.

        Args:
            objects: for each of B frames the features ``[N_i, C, h, w]`` of its objects.
            references: for each of B frames the features ``[K_i, C, h, w]`` of the remembered objects.

        Returns:
            for each frame unnormalised scores ``[N_i, K_i + 1]``; column 0 is "a new object" and always zero.
        """
        sizes = [len(x) for x in (*objects, *references)]
        embeddings = self.embed(torch.cat([*objects, *references])).split(sizes)
        pairs = zip(embeddings[: len(objects)], embeddings[len(objects) :], strict=True)
        return [F.pad(self.scale * (x @ r.T), (1, 0)) for x, r in pairs]


def match_targets(identities: Tensor, reference_identities: Tensor) -> Tensor:
    """The column of ``TrackHead``'s scores that is right for each object.

    ``identities [N]`` and ``reference_identities [K]`` int64 -> ``[N]`` int64: 1 + the position of the same identity
    among the references, 0 where it is not among them.
    """
    same = identities[:, None] == reference_identities[None]
    return (same * torch.arange(1, same.shape[1] + 1, device=same.device)).sum(1)


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
