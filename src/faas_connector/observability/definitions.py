"""Which metrics there are: their names, what they say, and where a report has their values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from faas_connector.metrics import Histogram, MapReport, Phase, Report, RunReport, SourceReport
from faas_connector.store import StoreCounts

OTHERS: Final = "other"
"""The function of what is not counted one by one."""

Sample = tuple[tuple[str, ...], "float | Histogram"]
"""The labels' values, and the value."""
Render = Callable[[Report], tuple[str, bytes]]
"""Makes a page of a report: its content type, and its text."""


class Type(enum.Enum):
    """What a metric's value is."""

    COUNTER = "counter"
    """Rises while the process lives."""
    GAUGE = "gauge"
    """As it is now."""
    HISTOGRAM = "histogram"
    """How often something took how long."""


class Metric(msgspec.Struct, frozen=True):
    """One metric."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Report], Iterable[Sample]]


def _metric(
    name: str, kind: Type, text: str, samples: Callable[[Report], Iterable[Sample]], *labels: str
) -> Metric:
    return Metric(f"faas_connector_{name}", kind, text, labels, samples)


def _of_run(value: Callable[[RunReport], float | Histogram]) -> Callable[[Report], list[Sample]]:
    return lambda report: [] if report.run is None else [((), value(report.run))]


def _of_map(value: Callable[[MapReport], float]) -> Callable[[Report], list[Sample]]:
    return lambda report: [] if report.map is None else [((), value(report.map))]


def _of_store(value: Callable[[StoreCounts], float]) -> Callable[[Report], list[Sample]]:
    def samples(report: Report) -> list[Sample]:
        store = report.run.store if report.run else None
        return [] if store is None else [((), value(store))]

    return samples


def _of_sources(value: Callable[[SourceReport], float | None]) -> Callable[[Report], list[Sample]]:
    def samples(report: Report) -> list[Sample]:
        found = [(each.name, value(each)) for each in report.run.sources] if report.run else []
        return [((name,), number) for name, number in found if number is not None]

    return samples


def _attempts(report: Report) -> Iterator[Sample]:
    for function, counts in report.calls.items():
        for outcome, count in counts.outcomes().items():
            yield (function or OTHERS, outcome), count


def _durations(report: Report) -> Iterator[Sample]:
    for function, counts in report.calls.items():
        yield (function or OTHERS,), counts.duration


def _verdicts(report: Report) -> Iterator[Sample]:
    if report.run is not None:
        for verdict, count in report.run.verdicts.items():
            yield (verdict,), count


def _event(which: str) -> Callable[[Report], list[Sample]]:
    return _of_run(lambda run: run.events[which])


COUNTER, GAUGE, HISTOGRAM = Type.COUNTER, Type.GAUGE, Type.HISTOGRAM

METRICS: Final = (
    _metric("ready", GAUGE, "1 while /readyz answers 200, else 0.",
            lambda report: [((), float(not report.unready()))]),
    _metric("draining", GAUGE, "1 while what is in hand is settled before the end, else 0.",
            lambda report: [((), float(report.phase is Phase.DRAINING))]),
    # Events
    _metric("events_read_total", COUNTER, "Events that a source has read.",
            _of_sources(lambda it: it.counts.read), "source"),
    _metric("events_matched_total", COUNTER, "Events that at least one function was to have.",
            _of_sources(lambda it: it.counts.matched), "source"),
    _metric("events_unmatched_total", COUNTER,
            "Events that no function asked for, acknowledged or dead-lettered as such.",
            _of_sources(lambda it: it.counts.unmatched), "source"),
    _metric("events_dropped_total", COUNTER,
            "Events that came and found no room, of a source that can't stop reading.",
            _of_sources(lambda it: it.counts.dropped), "source"),
    _metric("events_acknowledged_total", COUNTER, "Events that their source was told are done.",
            _event("acknowledged")),
    _metric("events_not_acknowledged_total", COUNTER,
            "Events whose acknowledgement failed; they may come again.",
            _event("not_acknowledged")),
    _metric("events_redelivered_total", COUNTER,
            "Events that came again while they were in hand; none was called again for it.",
            _event("redelivered")),
    _metric("events_duplicate_total", COUNTER,
            "Events that were left out, since the sender's id of them was known.",
            _event("duplicate")),
    _metric("events_refused_total", COUNTER,
            "Events that the journal had no room for, or could not write.", _event("refused")),
    _metric("event_duration_seconds", HISTOGRAM,
            "From an event's reading until each function has it, or the store keeps it.",
            _of_run(lambda run: run.durations)),
    _metric("unsettled_events", GAUGE, "Events that are read and not settled.",
            _of_sources(lambda it: it.unsettled), "source"),
    _metric("unsettled_bytes", GAUGE, "Bytes of such events.",
            _of_sources(lambda it: it.unsettled_bytes), "source"),
    # Calls
    _metric("attempts_total", COUNTER,
            "Calls by what became of them: delivered, accepted (by the gateway's queue), failed, "
            "absent (the function was asleep or missing, or there was no connection), refused, "
            "outage (charged to nobody).",
            _attempts, "function", "outcome"),
    _metric("attempt_duration_seconds", HISTOGRAM,
            "From a call's beginning to its answer's end.", _durations, "function"),
    _metric("verdicts_total", COUNTER,
            "Verdicts over one event and one function: delivered, accepted, parked (each time), "
            "dead_lettered, dropped.", _verdicts, "verdict"),
    _metric("calls_in_flight", GAUGE, "Calls that run.", _of_run(lambda run: run.in_flight)),
    _metric("calls_waiting", GAUGE, "Calls that wait for their turn.",
            _of_run(lambda run: run.waiting)),
    _metric("functions_paused", GAUGE, "Functions that fail throughout; their events are parked.",
            _of_run(lambda run: run.paused)),
    # Sources
    _metric("source_connected", GAUGE, "1 while the source is open, else 0.",
            _of_sources(lambda it: it.is_connected), "source"),
    _metric("source_reopened_total", COUNTER, "How often the source was opened after a failure.",
            _of_sources(lambda it: it.reopened), "source"),
    _metric("source_missing_topics", GAUGE,
            "Topics that the source is to read and that aren't there, while it reads others.",
            _of_sources(lambda it: it.missing_topics), "source"),
    _metric("source_lag_seconds", GAUGE,
            "The last event's age when it was read, where its broker says its time.",
            _of_sources(lambda it: it.lag), "source"),
    # Gateway
    _metric("gate_closed", GAUGE, "1 while the gateway is down and calls wait for it, else 0.",
            _of_run(lambda run: run.is_gate_closed)),
    _metric("map_functions", GAUGE, "Functions in the map.", _of_map(lambda it: it.functions)),
    _metric("map_topics", GAUGE, "Topics and patterns that functions ask for.",
            _of_map(lambda it: it.topics)),
    _metric("map_age_seconds", GAUGE, "Since the last refresh of the map without any failure.",
            _of_map(lambda it: it.age)),
    _metric("map_refreshes_total", COUNTER, "Refreshes of the map that were begun.",
            _of_map(lambda it: it.refreshes)),
    _metric("map_refresh_failures_total", COUNTER, "Those of which a request failed.",
            _of_map(lambda it: it.failures)),
    # Store
    _metric("store_working", GAUGE, "1 while the store works or there is none, else 0.",
            _of_run(lambda run: run.store_works)),
    _metric("parked_events", GAUGE, "Events in the store that wait for a function.",
            _of_store(lambda it: it.parked)),
    _metric("dead_letters", GAUGE, "Dead letters in the store.", _of_store(lambda it: it.dead)),
    _metric("journal_events", GAUGE, "Events in the journal.", _of_store(lambda it: it.journal)),
    _metric("journal_bytes", GAUGE, "Bytes of the journal, which its limit is about.",
            _of_store(lambda it: it.journal_bytes)),
    _metric("subscriber_dropped_total", COUNTER,
            "Responses that a subscriber (the log of responses, for example) was too slow for.",
            lambda report: [((), report.responses_dropped)]),
)  # fmt: skip
"""All metrics, but for those of the process (`process_*`, `python_info`)."""
