"""The YouTube-VIS layout, or results, as COCO json over the frames of videos, as COCO-VID tools read it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from pycocotools import mask as rle

from compfeat.data.annotations.measures import measured
from compfeat.data.annotations.reader import Video
from compfeat.data.errors import AnnotationError
from compfeat.masks import whole_rle
from compfeat.structures import RLE, Category


def to_coco_video(
    videos: Sequence[Video], categories: Sequence[Category], results: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """``videos``, ``images``, ``annotations`` and ``categories`` of COCO: an image a frame, an annotation a mask.

    An image has ``video_id`` and its position in the video, from 0, as ``frame_id`` (COCO-VID) and ``frame_index``
    (TAO); an annotation the identity of its object, the same in all frames and no other object's of the whole file, as
    ``instance_id`` and ``track_id``. Masks are compressed RLE. Ids of videos, tracks and categories stay as they are.

    Args:
        videos: with their tracks.
        categories: their classes.
        results: entries of results.json, which take the place of the tracks: identities are then positions in it, from
            1, and annotations have a ``score``.

    Raises:
        AnnotationError: a mask of the results is not sound.
    """
    found = None if results is None else list(_of_results(results, videos))
    content: dict[str, Any] = {
        "videos": [],
        "images": [],
        "annotations": [],
        "categories": [asdict(category) for category in categories],
    }
    for video in videos:
        size = {"height": video.height, "width": video.width}
        content["videos"].append({"id": video.id, "name": video.name} | size)
        first = len(content["images"]) + 1
        for frame, name in enumerate(video.file_names):
            place = {"video_id": video.id, "frame_id": frame, "frame_index": frame}
            content["images"].append({"id": first + frame, "file_name": name} | size | place)
        things = _of_tracks(video, categories) if found is None else (f for f in found if f.video == video.id)
        for thing in things:
            for frame, mask in enumerate(thing.masks):
                if not mask or not rle.area(mask):
                    continue
                content["annotations"].append(
                    {"id": len(content["annotations"]) + 1, "image_id": first + frame, "video_id": video.id}
                    | thing.members
                    | measured(mask)
                )
    return content


class _Thing(NamedTuple):
    """An object: its video, what all its annotations say, and its mask in each frame."""

    video: int
    members: dict[str, Any]
    masks: Sequence[RLE | None]


def _of_tracks(video: Video, categories: Sequence[Category]) -> Iterator[_Thing]:
    for track in video.tracks:
        members = {"category_id": categories[track.label - 1].id, "iscrowd": int(track.crowd)}
        yield _Thing(video.id, members | _identity(track.id), track.segmentations)


def _of_results(results: Sequence[Mapping[str, Any]], videos: Sequence[Video]) -> Iterator[_Thing]:
    sizes = {video.id: (video.height, video.width) for video in videos}
    for number, entry in enumerate(results, start=1):
        members = {"category_id": entry["category_id"], "iscrowd": 0, "score": entry["score"]}
        try:
            masks = [mask and whole_rle(mask, *sizes[entry["video_id"]]) for mask in entry["segmentations"]]
        except ValueError as error:
            raise AnnotationError(f"a mask of results entry {number - 1} is not valid: {error}") from error
        yield _Thing(entry["video_id"], members | _identity(number), masks)


def _identity(number: int) -> dict[str, int]:
    return {"instance_id": number, "track_id": number}
