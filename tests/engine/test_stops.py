"""What a stop waits for, and what is left to the next run."""

from __future__ import annotations

import asyncio

import pytest

from faas_connector.config import Timeouts
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.testing.memory_source import MemorySource

from .gateway import FAILING, OK, Answer, always
from .loop import run
from .world import World, function

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION)
BOTH = pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["single", "position"])
SLOWLY = RetryPolicy(attempts=9, min_wait=10.0, max_wait=10.0, backoff=Backoff.EXPONENTIAL)


@BOTH
@pytest.mark.parametrize("was_parked", [True, False], ids=["parked", "fresh"])
def test_a_verdict_that_is_being_written_when_the_drain_is_over_is_not_lost(traits, was_parked):
    async def main() -> None:
        source = MemorySource(traits=traits)
        # The fresh one is parked for its other function: the store has to be told of that.
        names = ("a",) if was_parked else ("a", "b")
        world = World(
            [function(name) for name in names], [source],
            lambda name, _data, call: FAILING if name == names[-1] and call == 1 else OK,
            retry=SLOWLY, timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.2),
        )  # fmt: skip
        world.store.latency = 0.3
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.gateway.successes()["a", b"1"])
        assert world.settled == [False]
        async with world.running():
            await world.quiet()
        world.check()
        world.check_complete()
        world.check_once()

    run(main())


def test_a_verdict_that_comes_while_its_deadline_parks_it_is_not_lost_in_a_stop():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.0)
        world = World(
            [function("a")], [source], always(Answer(after=2.3)),
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        world.store.latency = 0.2
        async with world.running():
            world.publish(source, b"1")
            await asyncio.sleep(2.15)  # it is being parked, and the call goes on until 2.3
        async with world.running():
            await world.quiet()
        world.check()
        world.check_complete()
        world.check_once()

    run(main())
