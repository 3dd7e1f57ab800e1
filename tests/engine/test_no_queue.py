"""A gateway without a queue, and functions that are called asynchronously: nothing is decided."""

from __future__ import annotations

import asyncio
import logging

import pytest

from faas_connector.config import Limits
from faas_connector.names import Invocation
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.testing.memory_source import MemorySource

from .gateway import OK, Answer
from .loop import run
from .world import SCENARIO, World, function

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION)
BOTH = pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["single", "position"])
NO_QUEUE = Answer(404, body=b"404 page not found\n")


@BOTH
def test_reading_stops_and_nothing_gets_a_verdict_until_there_is_a_queue(traits, caplog):
    async def main() -> None:
        source = MemorySource(traits=traits)
        has_queue = asyncio.Event()
        world = World(
            [function("a", mode=Invocation.ASYNC), function("b")], [source],
            lambda name, _data, _call: OK if name == "b" or has_queue.is_set() else NO_QUEUE,
            limits=Limits(max_in_flight=4, max_unsettled=50),
        )  # fmt: skip
        async with world.running():
            logging.getLogger("faas_connector").propagate = True
            world.publish(source, b"0")
            await world.until(lambda: world.gateway.of("a"))
            await asyncio.sleep(0.1)
            for number in range(1, 200):
                world.publish(source, b"%d" % number)
            await asyncio.sleep(4.0)
            assert len(source.unsettled) < 5
            await asyncio.sleep(2 * 3600.0)
            assert (source.acked, source.nacked) == ([], [])
            assert len(source.unsettled) <= 51
            assert (world.waiting(), world.dead()) == ([], set())
            # Four at a time, once in five seconds.
            assert len(world.gateway.of("a")) <= 4 * (2 * 3600 / 5 + 2)
            has_queue.set()
            await world.quiet(within=60.0)
        assert [each.levelname for each in caplog.records if "no queue" in each.message] == [
            "ERROR"
        ]
        world.check_all()

    run(main())


def test_what_was_called_before_is_not_repeated_after_a_crash():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a", mode=Invocation.ASYNC), function("b")], [source],
            lambda name, _data, _call: OK if name == "b" or world.gateway.process > 1 else NO_QUEUE,
        )  # fmt: skip
        async with world.crashing():
            world.publish(source, b"0")
            await asyncio.sleep(8.0)
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


def test_a_function_that_turns_synchronous_lets_reading_go_on():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a", mode=Invocation.ASYNC)], [source],
            lambda _name, data, call: NO_QUEUE if (data, call) == (b"0", 1) else OK,
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"0")
            await world.until(lambda: world.gateway.log)
            world.builder.add(function("a"))
            load = asyncio.create_task(_publish(world, source), name=f"{SCENARIO}: load")
            await world.until(lambda: len(source.acked) == 21, within=30.0)
            await load
        assert [call.data for call in world.gateway.log if call.is_async] == [b"0"]
        world.check()
        world.check_complete()

    run(main())


async def _publish(world: World, source: MemorySource) -> None:
    for number in range(1, 21):
        world.publish(source, b"%d" % number)
        await asyncio.sleep(0.5)
