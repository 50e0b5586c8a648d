"""Small data sets and videos written for tests."""

import json
import struct
from fractions import Fraction
from itertools import accumulate, cycle, islice

import av
import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

HEIGHT, WIDTH = 20, 40


def box_mask(x, y, width, height):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def compressed(mask):
    encoded = rle.encode(np.asfortranarray(mask))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def uncompressed(mask):
    flat = mask.T.flatten()
    runs = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
    return {"size": list(mask.shape), "counts": runs if flat[0] == 0 else [0, *runs]}


def write_data_set(
    root,
    lengths=(4, 1, 2),
    json_path="{split}.json",
    images="{split}/JPEGImages",
    split="train",
    annotations=True,
    change=lambda content: None,
):
    """Videos of the given lengths: object 1 of a video is its class's bright box, frame i is of grey level 40 * i.

    ``change`` gets the content of the json before it is written.
    """
    videos, entries = [], []
    for number, length in enumerate(lengths, start=1):
        names = [f"v{number}/{i}.png" for i in range(length)]
        videos.append({"id": number, "width": WIDTH, "height": HEIGHT, "length": length, "file_names": names})
        segmentations, boxes = [], []
        for i, name in enumerate(names):
            mask = box_mask(4 + i, 5, 8, 6)
            image = np.full((HEIGHT, WIDTH, 3), 40 * i, np.uint8)
            image[mask > 0] = (10, 20, 250)  # BGR on disk
            path = root / images.format(split=split) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
            segmentations.append(compressed(mask))
            boxes.append([4 + i, 5, 8, 6])
        entry = {"id": 10 * number, "video_id": number, "category_id": 7, "iscrowd": 0}
        entries.append(entry | {"segmentations": segmentations, "bboxes": boxes})
        crowd = [compressed(box_mask(20, 0, 20, 20))] * length
        entries.append(entry | {"id": 10 * number + 1, "iscrowd": 1, "segmentations": crowd})
    categories = [{"id": 9, "name": "dog"}, {"id": 7, "name": "cat"}]
    content = {"videos": videos, "categories": categories, "annotations": entries if annotations else None}
    change(content)
    path = root / json_path.format(split=split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return root


def write_clip(
    path, count=40, gop=12, b_frames=2, gaps=(40,), encoder="libx264", options=None, muxer=None, size=(64, 48)
):
    """A small video of frames that all differ, ``gaps`` milliseconds apart in turn."""
    if encoder not in av.codecs_available:
        pytest.skip(f"no encoder {encoder}")
    rng = np.random.default_rng(0)
    times = accumulate(islice(cycle(gaps), count - 1), initial=0)
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(encoder, rate=25, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "rgb8" if encoder == "gif" else "yuv420p"
        stream.gop_size, stream.codec_context.time_base = gop, Fraction(1, 1000)
        if encoder != "gif":
            stream.max_b_frames = b_frames
        for i, time in enumerate(times):
            image = np.full((*size[::-1], 3), 3 * i % 256, np.uint8)
            image[2 * i % 40 :, 3 * i % 50 :] = rng.integers(0, 256, 3)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_clip_of_two_sizes(folder):
    """A video of 10 frames of 64 x 48 pixels, then of 96 x 80."""
    parts = [write_clip(folder / f"{size[0]}.ts", 10, b_frames=0, size=size) for size in ((64, 48), (96, 80))]
    path = folder / "two.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def write_photo_in_tiles(path):
    """A HEIC photo of two tiles, which hold nothing."""

    def box(kind, *content):
        return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)

    tile, other, photo, plain = 1, 2, 3, bytes(4)
    kinds = {tile: b"hvc1", other: b"hvc1", photo: b"grid"}
    infos = [box(b"infe", b"\2\0\0\0", struct.pack(">HH4sx", item, 0, kind)) for item, kind in kinds.items()]
    sizes = [box(b"ispe", plain, struct.pack(">II", width, 48)) for width in (64, 128)]
    sized = struct.pack(">I HBB HBB HBB", 3, tile, 1, 1, other, 1, 1, photo, 1, 2)
    places = [struct.pack(">4H2I", item, 1, 0, 1, 0, 8) for item in kinds]  # in idat
    meta = [
        box(b"hdlr", plain, bytes(4), b"pict", bytes(13)),
        box(b"pitm", plain, struct.pack(">H", photo)),
        box(b"iinf", plain, struct.pack(">H", 3), *infos),
        box(b"iref", plain, box(b"dimg", struct.pack(">4H", photo, 2, tile, other))),
        box(b"iprp", box(b"ipco", *sizes), box(b"ipma", plain, sized)),
        box(b"idat", struct.pack(">4B2H", 0, 0, 0, 1, 128, 48)),
        box(b"iloc", b"\1\0\0\0", struct.pack(">2BH", 0x44, 0, 3), *places),
    ]
    path.write_bytes(box(b"ftyp", b"heic", bytes(4), b"mif1heic") + box(b"meta", plain, *meta))
    return path
