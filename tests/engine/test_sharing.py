"""Functions beside each other: a slow, sick or vanished one costs the others nothing."""

from __future__ import annotations

import asyncio

from faas_connector.contract import Order
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.store import Entry, State
from faas_connector.stores.sqlite import SqliteStore
from faas_connector.testing.memory_source import MemorySource

from .gateway import FAILING, OK, Answer, always
from .loop import EPOCH, run
from .world import World, function, now

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION)
PUSHED = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, journal=True)
SLOWLY = RetryPolicy(attempts=9, min_wait=10.0, max_wait=10.0, backoff=Backoff.EXPONENTIAL)
FAST = RetryPolicy(attempts=20, min_wait=0.1, max_wait=0.1, backoff=Backoff.EXPONENTIAL)


def parked(name: str, data: bytes, topic: str = "t") -> Entry:
    event = Event(topic, data)
    return Entry(State.PARKED, "memory", event, function=FunctionName(name), first=EPOCH)


def beside_a_slow_one() -> World:
    return World(
        [function("slow", concurrency=1), function("b")], [MemorySource()],
        lambda name, _d, _c: Answer(after=4.0) if name == "slow" else OK,
    )  # fmt: skip


def test_what_is_parked_for_a_slow_function_does_not_hold_up_what_is_parked_for_another():
    async def main() -> None:
        world = beside_a_slow_one()
        await world.store.write(
            [*(parked("slow", b"%d" % number) for number in range(1000)), parked("b", b"b")]
        )
        async with world.crashing():
            await asyncio.sleep(300.0)
            assert world.gateway.successes()["b", b"b"] == 1

    run(main())


def test_a_slow_function_has_no_more_than_its_share_in_hand():
    """What is parked for another one later finds a place."""

    async def main() -> None:
        world = beside_a_slow_one()
        await world.store.write([parked("slow", b"%d" % number) for number in range(1000)])
        async with world.crashing() as engine:
            await world.until(lambda: len(world.gateway.log) == 3)
            await world.store.write([parked("b", b"b")])
            engine._poke()
            await world.until(lambda: world.gateway.successes()["b", b"b"], within=10.0)

    run(main())


def test_a_damaged_entry_does_not_keep_a_paused_function_paused():
    async def main() -> None:
        sick = True
        world = World(
            [function("a")], [source := MemorySource(traits=INDIVIDUAL)],
            lambda _f, _d, _c: FAILING if sick else OK, retry=FAST,
        )  # fmt: skip
        await world.store.write(
            [Entry(state=State.PARKED, source="memory", function=FunctionName("a"), event=None,
                   damage="torn", first=EPOCH)]
        )  # fmt: skip
        async with world.running() as engine:
            world.publish(source, b"1")
            await world.until(lambda: engine.health.paused)
            sick = False
            await asyncio.sleep(600.0)
            assert not engine.health.paused
            assert world.gateway.successes()["a", b"1"] == 1

    run(main())


def test_what_is_journalled_for_a_paused_function_is_not_taken_again_and_again(tmp_path):
    async def main() -> None:
        world = World(
            [function("a", concurrency=1)], [MemorySource()], always(FAILING), retry=SLOWLY
        )
        async with SqliteStore(tmp_path) as store:
            world.store = store
            await store.write(
                [Entry(state=State.JOURNAL, source="cron", function=FunctionName("a"),
                       event=Event("t", b"%d" % number), first=now()) for number in range(14)]
            )  # fmt: skip
            looks = 0
            due = store.due

            async def counted(*given, **which):
                nonlocal looks
                looks += 1
                return await due(*given, **which)

            store.due = counted
            async with world.crashing() as engine:
                await world.until(lambda: engine.health.paused, within=10.0)
                await asyncio.sleep(0.2)
                before = looks
                await asyncio.sleep(1.0)
                assert looks - before < 30
            del store.due

    asyncio.run(main())


def test_a_concurrency_that_was_raised_holds_for_those_who_wait():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World([function("a", concurrency=1)], [source], always(Answer(after=2.0)))
        async with world.crashing():
            for number in range(6):
                world.publish(source, b"old%d" % number)
            await asyncio.sleep(0.5)
            world.builder.add(function("a", concurrency=5))
            for number in range(60):  # two at a time, steadily
                world.publish(source, b"new%d" % number)
                await asyncio.sleep(1.0)
            done = [call.data for call in world.gateway.log]
            assert all(b"old%d" % number in done for number in range(6)), done[:10]

    run(main())


def test_a_concurrency_that_was_lowered_holds_for_those_who_wait():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World([function("a", concurrency=8)], [source], always(Answer(after=2.0)))
        async with world.running():
            for number in range(40):
                world.publish(source, b"%d" % number)
            await asyncio.sleep(0.5)
            world.builder.add(function("a", concurrency=1))
            await asyncio.sleep(2.0)  # the eight end
            world.gateway.most_in_flight.clear()
            await asyncio.sleep(8.0)
            assert world.gateway.most_in_flight["a"] <= 1
            await world.quiet()

    run(main())


def test_a_function_that_is_gone_is_not_counted_as_paused_for_ever():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a"), function("b", "u")], [source], always(FAILING),
            retry=RetryPolicy(attempts=10, min_wait=0.1, max_wait=0.1, backoff=Backoff.EXPONENTIAL),
        )  # fmt: skip
        async with world.running() as engine:
            world.publish(source, b"1")
            await world.until(world.dead)
            assert engine.health.paused
            world.builder.remove("a")
            await asyncio.sleep(3600.0)
            assert not engine.health.paused

    run(main())


def test_a_function_of_a_few_failures_is_forgotten_when_it_is_gone():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, history=10)
        world = World(
            [function("keep", "k")], [source],
            lambda _f, _d, call: FAILING if call == 1 else Answer(400),
        )  # fmt: skip
        async with world.running() as engine:
            for number in range(50):
                world.builder.add(function(f"f{number}", f"t{number}"))
                source.publish(Event(f"t{number}", b"%d" % number))
                await asyncio.sleep(3.0)
                world.builder.remove(f"f{number}")
            assert len(engine.health._pausing) < 10, len(engine.health._pausing)

    run(main())


def test_what_is_remembered_of_returned_keys_is_bounded():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, history=10)
        world = World(
            [function("slow", "s", concurrency=1), function("a", order=Order.KEY)], [source],
            lambda name, _d, _c: Answer(after=4.0) if name == "slow"
            else Answer(429, retry_after=3000),
        )  # fmt: skip
        await world.store.write([parked("slow", b"%d" % number, "s") for number in range(1000)])
        async with world.crashing() as engine:
            await asyncio.sleep(1.0)
            for number in range(3000):
                source.publish(Event("t", b"x%d" % number, key=f"k{number}"))
            await asyncio.sleep(60.0)
            assert len(engine.dispatcher.keeping.returned) < 1000

    run(main())
