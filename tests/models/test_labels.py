import torch

from compfeat.models.labels import HardLabels, SoftLabels

SIZE = (40, 60)


def proposed():
    """Three boxes, the same for both classes: two sights of one object, taken for different classes, and another."""
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0], [1.0, 0.0, 21.0, 20.0], [30.0, 0.0, 70.0, 20.0]])
    classes = torch.tensor([[0.5, 0.3], [0.2, 0.55], [0.1, 0.04]])
    return boxes[:, None].repeat(1, 2, 1), classes


def test_soft_labels_find_an_object_once_with_all_its_probabilities():
    boxes, classes = SoftLabels()(*proposed(), SIZE)
    torch.testing.assert_close(classes, torch.tensor([[0.5, 0.3], [0.1, 0.04]]))  # 0.8 is surer than 0.75
    assert boxes.tolist() == [[0, 0, 20, 20], [30, 0, 60, 20]]  # clipped to the frame


def test_hard_labels_find_an_object_once_for_each_class():
    boxes, classes = HardLabels()(*proposed(), SIZE)
    torch.testing.assert_close(classes, torch.tensor([[0.0, 0.55], [0.5, 0.0], [0.1, 0.0]]))
    assert boxes[0].tolist() == [1, 0, 21, 20]


def test_hard_labels_of_many_classes_take_no_more_memory_than_is_kept():
    classes = torch.zeros(200, 20_000)  # a row for every pair would be 320 GB
    classes[3, 7] = 0.9
    boxes = torch.tensor([0.0, 0.0, 20.0, 20.0]).expand(200, 20_000, 4)
    found, kept = HardLabels()(boxes, classes, SIZE)
    assert found.tolist() == [[0, 0, 20, 20]] and kept.nonzero().tolist() == [[0, 7]]


def test_a_soft_box_is_that_of_its_likeliest_class():
    boxes, classes = proposed()
    boxes[1, 1] = torch.tensor([25.0, 20.0, 35.0, 40.0])
    found, _ = SoftLabels()(boxes, classes, SIZE)
    assert [25, 20, 35, 40] in found.tolist() and len(found) == 3


def test_unsure_boxes_and_those_beyond_the_most_are_dropped():
    for labels in (SoftLabels, HardLabels):
        assert len(labels(score_threshold=0.3)(*proposed(), SIZE)[0]) == (1 if labels is SoftLabels else 2)
        assert [len(labels(detections=most)(*proposed(), SIZE)[0]) for most in (1, 2)] == [1, 2]
        boxes, classes = proposed()
        assert len(labels()(boxes + 100, classes, SIZE)[0]) == 0  # outside the frame
        boxes, classes = labels()(torch.zeros(0, 2, 4), torch.zeros(0, 2), SIZE)
        assert boxes.shape == (0, 4) and classes.shape == (0, 2)
