"""The order of a key: over restarts, over what is held, and where the store is slow."""

from __future__ import annotations

import asyncio

import pytest

from faas_connector.config import Timeouts, Unmatched
from faas_connector.contract import Order
from faas_connector.names import FunctionName
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.store import Entry, State
from faas_connector.testing.memory_source import MemorySource

from .gateway import FAILING, OK, Answer
from .loop import EPOCH, run
from .world import World, function

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION)
BOTH = pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["single", "position"])
PUSHED = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, journal=True)
SLOWLY = RetryPolicy(attempts=9, min_wait=10.0, max_wait=10.0, backoff=Backoff.EXPONENTIAL)


@pytest.mark.parametrize("latency", [0.1, 0.2])
def test_what_is_parked_of_a_key_keeps_its_order_though_the_store_is_slow(latency):
    """The first event fails three times, and is parked each time; a write takes long."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a", order=Order.KEY)], [source],
            lambda _f, data, call: FAILING if data == b"0" and call < 4 else OK,
            retry=RetryPolicy(attempts=9, min_wait=0.5, max_wait=0.5, backoff=Backoff.EXPONENTIAL),
            options={"park_after": 0.1},
        )  # fmt: skip
        world.store.latency = latency
        async with world.running():
            for number in range(40):
                world.publish(source, b"%d" % number, key="k")
                await asyncio.sleep(latency)
            await world.quiet(within=1000.0)
        taken = [int(call.data) for call in world.gateway.log if call.ok]
        assert taken == sorted(taken)

    run(main())


async def look_up_redeliveries(world: World) -> None:
    """The store has a verdict, and so is asked about what may have come before; it takes long."""
    other = FunctionName("other")
    verdict = Entry(State.DONE, "memory", None, position="x", function=other, due=EPOCH + 86400.0)
    await world.store.write([verdict])
    world.store.latency = 0.05


@BOTH
def test_what_is_held_of_a_key_is_held_in_its_order_though_the_first_comes_again(traits):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World([function("other", "u")], [source], options={"unmatched": Unmatched.HOLD})
        await look_up_redeliveries(world)
        async with world.crashing():
            world.publish(source, b"1", key="k")
            await asyncio.sleep(0.01)
        assert not world.waiting()
        world.publish(source, b"2", key="k")
        for data in (b"1", b"2"):
            world.wanted[data] = ("a",)
        async with world.running():
            await world.until(lambda: len(world.waiting()) == 2)
            world.builder.add(function("a", order=Order.KEY))
            await world.quiet()
        assert [call.data for call in world.gateway.of("a")] == [b"1", b"2"]

    run(main())


@BOTH
def test_what_is_behind_something_held_keeps_its_order_though_the_first_comes_again(traits):
    async def main() -> None:
        source = MemorySource(traits=traits)
        ordered = function("a", order=Order.KEY)
        world = World([function("other", "u")], [source], options={"unmatched": Unmatched.HOLD})
        await look_up_redeliveries(world)
        async with world.crashing():
            world.publish(source, b"0", key="k")
            await world.until(world.waiting)
            await asyncio.sleep(1.0)
            world.builder.add(ordered)
            world.publish(source, b"1", key="k")
            await asyncio.sleep(0.01)
        world.publish(source, b"2", key="k")
        async with world.running():
            await world.quiet()
        assert [call.data for call in world.gateway.of("a") if call.ok] == [b"0", b"1", b"2"]

    run(main())


@pytest.mark.parametrize("ends", ["stop", "crash"])
@pytest.mark.parametrize("count", [5, 800])
def test_what_is_left_in_the_journal_goes_before_what_a_new_run_reads(ends, count):
    async def main() -> None:
        source = MemorySource(traits=PUSHED, gives_positions=False)
        world = World(
            [function("a", order=Order.KEY)], [source],
            timeouts=Timeouts(call=60.0, cold_start=60.0, drain=0.1),
        )  # fmt: skip
        world.store.latency = 0.002
        world.gateway.go_down()
        async with world.running() if ends == "stop" else world.crashing():
            for number in range(count):
                world.publish(source, b"%d" % number, key="k")
            await world.until(lambda: not source.kept)
        world.gateway.come_back()
        for number in range(count, count + 5):
            world.publish(source, b"%d" % number, key="k")
        async with world.running():
            await world.quiet()
        taken = [int(call.data) for call in world.gateway.log if call.ok]
        assert taken == sorted(taken), taken[:8]

    run(main())


def test_a_redelivered_event_does_not_hold_up_the_key_of_a_function_that_has_it():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)

        def behave(name: str, data: bytes, call: int) -> Answer:
            if (name, data) != ("slow", b"1"):
                return OK
            return FAILING if call == 1 else Answer(after=40.0)

        world = World(
            [function("a", order=Order.KEY), function("slow", timeout=60.0)], [source], behave,
            retry=SLOWLY, options={"park_after": 60.0},
        )  # fmt: skip
        async with world.crashing():
            world.publish(source, b"1", key="k")
            await world.until(lambda: world.store.entries(State.DONE))
        async with world.running():
            await world.until(lambda: len(world.gateway.of("slow", b"1")) == 2)
            world.publish(source, b"2", key="k")
            await asyncio.sleep(5.0)
            assert world.gateway.successes()["slow", b"2"] == 1
            assert world.gateway.successes()["a", b"2"] == 1
            await world.quiet()
        world.check_all()

    run(main())
