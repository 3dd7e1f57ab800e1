"""What a function declares may change while its events are tried again."""

from __future__ import annotations

import asyncio

import pytest

from faas_connector.names import Invocation
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, SourceTraits
from faas_connector.store import Reason, State
from faas_connector.testing.memory_source import MemorySource

from .gateway import FAILING, OK, Answer
from .loop import run
from .world import World, function

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
CONNECTORS = RetryPolicy(attempts=2, min_wait=1.0, max_wait=1.0, backoff=Backoff.EXPONENTIAL)
PARKED = pytest.mark.parametrize("park_after", [5.0, 0.1], ids=["in memory", "parked"])


@PARKED
def test_a_mode_that_changes_leaves_the_retries_to_the_functions_policy_and_route(park_after):
    async def main() -> None:
        world = World(
            [function("a", retry_attempts=6, retry_codes=frozenset({409}))],
            [source := MemorySource(traits=INDIVIDUAL)],
            lambda _name, data, call: Answer(409) if data == b"1" and call < 6 else OK,
            retry=CONNECTORS, options={"park_after": park_after},
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.gateway.log and world.gateway.log[0].end)
            changed = function(
                "a", mode=Invocation.ASYNC, retry_attempts=6, retry_codes=frozenset({409})
            )
            world.builder.add(changed)
            await world.quiet()
            world.publish(source, b"2")
            await world.quiet()
        assert [call.is_async for call in world.gateway.of("a", b"1")] == [False] * 6
        assert {call.is_async for call in world.gateway.of("a", b"2")} == {True}
        assert world.gateway.successes().keys() == {("a", b"1"), ("a", b"2")}

    run(main())


@PARKED
def test_other_changes_hold_from_the_next_decision_on(park_after):
    async def main() -> None:
        world = World(
            [function("a", retry_attempts=6)], [source := MemorySource(traits=INDIVIDUAL)],
            lambda _name, _data, _call: FAILING, retry=CONNECTORS,
            options={"park_after": park_after},
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: len(world.gateway.log) == 2)
            world.builder.add(function("a", retry_attempts=3))
            await world.quiet()
        assert len(world.gateway.log) == 3
        assert world.dead() == {("a", b"1")}

    run(main())


@PARKED
def test_an_enqueueing_that_failed_stays_with_the_queue_though_its_function_turns_synchronous(
    park_after,
):
    async def main() -> None:
        world = World(
            [function("a", mode=Invocation.ASYNC, retry_attempts=6)],
            [source := MemorySource(traits=INDIVIDUAL)],
            lambda _name, _data, _call: FAILING, retry=CONNECTORS,
            options={"park_after": park_after},
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await asyncio.sleep(0.5)
            world.builder.add(function("a", retry_attempts=6))
            await world.quiet()
        assert [call.is_async for call in world.gateway.log] == [True, True]
        assert world.dead() == {("a", b"1")}

    run(main())


def test_what_is_too_old_waits_no_longer_for_a_function_that_vanished():
    async def main() -> None:
        world = World(
            [function("a")], [source := MemorySource(traits=INDIVIDUAL)],
            retry=RetryPolicy(max_age=60.0),
        )  # fmt: skip
        async with world.running():
            world.builder.set_missing({"a"})
            world.publish(source, b"1")
            await asyncio.sleep(54.0)
            assert world.dead() == set()
            await world.until(world.dead, within=10.0)
        [letter] = world.store.entries(State.DEAD)
        assert (letter.reason, letter.attempts) == (Reason.EXPIRED, 0)

    run(main())


def test_what_was_parked_is_not_dead_because_a_new_run_has_not_heard_of_its_function_yet():
    """Its namespace can't be listed, or it is being made again, while the connector starts."""

    async def main() -> None:
        contract = function("a")
        world = World([contract, function("b")], [source := MemorySource(traits=INDIVIDUAL)])
        async with world.running():
            world.builder.set_missing({"a"})
            world.publish(source, b"1")
            await world.until(lambda: source.acked)
        world.builder.remove("a")
        world.builder.unheard.add("a")
        async with world.running():
            await asyncio.sleep(20.0)
            assert world.dead() == set()
            world.builder.unheard.clear()
            world.builder.add(contract)
            await world.quiet()
        world.check_all()

    run(main())
