import pytest

from compfeat.categories import COCO_CATEGORIES, coco_class_map, coco_ids, labels_of_stills
from compfeat.structures import Category

TABLES = {  # COCO category id -> category id of the data set, as the field uses it
    "ytvis2019": "1>1 2>21 3>6 4>21 5>28 7>17 8>29 9>34 17>14 18>8 19>18 21>15 22>32 23>20 24>30 25>22 35>33 36>33 "
    "41>5 42>27 43>40",
    "ytvis2021": "1>26 2>23 3>5 4>23 5>1 7>36 8>37 9>4 16>3 17>6 18>9 19>19 21>7 22>12 23>2 24>40 25>18 34>14 35>31 "
    "36>31 41>29 42>33 43>34",
    "ovis": "1>1 2>21 3>25 4>22 5>23 6>25 8>25 9>24 16>2 17>3 18>4 19>5 20>6 21>7 22>8 23>9 24>10 25>11",
}
NAMES = {  # of the categories 1, 2, ...
    "ytvis2019": "person giant_panda lizard parrot skateboard sedan ape dog snake monkey hand rabbit duck cat cow fish "
    "train horse turtle bear motorbike giraffe leopard fox deer owl surfboard airplane truck zebra tiger elephant "
    "snowboard boat shark mouse frog eagle earless_seal tennis_racket",
    "ytvis2021": "airplane bear bird boat car cat cow deer dog duck earless_seal elephant fish flying_disc fox frog "
    "giant_panda giraffe horse leopard lizard monkey motorbike mouse parrot person rabbit shark skateboard snake "
    "snowboard squirrel surfboard tennis_racket tiger train truck turtle whale zebra",
    "ovis": "Person Bird Cat Dog Horse Sheep Cow Elephant Bear Zebra Giraffe Poultry Giant_panda Lizard Parrot Monkey "
    "Rabbit Tiger Fish Turtle Bicycle Motorcycle Airplane Boat Vehical",
}
LOOSE = {"ytvis2019": {2, 35}, "ytvis2021": {2, 35}, "ovis": set()}


def categories(data_set):
    return [Category(i, name) for i, name in enumerate(NAMES[data_set].split(), start=1)]


def coco_labels(classes, strict=False):
    """COCO category id -> label."""
    labels = labels_of_stills(COCO_CATEGORIES, classes, strict)
    return {coco.id: label for coco, label in zip(COCO_CATEGORIES, labels, strict=True) if label}


def table(data_set):
    return {int(a): int(b) for a, b in (pair.split(">") for pair in TABLES[data_set].split())}


@pytest.mark.parametrize("data_set", TABLES)
def test_names_reproduce_the_id_tables(data_set):
    expected = table(data_set)
    assert coco_labels(categories(data_set)) == expected
    strict = {coco: own for coco, own in expected.items() if coco not in LOOSE[data_set]}
    assert coco_labels(categories(data_set), strict=True) == strict


@pytest.mark.parametrize("data_set", TABLES)
def test_pretrained_rows_and_pseudo_clips_share_their_classes(data_set):
    rows = coco_class_map(categories(data_set))
    assert set(rows) == set(table(data_set).values())
    assert all(table(data_set)[coco] == label for label, coco in rows.items())


def test_class_map_goes_by_name_and_takes_the_closest():
    names = ["Giant_panda", "tennis racket", "Motorbike", "snowboard", "mouse", "Person"]
    assert coco_class_map([Category(10 * i, name) for i, name in enumerate(names)]) == {2: 43, 3: 4, 4: 36, 6: 1}
    assert coco_ids("vehical") == [3, 6, 8]


def test_a_label_is_a_position_not_an_id():
    assert coco_labels([Category(5, "dog"), Category(90, "cat")]) == {18: 1, 17: 2}


def test_classes_of_stills_go_by_name_whatever_their_ids():
    videos = [Category(i, name) for i, name in enumerate(["mouse", "dog", "motorbike"], start=1)]
    renumbered = [Category(i, c.name) for i, c in enumerate(COCO_CATEGORIES)]
    found = {c.name: label for c, label in zip(renumbered, labels_of_stills(renumbered, videos), strict=True) if label}
    assert found == {"dog": 2, "motorcycle": 3, "bicycle": 3}  # COCO's mouse is no animal
    assert labels_of_stills([Category(9, "Dog"), Category(4, "mouse")], videos) == [2, 1]
