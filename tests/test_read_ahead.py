import threading

import pytest

from compfeat.read_ahead import read_ahead, read_each


def test_items_come_in_order_and_are_made_before_they_are_asked_for():
    made, third = [], threading.Event()

    def source():
        for i in range(9):
            made.append((i, threading.current_thread()))
            if i == 2:
                third.set()
            yield i

    items = read_ahead(source(), depth=2)
    assert made == []  # nothing happens before the first is wanted
    assert next(items) == 0
    assert third.wait(10)  # while nobody asks
    assert len(made) == 3
    assert list(items) == list(range(1, 9))
    assert threading.current_thread() not in {thread for _, thread in made}


def test_what_goes_wrong_is_raised_where_it_would_have_been():
    def source():
        yield 1
        yield 2
        raise ValueError("the third")

    items = read_ahead(source())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(items)
    assert list(items) == []


def test_whoever_has_read_enough_leaves_no_thread():
    before = threading.active_count()
    items = read_ahead(iter(int, 1))
    assert next(items) == 0
    items.close()
    assert threading.active_count() == before
    assert list(read_ahead([])) == []


def test_items_of_a_sequence_are_made_at_the_same_time_and_come_in_order(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    together = threading.Barrier(3, timeout=10)

    class Squares(list):
        def __getitem__(self, index):
            together.wait()  # until three are being made
            return index**2

    assert list(read_each(Squares(range(9)))) == [i**2 for i in range(9)]
    assert list(read_each([])) == []
