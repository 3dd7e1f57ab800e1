"""Events that come again: while they run, while they are parked, after they were finished."""

from __future__ import annotations

import asyncio

import pytest

from faas_connector.config import Limits, Timeouts, Unmatched
from faas_connector.contract import Order
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.store import Entry, State
from faas_connector.testing.memory_source import MemorySource

from .gateway import OK, Answer, always
from .loop import EPOCH, run
from .world import World, function, now

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION)
BOTH = pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["single", "position"])
SLOWLY = RetryPolicy(attempts=9, min_wait=10.0, max_wait=10.0, backoff=Backoff.EXPONENTIAL)


def check_all(world: World) -> None:
    world.check_all()


@BOTH
def test_an_event_that_runs_is_not_called_again_and_its_new_handle_is_settled(traits):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World([function("a")], [source], always(Answer(after=3.0)))
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.gateway.log)
            source.break_connection()
            await world.quiet(within=20.0)
        check_all(world)
        assert len(source.deliveries) == 2

    run(main())


@BOTH
def test_what_is_delivered_from_the_store_swallows_no_handle_of_its_broker(traits):
    """It came again while the store's copy was under way: both are settled, and called once."""

    async def main() -> None:
        source = MemorySource(traits=traits)
        answers = {1: Answer(500), 2: Answer(after=4.0)}
        world = World(
            [function("a")], [source], lambda _f, _d, call: answers.get(call, OK), retry=SLOWLY
        )
        world.store.latency = 0.05
        async with world.crashing():
            world.publish(source, b"1")
            await world.until(lambda: world.store.entries(State.PARKED))
        await asyncio.sleep(20.0)
        source.refusals = 1
        async with world.running():
            await world.until(lambda: len(world.gateway.log) == 2)
            await world.quiet(within=60.0)
        check_all(world)
        assert len(source.deliveries) == 2

    run(main())


@BOTH
def test_what_is_delivered_from_the_store_hides_no_event_that_runs(traits):
    """Delivered to one from the store, waiting in memory for the other: nobody is called twice."""

    async def main() -> None:
        source = MemorySource(traits=traits)

        def behave(name: str, _data: bytes, call: int) -> Answer:
            if name == "parks":
                return Answer(500) if call == 1 else Answer(after=1.0)
            return Answer(after=30.0)

        world = World(
            [function("parks"), function("slow", timeout=60.0)], [source], behave,
            options={"park_after": 0.1},
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.gateway.successes()["parks", b"1"])
            source.break_connection()
            await world.quiet(within=90.0)
        check_all(world)

    run(main())


@BOTH
def test_what_was_delivered_from_the_store_is_not_repeated_when_it_comes_again(traits):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World(
            [function("a")], [source],
            lambda _f, _d, call: Answer(500) if call == 1 else OK, retry=SLOWLY,
        )  # fmt: skip
        world.store.latency = 0.05
        async with world.crashing():
            world.publish(source, b"1")
            await world.until(lambda: world.store.entries(State.PARKED))
        await asyncio.sleep(20.0)
        source.refusals = 2  # the store is faster than the broker
        async with world.running():
            await world.until(lambda: world.store.entries(State.DONE))
            assert len(source.deliveries) == 1
            [verdict] = world.store.entries()
            assert verdict.due == pytest.approx(now() + 7 * 86_400.0, abs=1.0)
            await world.quiet(within=60.0)
        check_all(world)
        assert len(source.deliveries) == 2

    run(main())


@pytest.mark.parametrize("end", [OK, Answer(400)], ids=["delivered", "dead"])
def test_what_was_parked_of_a_key_and_is_done_with_makes_no_later_event_wait_in_the_store(end):
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a", order=Order.KEY)], [source],
            lambda _f, data, call: OK if data == b"1" else Answer(500) if call == 1 else end,
            retry=SLOWLY,
        )  # fmt: skip
        async with world.running() as engine:
            world.publish(source, b"0", key="k")
            await world.until(world.waiting)
            await world.quiet()
            assert engine.dispatcher.keeping.counts.parked == 1
            world.publish(source, b"1", key="k")
            await world.quiet(within=1.0)
            assert engine.dispatcher.keeping.counts.parked == 1
        check_all(world)

    run(main())


@BOTH
def test_what_was_held_for_whoever_would_ask_is_not_repeated_when_it_comes_again(traits):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World([], [source], options={"unmatched": Unmatched.HOLD})
        world.store.latency = 0.05
        async with world.crashing():
            world.publish(source, b"1")
            await world.until(world.waiting)
        world.builder.add(function("late"))
        world.wanted[b"1"] = ("late",)
        await asyncio.sleep(20.0)
        source.refusals = 2  # the store is faster than the broker
        async with world.running():
            await world.quiet(within=90.0)
        check_all(world)
        assert len(source.deliveries) == 2

    run(main())


@BOTH
@pytest.mark.parametrize("crashes", [False, True], ids=["one run", "two runs"])
def test_what_was_held_of_a_key_goes_before_what_comes_when_somebody_asks(traits, crashes):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World([function("other", "u")], [source], options={"unmatched": Unmatched.HOLD})
        late = function("late", order=Order.KEY)

        async def publish(first: int, count: int, apart: float) -> None:
            for number in range(first, first + count):
                world.publish(source, b"%d" % number, key="k")
                world.wanted[b"%d" % number] = ("late",)
                await asyncio.sleep(apart)

        async with world.crashing() if crashes else world.running() as engine:
            await publish(0, 20, 3.0)
            if not crashes:
                world.builder.add(late)
                await publish(20, 100, 0.3)
                await world.quiet()
        if crashes:
            world.builder.add(late)
            async with world.running() as engine:
                await publish(20, 100, 0.3)
                await world.quiet()
        check_all(world)
        assert engine.dispatcher.keeping.keys._counts == {}

    run(main())


@pytest.mark.parametrize(
    ("traits", "positions"),
    [(INDIVIDUAL, True), (INDIVIDUAL, False), (BY_POSITION, True)],
    ids=["single", "single, without positions", "position"],
)
@pytest.mark.parametrize("crashes", [False, True], ids=["stop", "crash"])
def test_what_runs_goes_before_what_is_held_of_its_key_when_its_function_comes_back(
    traits, positions, crashes
):
    """Its function is forgotten meanwhile, and the run ends before it is there again."""

    async def main() -> None:
        source = MemorySource(traits=traits, gives_positions=positions)
        ordered = function("a", order=Order.KEY)
        world = World(
            [ordered, function("other", "u")], [source],
            lambda _f, data, _call: (
                Answer(after=30.0) if data != b"2" and world.gateway.process == 1 else OK
            ),
            options={"unmatched": Unmatched.HOLD}, timeouts=Timeouts(call=60.0, drain=1.0),
        )  # fmt: skip
        async with world.crashing() if crashes else world.running():
            world.publish(source, b"0", topic="u")
            world.publish(source, b"1", key="k")
            await world.until(lambda: len(world.gateway.log) == 2)
            world.builder.remove("a")
            world.publish(source, b"2", key="k")
            world.wanted[b"2"] = ("a",)
            await world.until(lambda: any(entry.function is None for entry in world.waiting()))
        world.builder.add(ordered)
        async with world.running():
            await world.quiet()
        world.check()
        assert [call.data for call in world.gateway.of("a") if call.ok] == [b"1", b"2"]

    run(main())


@pytest.mark.parametrize("why", ["backoff", "outage", "order", "place"])
def test_a_success_is_not_repeated_after_a_crash_when_the_other_function_waits_long(why):
    """It is written down once one of the functions waits for more than a second."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        slow = {"order": Answer(after=60.0), "place": Answer(after=60.0), "backoff": Answer(500)}

        def behave(name: str, data: bytes, _call: int) -> Answer:
            if name == "done":
                return OK
            if why == "outage" and world.gateway.process == 1 and data == b"1":
                return Answer(None, after=0.5)
            return slow.get(why, OK) if world.gateway.process == 1 else OK

        world = World(
            [
                function("waits", concurrency=1, order=Order.KEY if why == "order" else None),
                function("done"),
            ],
            [source], behave, retry=SLOWLY, options={"park_after": 60.0},
            timeouts=Timeouts(call=90.0, cold_start=90.0),
        )  # fmt: skip
        async with world.crashing():
            world.publish(source, b"0", key="k")
            world.publish(source, b"1", key="k")
            await world.until(lambda: len(world.gateway.successes()) >= 2)
            if why == "outage":
                world.gateway.go_down()
            await asyncio.sleep(3.0)
        world.gateway.come_back()
        async with world.running():
            await world.quiet()
        world.check()
        world.check_complete()
        assert world.gateway.successes()["done", b"1"] == 1

    run(main())


def test_a_store_is_not_asked_all_the_time_for_what_is_due_behind_something_that_is_not():
    async def main() -> None:
        world = World([function("a", order=Order.KEY)], [MemorySource()])
        looks = 0
        due = world.store.due

        async def counted(*given, **which):
            nonlocal looks
            looks += 1
            return await due(*given, **which)

        async def next_due(**_which) -> float:
            return 0.0  # as a store may say that doesn't know who is behind whom

        world.store.latency = 0.05
        world.store.due, world.store.next_due = counted, next_due
        event = Event("t", b"x", key="k")
        await world.store.write(
            [
                Entry(state=State.PARKED, source="memory", function=FunctionName("a"), event=event,
                      ordered=True, due=at)
                for at in (EPOCH + 30.0, 0.0)
            ]
        )  # fmt: skip
        async with world.running():
            await asyncio.sleep(29.0)
            assert looks < 40
            await world.until(lambda: len(world.gateway.log) == 2, within=2.2)

    run(main())


def test_what_was_found_due_does_not_overtake_what_went_back_to_the_store_meanwhile():
    """The first of the key was in hand when the store was asked, and waits again by its answer."""

    async def main() -> None:
        world = World(
            [function("a", order=Order.KEY)], [MemorySource()],
            lambda _f, data, call: Answer(500, after=1.0) if data == b"1" and call == 1 else OK,
            retry=SLOWLY,
        )  # fmt: skip
        first, _ = await world.store.write(
            [
                Entry(state=State.PARKED, source="memory", function=FunctionName("a"),
                      event=Event("t", data, key="k"), ordered=True, due=EPOCH, first=EPOCH)
                for data in (b"1", b"2")
            ]
        )  # fmt: skip
        due, late = world.store.due, 0

        async def answers_late(now, *, held=(), **which):
            nonlocal late
            is_first_in_hand = first in held
            found = await due(now, held=held, **which)
            if is_first_in_hand and found:
                late += 1
                await world.until(lambda: world.waiting()[0].calls == 1)
            return found[:1]

        world.store.due = answers_late
        async with world.running():
            await world.quiet()
        assert late
        assert [call.data for call in world.gateway.log] == [b"1", b"1", b"2"]

    run(main())


def test_what_comes_from_the_store_takes_no_more_memory_than_a_source_may():
    async def main() -> None:
        world = World(
            [function("a")], [MemorySource()], always(Answer(after=1.0)),
            limits=Limits(max_unsettled_bytes=1000),
        )  # fmt: skip
        event = Event("t", b"x" * 400)
        await world.store.write(
            [
                Entry(state=State.PARKED, source="memory", function=FunctionName("a"), event=event)
                for _ in range(20)
            ]
        )
        async with world.running():
            await asyncio.sleep(0.5)
            assert len(world.gateway.log) == 3
            await world.quiet()
        assert len(world.gateway.log) == 20

    run(main())


@BOTH
def test_two_events_with_one_publishers_id_are_two(traits):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World([function("a")], [source], always(Answer(after=1.0)))
        async with world.running():
            world.publish(source, b"1", id="same")
            world.publish(source, b"2", id="same")
            await world.quiet()
        check_all(world)
        assert len({call.call_id for call in world.gateway.log}) == 2

    run(main())


def test_what_is_parked_at_its_deadline_stays_behind_what_is_parked_of_its_key():
    """The first is parked for `a`, and comes again for `slow`; meanwhile the second waits."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.0)

        def behave(name: str, data: bytes, call: int) -> Answer:
            if name == "slow":
                return Answer(after=9.0)
            return Answer(500) if data == b"1" and call == 1 else OK

        world = World(
            [function("a", order=Order.KEY), function("slow", timeout=60.0)],
            [source], behave, options={"park_after": 0.1},
            retry=RetryPolicy(
                attempts=9, min_wait=20.0, max_wait=20.0, backoff=Backoff.EXPONENTIAL
            ),
            timeouts=Timeouts(call=60.0, cold_start=60.0),
        )  # fmt: skip
        async with world.crashing():
            world.publish(source, b"1", key="k")
            await world.until(lambda: world.store.entries(State.PARKED))
        async with world.running():
            await asyncio.sleep(0.1)
            world.publish(source, b"2", key="k")
            await world.until(lambda: len(source.acked) == 2, within=4.0)
            await world.quiet()
        check_all(world)
        assert [call.data for call in world.gateway.of("a") if call.ok] == [b"1", b"2"]

    run(main())


def test_what_is_parked_at_its_deadline_moves_behind_what_is_parked_later_ahead_of_it():
    """The second is parked while the first is still looked up, and then called."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.0)

        def behave(_name: str, data: bytes, call: int) -> Answer:
            if data == b"0":
                return Answer(400)
            return Answer(500, after=4.0) if data == b"1" and call <= 2 else OK

        world = World(
            [function("a", order=Order.KEY)], [source], behave, options={"park_after": 0.1}
        )
        known = world.store.known

        async def known_late(source: str, position: str) -> list[Entry]:
            await asyncio.sleep(3.0)
            return await known(source, position)

        async with world.crashing():
            world.publish(source, b"0")
            await world.until(lambda: source.acked)
            world.publish(source, b"1", key="k")
            await world.until(lambda: world.gateway.of("a", b"1"))
        world.publish(source, b"2", key="k")
        world.store.known = known_late
        async with world.running():
            await world.quiet()
        check_all(world)
        assert [call.data for call in world.gateway.of("a") if call.ok] == [b"1", b"2"]

    run(main())


@BOTH
def test_what_was_finished_as_its_session_was_lost_is_not_repeated_though_the_store_refused(traits):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World([function("a")], [source], always(Answer(after=1.0)))
        async with world.running():
            world.publish(source, b"1")
            await asyncio.sleep(0.5)
            world.store.refuses_writes = True
            source.refusals = 2
            source.break_connection()
            await world.until(lambda: world.gateway.successes()["a", b"1"])
            await asyncio.sleep(0.01)
            world.store.refuses_writes = False
            await world.quiet(within=30.0)
        check_all(world)
        assert len(source.deliveries) == 2

    run(main())
