"""Counting, without any run."""

from faas_connector.metrics import (
    BUCKETS,
    CallBook,
    CallCounts,
    Histogram,
    MapReport,
    Phase,
    Report,
    RunReport,
    SourceCounts,
    SourceReport,
)
from faas_connector.names import FunctionName
from faas_connector.observability.definitions import METRICS
from faas_connector.store import StoreCounts


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


def numbered():
    """A report whose every number is another one."""
    orders = SourceReport(
        name="orders", is_connected=True, reopened=2, missing_topics=3, unsettled=4,
        unsettled_bytes=5, lag=6.5, counts=SourceCounts(read=7, matched=8, unmatched=9, dropped=10),
    )  # fmt: skip
    run = RunReport(
        sources=(orders, source("mails", is_connected=False)),
        in_flight=11, waiting=12, is_gate_closed=True, store_works=False, paused=13,
        store=StoreCounts(parked=14, journal=15, journal_bytes=16, dead=17, done=18),
        events={"acknowledged": 19, "not_acknowledged": 20, "redelivered": 21, "duplicate": 22,
                "refused": 23},
        verdicts={"delivered": 24, "parked": 25}, durations=Histogram(),
    )  # fmt: skip
    calls = CallCounts()
    calls.delivered, calls.accepted, calls.failed = 26, 27, 28
    calls.absent, calls.refused, calls.outages = 29, 30, 31
    return Report(
        phase=Phase.RUNNING, run=run, calls={"printer.ns": calls, "": CallCounts()},
        map=MapReport(functions=32, topics=33, age=34.5, refreshes=35, failures=36),
        responses_dropped=37,
    )  # fmt: skip


EXPECTED = {
    "ready": 0, "draining": 0, "events_acknowledged_total": 19, "events_not_acknowledged_total": 20,
    "events_redelivered_total": 21, "events_duplicate_total": 22, "events_refused_total": 23,
    "calls_in_flight": 11, "calls_waiting": 12, "functions_paused": 13, "gate_closed": 1,
    "map_functions": 32, "map_topics": 33, "map_age_seconds": 34.5, "map_refreshes_total": 35,
    "map_refresh_failures_total": 36, "store_working": 0, "parked_events": 14, "dead_letters": 17,
    "journal_events": 15, "journal_bytes": 16, "subscriber_dropped_total": 37,
}  # fmt: skip
OF_SOURCES = {
    "events_read_total": 7, "events_matched_total": 8, "events_unmatched_total": 9,
    "events_dropped_total": 10, "unsettled_events": 4, "unsettled_bytes": 5, "source_connected": 1,
    "source_reopened_total": 2, "source_missing_topics": 3, "source_lag_seconds": 6.5,
}  # fmt: skip


def test_each_metric_says_what_it_is_called_after():
    report = numbered()
    found = {each.name: dict(each.samples(report)) for each in METRICS}
    found = {name.removeprefix("faas_connector_"): samples for name, samples in found.items()}
    assert found.pop("event_duration_seconds") == {(): report.run.durations}
    calls = report.calls["printer.ns"]
    assert found.pop("attempt_duration_seconds")["printer.ns",] is calls.duration
    attempts = found.pop("attempts_total")
    outcomes = ("delivered", "accepted", "failed", "absent", "refused", "outage")
    assert [attempts["printer.ns", each] for each in outcomes] == [26, 27, 28, 29, 30, 31]
    assert attempts["other", "delivered"] == 0
    assert found.pop("verdicts_total") == {("delivered",): 24, ("parked",): 25}
    for name, value in OF_SOURCES.items():
        assert found.pop(name)["orders",] == value, name
    assert found == {name: {(): value} for name, value in EXPECTED.items()}


def test_what_is_not_known_is_no_sample():
    report = Report(phase=Phase.STARTING)
    known = {each.name for each in METRICS if list(each.samples(report))}
    prefix = "faas_connector_"
    assert known == {f"{prefix}ready", f"{prefix}draining", f"{prefix}subscriber_dropped_total"}
    silent = dict(_of("source_lag_seconds").samples(running(source("mails", is_connected=True))))
    assert silent == {}


def _of(name):
    [found] = [each for each in METRICS if each.name == f"faas_connector_{name}"]
    return found
