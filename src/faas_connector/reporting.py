"""What a report says of a run, from what the parts of the engine have counted."""

from __future__ import annotations

from collections.abc import Iterable

from faas_connector.dispatcher import Dispatcher
from faas_connector.limiter import Limiter
from faas_connector.metrics import RunReport, SourceReport
from faas_connector.pursuit import PursuitCounts
from faas_connector.runnables import Served
from faas_connector.store import StoreCounts
from faas_connector.supervisor import Supervisor


def run_report(
    sources: Iterable[tuple[Supervisor, Served]],
    dispatcher: Dispatcher,
    calls: PursuitCounts,
    limiter: Limiter,
    *,
    is_gate_closed: bool,
    store_works: bool,
    store: StoreCounts | None,
    paused: int,
) -> RunReport:
    """How the run stands."""
    counts, settler = dispatcher.keeping.counts, dispatcher.settler
    return RunReport(
        sources=tuple(_source(supervisor, it) for supervisor, it in sources),
        in_flight=limiter.in_flight,
        waiting=limiter.waiting,
        is_gate_closed=is_gate_closed,
        store_works=store_works,
        store=store,
        paused=paused,
        events={
            "acknowledged": settler.acked,
            "not_acknowledged": settler.unacked.count,
            "redelivered": counts.redelivered,
            "duplicate": counts.duplicates,
            "refused": counts.refused,
        },
        verdicts={
            "delivered": calls.delivered,
            "accepted": calls.accepted,
            "parked": counts.parked,
            "dead_lettered": counts.dead_lettered,
            "dropped": counts.dropped,
        },
        durations=settler.durations,
    )


def _source(supervisor: Supervisor, it: Served) -> SourceReport:
    intake = it.intake
    return SourceReport(
        name=it.source.name,
        is_connected=supervisor.connected,
        reopened=supervisor.reopened,
        missing_topics=len(supervisor.lacks.topics),
        unsettled=intake.unsettled,
        unsettled_bytes=intake.unsettled_bytes,
        lag=intake.lag,
        counts=intake.counts,
    )
