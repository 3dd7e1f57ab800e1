"""Counting, without any run."""

from faas_connector.metrics import (
    BUCKETS,
    CallBook,
    Histogram,
    Phase,
    Report,
    RunReport,
    SourceCounts,
    SourceReport,
)
from faas_connector.names import FunctionName


def called(book, name, known):
    counts = book.of(FunctionName(name, "ns"), lambda each: each.name in known)
    counts.delivered += 1
    counts.duration.observe(0.1)


def test_functions_beyond_the_most_share_one_count():
    book = CallBook(most=2)
    for name in ("a", "b", "c", "d", "a"):
        called(book, name, known={"a", "b", "c", "d"})
    assert {name: each.delivered for name, each in book.by_name().items()} == {
        "a.ns": 2, "b.ns": 1, "": 2,
    }  # fmt: skip


def test_a_function_that_is_gone_makes_room_and_its_calls_stay_counted():
    book = CallBook(most=2)
    called(book, "a", known={"a", "b"})
    called(book, "b", known={"a", "b"})
    called(book, "c", known={"b", "c"})
    found = book.by_name()
    assert {name: each.delivered for name, each in found.items()} == {"b.ns": 1, "c.ns": 1, "": 1}
    assert sum(found[""].duration.counts) == 1


def test_a_bound_belongs_to_its_bucket():
    histogram = Histogram()
    for seconds in (BUCKETS[0], BUCKETS[0] + 1e-9, BUCKETS[-1] + 1):
        histogram.observe(seconds)
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-1]) == (1, 1, 1)


def source(name, *, is_connected):
    return SourceReport(
        name=name, is_connected=is_connected, reopened=0, unsettled=0, unsettled_bytes=0, lag=None,
        counts=SourceCounts(),
    )  # fmt: skip


def running(*sources, store_works=True, is_gate_closed=False):
    run = RunReport(
        sources=sources, in_flight=0, waiting=0, is_gate_closed=is_gate_closed,
        store_works=store_works, store=None, paused=0, events={}, verdicts={},
        durations=Histogram(),
    )  # fmt: skip
    return Report(phase=Phase.RUNNING, run=run)


def test_what_keeps_it_from_being_ready():
    up, down = source("orders", is_connected=True), source("mails", is_connected=False)
    assert running(up).unready() == running(up, is_gate_closed=True).unready() == []
    assert running(up, down).unready() == ["source mails is not connected"]
    assert running(up, store_works=False).unready() == ["the store fails"]
    assert Report(phase=Phase.STARTING).unready() == ["there is no map of functions yet"]
    assert Report(phase=Phase.DRAINING).unready() == ["it is draining"]
    assert Report(phase=Phase.IDLE).unready() == ["no run has begun, or it is over"]
