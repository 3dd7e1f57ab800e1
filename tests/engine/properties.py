"""What holds for every scenario, and how it is tried on many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .loop import run
from .scenarios import Play, Scenario
from .world import SCENARIO

Property = Callable[[Scenario, Any], Awaitable[None]]

CUT_SHORT = ("outage", "break", "vanish", "absent", "forget")
"""What may go wrong while nothing may be repeated over a stop: the store has to work for that."""
MOMENTS = st.lists(st.sampled_from([0.0, 0.005, 0.02, 0.3, 1.1, 4.0]), min_size=1, max_size=4)
"""Seconds of each run until it is stopped, or crashes."""


def for_all(
    holds: Property,
    found: st.SearchStrategy[Scenario],
    more: st.SearchStrategy[Any],
    *,
    examples: int,
    chosen_by: int = 0,
    shrinks: bool = False,
) -> None:
    """Try a property on so many scenarios: the same ones each time, and others for each number."""

    @seed(chosen_by)
    @settings(
        deadline=None,
        database=None,
        max_examples=examples,
        phases=[Phase.generate, Phase.shrink] if shrinks else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(found, more)
    def try_it(scenario: Scenario, more: Any) -> None:
        async def main() -> None:
            await holds(scenario, more)

        run(main())

    try_it()


async def in_one_run(scenario: Scenario, _more: None) -> None:
    """Everything is delivered once, or dead."""
    play = Play(scenario)
    async with play.world.running():
        await play.to_the_end()
    _check(play)
    play.world.check_attempts()
    play.world.check_once()
    assert play.world.settled == [True]


async def without_positions(scenario: Scenario, _more: None) -> None:
    """Nothing is lost; nor repeated, unless the broker takes an event away."""
    play = Play(scenario)
    async with play.world.running():
        await play.to_the_end()
    _check(play)
    if not play.source.expired:
        play.world.check_attempts()
        play.world.check_once()


async def after_stops(scenario: Scenario, moments: list[float]) -> None:
    """Nothing is lost or repeated, whenever it was stopped and begun anew."""
    play = Play(scenario)
    async with asyncio.TaskGroup() as group:
        happening = group.create_task(play.happen(), name=SCENARIO)
        for seconds in moments:
            async with play.world.running():
                await asyncio.sleep(seconds)
        async with play.world.running():
            await happening
            await play.world.quiet()
    _check(play)
    play.world.check_once()


async def after_crashes(scenario: Scenario, moments: list[float]) -> None:
    """Nothing is lost; what was done with before a crash is never called again.

    A deadline may park an event before the one ahead of it: a crash in between loses their order.
    """
    play = Play(scenario)
    calls: dict[bytes, int] = {}
    async with asyncio.TaskGroup() as group:
        happening = group.create_task(play.happen(), name=SCENARIO)
        for seconds in moments:
            async with play.world.crashing():
                await asyncio.sleep(seconds)
            for data in play.world.done_with():
                calls.setdefault(data, play.world.calls_for(data))
        async with play.world.running():
            await happening
            await play.world.quiet()
    _check(play, in_order=scenario.deadline is None)
    assert calls == {data: play.world.calls_for(data) for data in calls}


def _check(play: Play, *, in_order: bool = True) -> None:
    play.world.check(in_order=in_order)
    play.world.check_complete()
