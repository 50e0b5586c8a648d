"""The whole network (paper, Fig. 2): Mask R-CNN on frames refined by other frames, and a head that matches objects."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from compfeat.models.attention import DualAttention, Features, PyramidAttention, SupportMemories, embed_levels
from compfeat.models.labels import Labels
from compfeat.models.proposals import region_proposals
from compfeat.models.roi_heads import PYRAMID, CompFeatRoIHeads, RoIPooling, Sizes, frame_maps
from compfeat.models.track_heads import AnyTrackHead
from compfeat.quantities import Channels, Count, Side
from compfeat.structures import ClipBatch, Detections

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Frames:
    """B frames as the network sees them: normalised images ``[B, 3, H, W]``, (height, width) of each before padding,
    and pyramid maps ``[B, C, H / s, W / s]`` by level."""

    images: Tensor
    image_sizes: Sizes
    maps: Features

    def split(self, size: int = 1) -> list["Frames"]:
        """The frames in parts of ``size``, each by itself as it is."""
        parts = [slice(i, i + size) for i in range(0, len(self.images), size)]
        return [Frames(self.images[p], self.image_sizes[p], {k: x[p] for k, x in self.maps.items()}) for p in parts]

    @classmethod
    def join(cls, parts: Sequence["Frames"]) -> "Frames":
        """The frames of all parts, in their order."""
        return cls(
            torch.cat([part.images for part in parts]),
            [size for part in parts for size in part.image_sizes],
            {level: torch.cat([part.maps[level] for part in parts]) for level in parts[0].maps},
        )


@dataclass(frozen=True)
class Memory:
    """What the attention of both levels knows of the support frames of B clips, or of one video."""

    frame: SupportMemories = field(default_factory=dict)
    objects: SupportMemories = field(default_factory=dict)


class CompFeat(nn.Module):
    """Detects, segments and matches the objects of video frames.

    The parts and their parameter names are those of torchvision's ``MaskRCNN``, so that its weights load as they are.
    Defaults are MaskTrack R-CNN's (Yang et al. 2019), on which the paper is built.

    Args:
        backbone: from images ``[B, 3, H, W]`` to pyramid maps with ``out_channels`` channels.
        num_classes: classes of the data set, without background.
        track_head: scores detected against remembered objects; None detects only, and leaves matching to the
            tracker's cues.
        frame_attention: refines pyramid maps before proposals are made, one module for all levels; None leaves them as
            they are.
        object_attention: refines the features of every RoI before any head sees them; None leaves them as they are.
        support_pooling: by how much the keys and values of the support frames are pooled on each of the pyramid levels
            P2 to P5 for the attention of both levels, by default to cells of 32 pixels.
        support_gradients: whether training goes through the support frames too; False saves memory, and has trained
            batch norms see support frames apart from the others.
        anchor_sizes: side of the anchors in pixels, one for each of the five pyramid levels.
        rpn_batch_size: anchors sampled per frame for the proposal loss, half of them positive.
        proposals: proposals kept per frame.
        roi_batch_size: RoIs sampled per frame for the box loss, a quarter of them positive.
        box_channels: width of the two layers of the box head.
        mask_channels: channels of the four convolutions of the mask head.
    """

    def __init__(
        self,
        backbone: BackboneWithFPN,
        num_classes: Count,
        track_head: AnyTrackHead | None = None,
        frame_attention: DualAttention | None = None,
        object_attention: DualAttention | None = None,
        support_pooling: tuple[Count, Count, Count, Count] = (8, 4, 2, 1),
        support_gradients: bool = True,
        anchor_sizes: tuple[Side, Side, Side, Side, Side] = (32, 64, 128, 256, 512),
        rpn_batch_size: Count = 64,
        proposals: Count = 200,
        roi_batch_size: Count = 128,
        box_channels: Channels = 1024,
        mask_channels: Channels = 256,
    ) -> None:
        super().__init__()
        channels = backbone.out_channels
        self.backbone = backbone
        self.support_pooling = dict(zip(PYRAMID, support_pooling, strict=True))
        self.frame_attention = PyramidAttention(frame_attention, self.support_pooling) if frame_attention else None
        self.support_gradients = support_gradients
        self.rpn = region_proposals(channels, anchor_sizes, rpn_batch_size, proposals)
        self.roi_heads = CompFeatRoIHeads(
            object_attention,
            box_roi_pool=RoIPooling(7),
            box_head=TwoMLPHead(channels * 7 * 7, box_channels),
            box_predictor=FastRCNNPredictor(box_channels, num_classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=roi_batch_size,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=0.0,  # which boxes are kept is up to the labels that `detect` is given
            nms_thresh=1.0,
            detections_per_img=proposals,
            mask_roi_pool=RoIPooling(14),
            mask_head=MaskRCNNHeads(channels, [mask_channels] * 4, dilation=1),
            mask_predictor=MaskRCNNPredictor(mask_channels, mask_channels, num_classes + 1),
        )
        self.track_head = track_head
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)  # in which convolutions are fastest

    def forward(self, batch: ClipBatch) -> dict[str, Tensor]:
        """The losses of B clips.

        Returns:
            scalars ``loss_objectness``, ``loss_rpn_box_reg`` (proposals), ``loss_classifier``, ``loss_box_reg``,
            ``loss_mask`` (current frame), ``loss_track`` (current against reference frame), ``loss_corr`` (correlation
            maps, where the track head makes them), and ``match_accuracy``, the share of the sampled objects that would
            be matched rightly (NaN if there are none). The last three only with a track head.
        """
        targets, references = batch.targets, batch.reference_targets
        seen, support = self.extract_clips(batch)
        memory = self.remember(support)
        current = self.aggregate(seen[0], memory)

        proposals, rpn_losses = self.rpn(ImageList(current.images, current.image_sizes), current.maps, targets)
        objects, roi_losses = self.roi_heads.losses(current.maps, proposals, targets, memory.objects)
        if self.track_head is None:
            return {**rpn_losses, **roi_losses}
        reference = self.aggregate(seen[1], memory)
        remembered = self.roi_heads.object_features(reference.maps, [r["boxes"] for r in references], memory.objects)
        track_losses = self.track_head.losses(
            objects, frame_maps(current.maps).unbind(), remembered, targets, references
        )
        return {**rpn_losses, **roi_losses, **track_losses}

    def extract_clips(self, batch: ClipBatch) -> tuple[list[Frames], Features]:
        """What the backbone makes of B clips, in one pass over all frames that it is trained by.

        Returns:
            the B current frames and, where there is a track head, the B reference frames; and the support maps
            ``[B, T, C, H, W]`` by level, none where no attention looks at them.
        """
        trained = [batch.current] if self.track_head is None else [batch.current, batch.reference]
        support = batch.support.unbind(1) if self.uses_support else ()
        if self.support_gradients:
            frames = self.extract_each([*trained, *support], batch.image_sizes)
            return frames[: len(trained)], support_maps(frames[len(trained) :])
        with torch.no_grad():
            lent = support_maps(self.extract_each(support, batch.image_sizes))
        return self.extract_each(trained, batch.image_sizes), lent

    @property
    def uses_support(self) -> bool:
        """Whether any attention looks at support frames."""
        frame = self.frame_attention and self.frame_attention.attention
        return any(dual and dual.temporal for dual in (frame, self.roi_heads.object_attention))

    def extract(self, images: Tensor, image_sizes: Sizes) -> Frames:
        """The backbone on B frames.

        Args:
            images: ``[B, 3, H, W]``, padded as in ``ClipBatch``; uint8, or float in [0, 1].
            image_sizes: (height, width) of each frame before padding.
        """
        images = self.normalize(images, image_sizes)
        return Frames(images, image_sizes, self.backbone(images))

    def extract_each(self, images: Sequence[Tensor], image_sizes: Sizes) -> list[Frames]:
        """The backbone, in one pass, on several frames of B clips, ``images [B, 3, H, W]`` for each of them."""
        if not images:
            return []
        return self.extract(torch.cat(list(images)), image_sizes * len(images)).split(len(image_sizes))

    def remember(self, support: Features) -> Memory:
        """What attention needs of support maps ``[B, T, C, H, W]`` by level; computed once per video or clip."""
        dual = self.roi_heads.object_attention
        return Memory(
            frame=self.frame_attention.embed(support) if self.frame_attention else {},
            objects=embed_levels(dual, support, self.support_pooling) if dual else {},
        )

    def aggregate(self, frames: Frames, memory: Memory) -> Frames:
        """Frame-level attention on the maps of B frames."""
        if self.frame_attention is None:
            return frames
        return replace(frames, maps=self.frame_attention(frames.maps, memory.frame))

    def detect(self, frames: Frames, memory: Memory, labels: Labels) -> list[Detections]:
        """The objects of B frames, each found by itself; ``memory`` is of their video, ``labels`` chooses."""
        frames = self.aggregate(frames, memory)
        proposals, _ = self.rpn(ImageList(frames.images, frames.image_sizes), frames.maps)
        found = self.roi_heads.detect(frames.maps, proposals, frames.image_sizes, memory.objects, labels)
        return found if self.track_head is None else embedded(self.track_head, found)

    def match(self, detections: Detections, references: Tensor) -> Tensor:
        """Scores the N objects of one frame against K remembered ones.

        ``references [K, ...]`` holds their ``Detections.features``. Returns ``[N, K + 1]``; column 0, "a new object",
        is zero, and so is every other one without a track head.
        """
        if self.track_head is None:
            return detections.scores.new_zeros(len(detections), 1 + len(references))
        return self.track_head.compare(detections.features, detections.boxes, detections.frame, references)

    def normalize(self, images: Tensor, image_sizes: Sizes) -> Tensor:
        """ImageNet statistics on the frames, zero on their padding, as torchvision has it."""
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        images = (images - self.mean) / self.std
        for image, (height, width) in zip(images, image_sizes, strict=True):
            image[:, height:] = 0
            image[:, :, width:] = 0
        return images


def embedded(head: AnyTrackHead, found: Sequence[Detections]) -> list[Detections]:
    """Detections as a track head compares them: what is remembered of an object is embedded once, not in each frame."""
    features = head.embed(torch.cat([d.features for d in found])).split([len(d) for d in found])
    frames = head.embed_frames(torch.stack([d.frame for d in found]))
    return [replace(d, features=x, frame=frame) for d, x, frame in zip(found, features, frames, strict=True)]


def support_maps(frames: Sequence[Frames]) -> Features:
    """The maps ``[B, T, C, H, W]`` by level of the T support frames of B clips; none of none."""
    levels = frames[0].maps if frames else ()
    return {level: torch.stack([of_clips.maps[level] for of_clips in frames], 1) for level in levels}
