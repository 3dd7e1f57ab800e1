"""What drives the store through a run: past what is damaged, and past mistakes of our own."""

from __future__ import annotations

import asyncio
import logging

import pytest

from faas_connector.config import Unmatched
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.retry import RetryPolicy
from faas_connector.store import Entry, Reason, State
from faas_connector.testing.memory_source import MemorySource

from .gateway import Answer, always
from .loop import EPOCH, run
from .world import World, function, now


def parked(data: bytes, **more) -> Entry:
    return Entry(
        state=State.PARKED, source="memory", function=FunctionName("a"), event=Event("t", data),
        first=EPOCH, **more,
    )  # fmt: skip


def damaged(state: State) -> Entry:
    return Entry(
        state=state, source="memory", function=FunctionName("a"), event=None, damage="torn",
        first=EPOCH,
    )  # fmt: skip


def test_what_is_damaged_stays_and_holds_up_nothing_else(caplog):
    async def main() -> None:
        world = World([function("a")], [MemorySource()])
        await world.store.write(
            [damaged(State.JOURNAL), damaged(State.PARKED), parked(b"1"), parked(b"2")]
        )
        async with world.running():
            logging.getLogger("faas_connector").propagate = True
            await world.until(lambda: len(world.gateway.log) == 2, within=1.0)
            await asyncio.sleep(300.0)
        assert [entry.id for entry in world.store.entries()] == [1, 2]
        said = [each.message for each in caplog.records if "can't be read: torn" in each.message]
        assert [each.split()[1] for each in said] == ["1", "2"]

    run(main())


def test_of_a_long_answer_a_dead_letter_keeps_the_beginning():
    async def main() -> None:
        body = b"begin" + bytes(100_000)
        world = World([function("a")], [source := MemorySource()], always(Answer(400, body=body)))
        async with world.running():
            world.publish(source, b"1")
            await world.quiet()
        [dead] = world.store.entries(State.DEAD)
        assert dead.answer == body[:4096]

    run(main())


def test_what_is_held_for_whoever_asks_is_a_dead_letter_at_its_greatest_age():
    async def main() -> None:
        world = World(
            [], [source := MemorySource()], options={"unmatched": Unmatched.HOLD},
            retry=RetryPolicy(max_age=300.0),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await asyncio.sleep(299.0)
            assert [entry.state for entry in world.store.entries()] == [State.PARKED]
            await asyncio.sleep(62.0)
            [dead] = world.store.entries()
        assert (dead.state, dead.reason) == (State.DEAD, Reason.UNMATCHED)

    run(main())


def test_verdicts_are_forgotten_when_their_time_is_over():
    async def main() -> None:
        world = World([function("a")], [MemorySource()])
        await world.store.write(
            [
                Entry(state=State.DONE, source="s", position=str(hours), event=None,
                      function=FunctionName("a"), due=EPOCH + hours * 3600.0)
                for hours in (0, 1, 30)
            ]
        )  # fmt: skip
        async with world.running():
            await asyncio.sleep(60.0)
            assert [entry.position for entry in world.store.entries()] == ["1", "30"]
            await asyncio.sleep(7200.0)
            assert [entry.position for entry in world.store.entries()] == ["30"]

    run(main())


def test_what_nobody_foresaw_leaves_what_is_parked_to_a_later_look():
    async def main() -> None:
        world = World([function("a")], [MemorySource()])
        due = world.store.due

        async def fail_once(*_given, **_which):
            world.store.due = due
            raise RuntimeError("a mistake")

        world.store.due = fail_once
        await world.store.write([parked(b"1")])
        begun = now()
        async with world.running():
            await world.quiet()
            assert now() - begun < 10.0

    with pytest.raises(AssertionError, match="a mistake"):  # the world's, over what was logged
        run(main())
