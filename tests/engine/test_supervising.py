"""Sources that fail: which are opened again, how soon, and which end the run."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from faas_connector.config import Timeouts
from faas_connector.errors import ConfigError
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
