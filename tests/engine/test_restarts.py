"""What a run leaves to the next one: nothing is repeated, undercut or forgotten."""

from __future__ import annotations

import asyncio

import pytest

from faas_connector.config import OnFailure, Timeouts
from faas_connector.contract import Order
from faas_connector.errors import ConnectorError
from faas_connector.event import Event
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.store import State
from faas_connector.testing.memory_source import MemorySource

from .gateway import FAILING, OK, Answer
from .loop import run
from .sources import TornSource
from .world import World, function

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION)
BOTH = pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["single", "position"])
PUSHED = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, journal=True)
KINDS = pytest.mark.parametrize(
    ("traits", "positions"),
    [(INDIVIDUAL, True), (INDIVIDUAL, False), (BY_POSITION, True)],
    ids=["single", "single, without positions", "position"],
)
SLOWLY = RetryPolicy(attempts=9, min_wait=10.0, max_wait=10.0, backoff=Backoff.EXPONENTIAL)


@pytest.mark.parametrize("how", ["parked", "dead"])
def test_what_is_parked_or_dead_for_one_function_is_not_repeated_by_the_next_run(how):
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, gives_positions=False)

        def behave(name: str, _data: bytes, call: int) -> Answer:
            if name == "slow":
                return Answer(after=9.0) if call == 1 else OK
            return Answer(400) if how == "dead" else FAILING if call == 1 else OK

        world = World(
            [function("a"), function("slow")], [source], behave, retry=SLOWLY,
            timeouts=Timeouts(call=20.0, cold_start=20.0, drain=0.1),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.store.entries(State.PARKED, State.DEAD))
        async with world.running():
            await world.quiet()
        world.check_all()
        assert len(world.gateway.of("a")) == (1 if how == "dead" else 2)

    run(main())


@pytest.mark.parametrize("ends", ["stop", "crash"])
def test_what_was_parked_and_delivered_of_a_journalled_event_is_not_repeated(ends):
    async def main() -> None:
        source = MemorySource(traits=PUSHED, gives_positions=False)

        def behave(name: str, _data: bytes, call: int) -> Answer:
            if name == "slow":
                return Answer(after=30.0) if world.gateway.process == 1 else OK
            return FAILING if call == 1 else OK

        world = World(
            [function("a"), function("slow")], [source], behave, retry=SLOWLY,
            timeouts=Timeouts(call=60.0, cold_start=60.0, drain=0.1),
        )  # fmt: skip
        async with world.running() if ends == "stop" else world.crashing():
            world.publish(source, b"1")
            await world.until(lambda: world.gateway.successes()["a", b"1"])
            await world.until(lambda: len(world.store.entries()) == 1)  # that of the whole event
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("positions", [True, False])
def test_a_retry_after_of_what_came_from_the_store_is_not_undercut_by_the_next_run(key, positions):
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, gives_positions=positions)
        answers = {1: Answer(429, retry_after=20), 2: Answer(429, retry_after=4)}
        world = World(
            [function("a", order=Order.KEY if key else None)], [source],
            lambda _f, _d, call: answers.get(call, OK),
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1", key=key)
            await world.until(lambda: len(world.gateway.log) == 2 and world.gateway.log[1].end)
            await asyncio.sleep(0.5)
        async with world.running():
            await world.quiet()
        _, second, third = world.gateway.log
        assert third.begin - second.end >= 4.0
        assert third.attempt == 3

    run(main())


def test_a_retry_after_of_what_is_journalled_is_not_undercut_by_the_next_run():
    async def main() -> None:
        source = MemorySource(
            traits=SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, journal=True),
            gives_positions=False,
        )
        world = World(
            [function("a")], [source],
            lambda _f, _d, call: Answer(429, retry_after=4) if call == 1 else OK,
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.gateway.log and world.gateway.log[0].end)
            await asyncio.sleep(0.5)
        async with world.running():
            await world.quiet()
        first, second = world.gateway.log
        assert second.begin - first.end >= 4.0

    run(main())


def test_a_retry_after_of_what_was_parked_while_it_was_called_is_not_undercut():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.0)
        world = World(
            [function("a")], [source],
            lambda _f, _d, call: Answer(429, retry_after=4, after=2.5) if call == 1 else OK,
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await asyncio.sleep(3.0)
            assert source.acked
        async with world.running():
            await world.quiet()
        first, second = world.gateway.log
        assert second.begin - first.end >= 4.0

    run(main())


def test_attempts_of_what_is_in_the_store_are_not_forgotten_at_stops():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        retry = RetryPolicy(attempts=4, min_wait=3.0, max_wait=3.0, backoff=Backoff.EXPONENTIAL)
        world = World(
            [function("a")], [source],
            lambda _f, _d, call: Answer(500, retry_after=20) if call == 1 else FAILING,
            retry=retry, timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.until(world.waiting)
        await asyncio.sleep(20.0)
        for _ in range(10):
            async with world.running():
                await asyncio.sleep(1.0)
        assert len(world.gateway.log) <= 4

    run(main())


@BOTH
def test_what_is_no_event_is_one_dead_letter_though_it_comes_again(traits):
    async def main() -> None:
        source = TornSource(traits=traits)
        world = World(
            [function("a")], [source],
            lambda _f, data, _c: Answer(after=30.0) if world.gateway.process == 1 else OK,
            timeouts=Timeouts(call=60.0, cold_start=60.0, drain=0.1),
        )  # fmt: skip
        async with world.running():
            source.publish(Event("t", b"1"))
            source.publish(Event("t", b"torn"))
            await world.until(lambda: world.store.entries(State.DEAD))
        async with world.running():
            await world.quiet()
        assert len(world.store.entries(State.DEAD)) == 1

    run(main())


@KINDS
def test_a_stop_on_failure_repeats_nothing_and_loses_nothing(traits, positions):
    async def main() -> None:
        source = MemorySource(traits=traits, gives_positions=positions)
        world = World(
            [function("a"), function("b"), function("c")], [source],
            lambda name, _d, call: Answer(400, after=0.3) if name == "b" and call == 1
            else Answer(after=0.6) if name == "c" else OK,
            options={"on_failure": OnFailure.STOP},
        )  # fmt: skip
        world.publish(source, b"1")
        world.publish(source, b"2")
        with pytest.raises(ConnectorError):
            async with world.running():
                await asyncio.sleep(30.0)
        async with world.running():
            await world.quiet()
        world.check()
        world.check_complete()
        assert {each: n for each, n in world.gateway.successes().items() if n > 1} == {}

    run(main())


@KINDS
@pytest.mark.parametrize("moment", [0.05, 0.15, 0.25, 0.35, 0.45, 0.65, 0.85, 1.05, 1.3, 1.6])
def test_an_abort_while_it_is_handed_back(traits, positions, moment):
    async def main() -> None:
        source = MemorySource(traits=traits, gives_positions=positions)
        world = World(
            [function("a", order=Order.KEY), function("b")], [source],
            lambda name, data, call: Answer(after=9.0)
            if name == "b" and world.gateway.process == 1 else OK,
            timeouts=Timeouts(call=20.0, cold_start=20.0, drain=0.1),
        )  # fmt: skip
        world.store.latency = 0.3
        async with world.crashing() as engine:
            for number in range(6):
                world.publish(source, b"%d" % number, key=f"k{number % 2}")
            await asyncio.sleep(1.0)
            engine.stop()
            await asyncio.sleep(moment)
        world.store.latency = 0.0
        async with world.running():
            await world.quiet()
        world.check()
        world.check_complete()

    run(main())
