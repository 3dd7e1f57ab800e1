"""Sources that fail: which are opened again, how soon, and which end the run."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from faas_connector.config import Timeouts
from faas_connector.errors import ConfigError, SourceError
from faas_connector.event import Event
from faas_connector.source import Guarantee, SourceTraits
from faas_connector.testing.memory_source import MemorySource

from .gateway import Answer, always
from .loop import run
from .world import World, function, now

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)


class Wrong:
    """Can never work as it is set up."""

    name = "wrong"
    traits = INDIVIDUAL

    @asynccontextmanager
    async def open(self, _session):
        await asyncio.sleep(1.0)
        raise ConfigError("wrong: there is no such queue")
        yield


def test_a_source_that_can_never_work_ends_the_run_and_the_others_drain():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a")], [source], always(Answer(after=3.0)), others=[Wrong()],
            timeouts=Timeouts(call=5.0, cold_start=5.0),
        )  # fmt: skip
        engine = world._engine()
        world.publish(source, b"1")
        begun = now()
        with pytest.raises(ConfigError, match="no such queue"):
            async with asyncio.timeout(60.0):
                await engine.run()
        assert 3.0 <= now() - begun < 5.0
        assert [event.data for event in source.acked] == [b"1"]

    run(main())


def test_after_a_long_session_a_source_is_opened_again_at_once():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World([function("a")], [source])
        async with world.running():
            for opened in range(1, 10):
                await world.until(lambda opened=opened: source._broker.opened == opened, within=1.0)
                await asyncio.sleep(61.0)
                source.break_connection()

    run(main())


def test_a_source_that_fails_again_and_again_is_opened_less_and_less_often():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        source.refusals = 1000
        world = World([function("a")], [source])
        async with world.running():
            await asyncio.sleep(300.0)
            tried = 1000 - source.refusals
        # At least half of 0.5, 1, 2, 4, 8, 16 s and then of 30 s apart.
        assert 10 <= tried <= 25

    run(main())


class _BugError(Exception):
    pass


async def _first_three():
    for number in range(3):
        yield Event("t", b"%d" % number)


async def _fails():
    async for event in _first_three():
        yield event
    raise _BugError("after\nthe third")


async def _is_cancelled_from_inside():
    async for event in _first_three():
        yield event
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("generator", "said"),
    [
        (_fails, "source _fails failed.* asked for the rest: _BugError: after the third; catch"),
        (_is_cancelled_from_inside, "reading was cancelled from inside"),
    ],
)
def test_a_generator_that_fails_ends_the_run_once_what_it_gave_is_delivered(
    generator, said, caplog
):
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a")], [source], always(Answer(after=3.0)), others=[generator]
        )  # fmt: skip
        with pytest.raises(SourceError, match=said) as caught:
            async with asyncio.timeout(60.0):
                await world._engine().run()
        assert sorted(call.data for call in world.gateway.log) == [b"0", b"1", b"2"]
        assert len(world.gateway.successes()) == 3
        told = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
        assert told == [f"the run ends: {caught.value}"]
        assert "\n" not in told[0]

    run(main())


def test_what_a_failed_generator_gave_is_waited_for_no_longer_than_a_drain_takes():
    async def main() -> None:
        world = World(
            [function("a")], [], always(Answer(after=300.0)), others=[_fails],
            timeouts=Timeouts(call=1000.0, cold_start=1000.0, drain=7.0),
        )  # fmt: skip
        begun = now()
        with pytest.raises(SourceError, match="after the third"):
            await world._engine().run()
        assert now() - begun < 9.0

    run(main())


def test_a_generator_that_ends_ends_its_source_only():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World([function("a")], [source], others=[_first_three])
        async with world.running():
            await world.until(lambda: len(world.gateway.log) == 3)
            await asyncio.sleep(100.0)
            world.publish(source, b"later")
            await world.quiet()
        assert len(world.gateway.log) == 4
        assert world.settled == [True]

    run(main())


@pytest.mark.parametrize("guarantee", Guarantee)
def test_an_event_that_no_call_can_be_made_of_ends_the_run_at_once(guarantee):
    async def main() -> None:
        source = MemorySource(traits=SourceTraits(guarantee=guarantee))
        world = World([function("a")], [source], always(Answer(after=3.0)))
        world.publish(source, b"1")
        source.publish(Event("t", b"2", time=12.0))
        with pytest.raises(ConfigError, match="source memory gave an event whose time is float"):
            async with asyncio.timeout(5.0):
                await world._engine().run()
        is_gone = guarantee is Guarantee.AT_MOST_ONCE
        assert len(world.gateway.successes()) == is_gone  # what comes again need not be waited for
        assert source.violations == []

    run(main())
