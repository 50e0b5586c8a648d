"""Which classes of COCO stand for the classes of the video data sets: told once, for weights and for pseudo-clips."""

from collections.abc import Sequence

from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from compfeat.structures import Category

_BY_ID = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]  # those that COCO gave up are "N/A"
COCO_CATEGORIES = [Category(i, name) for i, name in enumerate(_BY_ID) if name not in ("__background__", "N/A")]

# Classes that COCO knows by another name, as YouTube-VIS 2019, 2021 and OVIS call them; the closest first, for its
# weights are the ones taken. All other classes go by their own name.
COCO_NAMES = {
    "motorbike": ("motorcycle", "bicycle"),
    "sedan": ("car",),
    "vehical": ("car", "bus", "truck"),  # spelt so in OVIS
    "snowboard": ("snowboard", "skis"),
    "flying_disc": ("frisbee",),
    "mouse": (),  # the animal; COCO's is the pointing device
}
LOOSE = {("motorbike", "bicycle"), ("snowboard", "skis")}  # of another kind, though peers train on them


def coco_ids(name: str, strict: bool = False) -> list[int]:
    """The COCO category ids that stand for a class, the closest first; empty if COCO does not know it.

    Case, spaces and hyphens in names do not count. ``strict`` leaves out the loose pairs: bicycle for motorbike, skis
    for snowboard.
    """
    known = {_normalise(category.name): category.id for category in COCO_CATEGORIES}
    name = _normalise(name)
    aliases = [_normalise(alias) for alias in COCO_NAMES.get(name, (name,)) if not strict or (name, alias) not in LOOSE]
    return [known[alias] for alias in aliases if alias in known]


def coco_class_map(categories: Sequence[Category]) -> dict[int, int]:
    """Label -> the closest COCO category id, of the classes that COCO knows too.

    A label is the 1-based position of its category.
    """
    found = {label: coco_ids(category.name) for label, category in enumerate(categories, start=1)}
    return {label: ids[0] for label, ids in found.items() if ids}


def labels_of_stills(stills: Sequence[Category], categories: Sequence[Category], strict: bool = False) -> list[int]:
    """For each class of still images its label among ``categories``, those of videos; 0 where it has none.

    Names decide, whatever the ids: as those of COCO do, for which another name may stand, or, where all classes of the
    stills are classes of the videos too, as equal names. ``strict`` as in ``coco_ids``.
    """
    names = [_normalise(category.name) for category in stills]
    labels = {_normalise(category.name): label for label, category in enumerate(categories, start=1)}
    if not set(names) <= set(labels):
        known = {category.id: _normalise(category.name) for category in COCO_CATEGORIES}
        labels = {known[coco]: label for name, label in labels.items() for coco in coco_ids(name, strict)}
    return [labels.get(name, 0) for name in names]


def _normalise(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")
