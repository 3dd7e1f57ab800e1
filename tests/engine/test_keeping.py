"""What is written down, counted and told of an event."""

from __future__ import annotations

import asyncio
import logging

import pytest

from faas_connector.config import Limits, OnFailure, Timeouts
from faas_connector.errors import ConnectorError, SourceError
from faas_connector.event import Event
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.store import State
from faas_connector.testing.memory_broker import MemoryDelivery
from faas_connector.testing.memory_source import MemorySource

from .gateway import Answer, always
from .loop import run
from .sources import TornSource
from .world import World, function, now

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION)
PUSHED = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, journal=True)
SLOWLY = RetryPolicy(attempts=9, min_wait=10.0, max_wait=10.0, backoff=Backoff.EXPONENTIAL)


@pytest.mark.parametrize("has_store", [True, False])
def test_what_is_no_event_is_not_dropped_where_on_failure_is_stop(has_store):
    async def main() -> None:
        source = TornSource(traits=INDIVIDUAL)
        world = World([function("a")], [source], options={"on_failure": OnFailure.STOP})
        if not has_store:
            world.store = None
        try:
            async with world.running():
                source.publish(Event("t", b"torn"))
                await asyncio.sleep(1.0)
        except ConnectorError:
            pass
        assert source.kept or (world.store and world.store.entries(State.DEAD))

    run(main())


def test_a_refusal_that_fails_is_no_concern_of_others_in_the_journal(monkeypatch):
    async def main() -> None:
        source = MemorySource(
            traits=SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, journal=True),
            gives_positions=False,
        )
        world = World([function("a")], [source])
        world.store._max_journal_bytes = 10_000
        large = b"x" * 20_000

        async def fails(delivery, delay=0.0):
            raise SourceError("the connection was lost")

        monkeypatch.setattr(MemoryDelivery, "nack", fails)
        async with world.running():
            for data in (b"1", large, b"2"):
                world.publish(source, data)
            await asyncio.sleep(3.0)
            assert {call.data for call in world.gateway.log} == {b"1", b"2"}
            assert {event.data for event in source.acked} == {b"1", b"2"}

    run(main())


def test_each_success_is_written_down_once():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        names = [f"f{number}" for number in range(30)]
        world = World(
            [function(name) for name in names], [source],
            lambda name, _d, _c: Answer(after=1.5 + 0.1 * int(name[1:])),
            retry=SLOWLY, limits=Limits(max_in_flight=4),
            timeouts=Timeouts(call=20.0, cold_start=20.0),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.quiet()
            done = world.store.entries(State.DONE)
            assert len(done) <= 30

    run(main())


def test_deadlines_of_a_lost_session_are_not_told_of_each_second():
    async def main() -> None:
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, extends=True)
        source = MemorySource(traits=traits, deadline=30.0)
        taken, held_until = source._next, 0.0

        def late(link):
            return None if now() < held_until else taken(link)

        source._next = late
        world = World(
            [function("a")], [source], always(Answer(after=50.0)),
            timeouts=Timeouts(call=60.0, cold_start=60.0),
        )  # fmt: skip
        lines = []

        class Count(logging.Handler):
            def emit(self, record):
                lines.append(record.getMessage())

        handler = Count()
        logging.getLogger("faas_connector.source").addHandler(handler)
        async with world.crashing():
            for number in range(20):
                world.publish(source, b"%d" % number)
            await world.until(lambda: len(world.gateway.log) == 20)
            held_until = now() + 30.0
            source.break_connection()
            await asyncio.sleep(29.0)
        logging.getLogger("faas_connector.source").removeHandler(handler)
        extensions = [line for line in lines if "extend" in line]
        assert len(extensions) <= 20, (len(extensions), extensions[0])

    run(main())


def test_what_a_deadline_has_parked_is_counted_as_parked():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.0)
        world = World([function("a", timeout=60.0)], [source], always(Answer(after=10.0)))
        async with world.running() as engine:
            world.publish(source, b"1")
            await world.until(world.waiting)
            await world.quiet()
            assert engine.dispatcher.keeping.counts.parked == 1

    run(main())
