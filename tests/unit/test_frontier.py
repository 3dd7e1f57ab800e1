"""Up to where the events of a partition may be acknowledged."""

from faas_connector.frontier import Frontier


def frontier(*events):
    found = Frontier()
    for event in events:
        found.add(event)
    return found


def test_nothing_passes_the_first_gap():
    read = frontier(1, 2, 3)
    assert read.finish(2) == []
    assert read.beyond() == [2]
    assert read.finish(1) == [1, 2]
    assert read.beyond() == []
    assert read.finish(3) == [3]


def test_what_comes_again_keeps_its_place():
    read = frontier(1, 2)
    read.add(1)
    assert read.finish(2) == []
    assert read.finish(1) == [1, 2]


def test_what_is_finished_stays_so_though_it_comes_again():
    read = frontier(1, 2)
    read.finish(2)
    read.add(2)
    assert read.finish(1) == [1, 2]


def test_what_was_never_read_finishes_nothing():
    read = frontier(1)
    assert read.finish(2) == []
    assert read.beyond() == []
