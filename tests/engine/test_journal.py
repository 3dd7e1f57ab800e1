"""Events that are on disk before they are accepted: written, delivered and removed in groups."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from faas_connector.config import Timeouts
from faas_connector.errors import SourceError
from faas_connector.journal import Journal
from faas_connector.source import Guarantee, SourceTraits
from faas_connector.store import State
from faas_connector.testing.memory_broker import MemoryDelivery
from faas_connector.testing.memory_source import MemorySource

from .gateway import FAILING, OK, Answer, always
from .loop import run
from .sources import FiringSource
from .world import World, function

PUSHED = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, journal=True)
SOON = Timeouts(call=20.0, cold_start=20.0, drain=0.1)


def pushing() -> MemorySource:
    return MemorySource(traits=PUSHED, gives_positions=False)


@pytest.fixture
def tasks(monkeypatch):
    """How many tasks were begun, by name."""
    begun: Counter[str] = Counter()
    create_task = asyncio.BaseEventLoop.create_task

    def watched(loop, work, *, name=None, **more):
        begun[name] += 1
        return create_task(loop, work, name=name, **more)

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_task", watched)
    return begun


def test_events_that_come_together_are_written_and_removed_together(tasks):
    async def main() -> None:
        world = World([function("a")], [source := pushing()])
        async with world.running() as engine:
            for number in range(50):
                world.publish(source, b"%d" % number)
            await world.quiet()
            assert engine.dispatcher.keeping.held == set()
            [served] = engine._served
            assert (served.intake.unsettled, served.intake.running) == (0, {})
        world.check_all()
        assert tasks["delivery"] == 0
        assert tasks["journal"] <= 2
        assert tasks["end of journalled events"] <= 2

    run(main())


def test_one_that_finds_no_room_in_the_journal_is_refused_and_the_others_are_not():
    async def main() -> None:
        once = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, journal=True)
        source = MemorySource(traits=once, gives_positions=False)
        world = World([function("a")], [source])
        world.store._max_journal_bytes = 10_000
        large = b"x" * 20_000
        async with world.running() as engine:
            for data in (b"1", large, b"2"):
                world.publish(source, data)
            await world.until(lambda: len(world.gateway.log) == 2)
            await world.quiet()
            assert engine.dispatcher.keeping.counts.refused == 1
            [served] = engine._served
            assert (served.intake.unsettled, served.intake.running) == (0, {})
        assert world.gateway.successes() == {("a", b"1"): 1, ("a", b"2"): 1}
        assert [event.data for event in source.nacked] == [large]

    run(main())


def test_one_whose_first_call_fails_stays_in_the_journal_until_it_is_delivered():
    async def main() -> None:
        world = World(
            [function("a")], [source := pushing()],
            lambda _name, data, call: FAILING if data == b"7" and call == 1 else OK,
        )  # fmt: skip
        async with world.running() as engine:
            for number in range(20):
                world.publish(source, b"%d" % number)
            await world.until(lambda: len(world.gateway.successes()) == 19)
            assert [e.event.data for e in world.store.entries(State.JOURNAL)] == [b"7"]
            await world.quiet()
            assert engine.dispatcher.keeping.held == set()
        world.check_complete()
        assert world.calls_for(b"7") == 2

    run(main())


@pytest.mark.parametrize("functions", [["a"], ["a", "b"]], ids=["one", "two"])
@pytest.mark.parametrize("ends", ["stop", "crash"])
@pytest.mark.parametrize("moment", [0.05, 0.15, 0.25, 0.35, 0.45, 0.6, 0.8, 1.1])
def test_an_end_at_any_moment_loses_nothing(functions, ends, moment):
    """While it is written, before it is called, during the call, while it is removed."""

    async def main() -> None:
        world = World(
            [function(name) for name in functions], [source := pushing()],
            always(Answer(after=0.1)), timeouts=SOON,
        )  # fmt: skip
        async with world.crashing() if ends == "crash" else world.running():
            world.store.latency = 0.1
            for number in range(20):
                world.publish(source, b"%d" % number)
            await asyncio.sleep(moment)
        accepted = {event.data for event in source.acked}
        delivered = {data for _, data in world.gateway.successes()}
        assert accepted <= delivered | {entry.event.data for entry in world.waiting()}
        world.store.latency = 0.0
        async with world.running():
            await world.quiet()
        world.check()
        world.check_complete()

    run(main())


def test_a_stop_while_it_is_removed_repeats_nothing():
    async def main() -> None:
        world = World([function("a")], [source := pushing()], timeouts=SOON)
        async with world.running():
            for number in range(20):
                world.publish(source, b"%d" % number)
            await world.until(lambda: world.store.entries(State.JOURNAL))
            world.store.latency = 0.5
            await world.until(lambda: len(world.gateway.successes()) == 20)
        world.store.latency = 0.0
        assert world.waiting() == []
        async with world.running():
            await world.quiet()
        world.check_once()

    run(main())


def test_what_is_journalled_is_delivered_though_its_source_fails_to_hear_of_it(monkeypatch):
    async def main() -> None:
        def fail(_delivery):
            raise SourceError("nobody is there to hear it")

        monkeypatch.setattr(MemoryDelivery, "ack_nowait", fail)
        once = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, journal=True)
        source = MemorySource(traits=once, gives_positions=False)
        world = World([function("a")], [source])
        async with world.running():
            for number in range(5):
                world.publish(source, b"%d" % number)
            await world.until(lambda: len(world.gateway.successes()) == 5)
            await world.quiet()
        world.check_complete()
        world.check_once()

    run(main())


def test_what_nobody_foresaw_leaves_a_group_unsettled_and_gives_its_room_back(monkeypatch):
    async def main() -> None:
        world = World([function("a")], [source := pushing()])
        async with world.running() as engine:
            append = Journal.append

            async def fail_once(journal, events):
                monkeypatch.setattr(Journal, "append", append)
                raise RuntimeError("a mistake")

            monkeypatch.setattr(Journal, "append", fail_once)
            world.publish(source, b"1")
            world.publish(source, b"2")
            await world.until(lambda: Journal.append is append)
            world.publish(source, b"3")
            await world.until(lambda: world.gateway.successes()["a", b"3"])
            assert world.calls_for(b"1") == world.calls_for(b"2") == 0
            assert [event.data for event in source.acked] == [b"3"]
            [served] = engine._served
            assert (served.intake.unsettled, served.intake.running) == (0, {})

    with pytest.raises(AssertionError, match="a mistake"):  # the world's, over what was logged
        run(main())


def test_calls_of_events_of_different_stores_have_different_names():
    """A function takes what has the same name for a repetition, and ids are small numbers."""

    async def main() -> set[str]:
        world = World([function("a")], [source := pushing()])
        async with world.running():
            world.publish(source, b"1")
            await world.quiet()
        return {call.call_id for call in world.gateway.log}

    assert len(run(main()) | run(main())) == 2


@pytest.mark.parametrize("kind", [MemorySource, FiringSource])
def test_an_event_has_the_same_name_after_a_crash(kind):
    async def main() -> None:
        world = World(
            [function("a")], [source := kind(traits=PUSHED, gives_positions=False)],
            lambda _name, _data, call: Answer(after=9.0) if call == 1 else OK, timeouts=SOON,
        )  # fmt: skip
        async with world.crashing():
            world.publish(source, b"1")
            await world.until(lambda: world.gateway.log)
        async with world.running():
            await world.quiet()
        assert len(world.gateway.log) == 2
        assert len({call.call_id for call in world.gateway.log}) == 1

    run(main())
