"""What a stop waits for, and what is left to the next run."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from faas_connector.config import Limits, Timeouts
from faas_connector.contract import Order
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, Pausing, Settling, SourceTraits
from faas_connector.store import Entry, State
from faas_connector.testing.memory_source import MemorySource

from .gateway import FAILING, OK, Answer, always
from .loop import run
from .world import World, function, now

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION)
BOTH = pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["single", "position"])
SLOWLY = RetryPolicy(attempts=9, min_wait=10.0, max_wait=10.0, backoff=Backoff.EXPONENTIAL)


# In the second that a stop leaves to what is being written, and not in it.
SLOW = pytest.mark.parametrize("latency", [0.3, 2.0], ids=["slow store", "too slow store"])


@BOTH
@SLOW
@pytest.mark.parametrize("was_parked", [True, False], ids=["parked", "fresh"])
def test_a_verdict_that_is_being_written_when_the_drain_is_over_is_not_lost(
    traits, was_parked, latency
):
    async def main() -> None:
        source = MemorySource(traits=traits)
        # The fresh one is parked for its other function: the store has to be told of that.
        names = ("a",) if was_parked else ("a", "b")
        world = World(
            [function(name) for name in names], [source],
            lambda name, _data, call: FAILING if name == names[-1] and call == 1 else OK,
            retry=SLOWLY, timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.2),
        )  # fmt: skip
        world.store.latency = latency
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.gateway.successes()["a", b"1"])
        assert world.settled == [False]
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


def test_what_is_being_buried_when_the_drain_is_over_does_not_come_again():
    """The dead letter stands in the store, and only the acknowledgement is missing."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, gives_positions=False)
        world = World(
            [function("a")], [source], always(FAILING), retry=RetryPolicy(attempts=1),
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.2),
        )  # fmt: skip
        world.store.latency = 0.4
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.store.entries(State.DEAD))
        async with world.running():
            await world.quiet()
        world.check()
        assert len(world.store.entries(State.DEAD)) == world.calls_for(b"1") == 1

    run(main())


@SLOW
def test_a_verdict_that_comes_while_its_deadline_parks_it_is_not_lost_in_a_stop(latency):
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.0)
        world = World(
            [function("a")], [source], always(Answer(after=2.3)),
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        world.store.latency = latency
        async with world.running():
            world.publish(source, b"1")
            await asyncio.sleep(2.15)  # it is being parked, and the call goes on until 2.3
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


@pytest.mark.parametrize("gives_positions", [True, False], ids=["positions", "none"])
def test_what_is_handed_back_of_a_key_keeps_its_order(gives_positions):
    """The second event of the key has had a success; the first had none, and goes first."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, gives_positions=gives_positions)

        def behave(name: str, data: bytes, _call: int) -> Answer:
            if name == "other" and data == b"2":
                return OK
            return Answer(after=4.0) if world.gateway.process == 1 else OK

        world = World(
            [function("a", "t", "u", order=Order.KEY), function("other", "u")], [source], behave,
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1", key="k")
            world.publish(source, b"2", topic="u", key="k")
            await world.until(lambda: world.gateway.successes()["other", b"2"])
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


@pytest.mark.parametrize("tells", [True, False], ids=["tells redelivery", "does not"])
def test_what_is_finished_behind_one_that_is_not_is_not_repeated_by_the_next_run(tells):
    """By position it can't be acknowledged before the first one is."""

    async def main() -> None:
        source = MemorySource(traits=BY_POSITION, tells_redelivery=tells)
        world = World(
            [function("a")], [source],
            lambda _name, data, call: Answer(after=4.0) if data == b"0" and call == 1 else OK,
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.2),
        )  # fmt: skip
        async with world.running():
            for number in range(4):
                world.publish(source, b"%d" % number)
            await world.until(lambda: len(world.gateway.successes()) == 3)
        assert world.settled == [False]
        assert not source.acked
        async with world.running():
            await world.quiet()
        world.check_all()
        assert world.calls_for(b"0") == 2

    run(main())


def test_what_could_not_be_acknowledged_is_written_down_though_the_drain_is_over():
    async def main() -> None:
        source = MemorySource(traits=BY_POSITION)
        world = World(
            [function("a")], [source],
            lambda _name, data, _call: Answer(after=1.0) if data == b"1" else OK,
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=2.0),
        )  # fmt: skip
        async with world.running() as engine:
            for data in (b"1", b"2", b"3"):
                world.publish(source, data)
            await asyncio.sleep(0.5)
            engine.stop()
            await asyncio.sleep(0.1)
            world.store.latency = 4.0
            source.break_connection()
        world.store.latency = 0.0
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


@BOTH
@pytest.mark.parametrize("stops", [True, False], ids=["stop", "crash"])
def test_what_waits_for_a_place_is_not_begun_when_all_is_given_up(traits, stops):
    async def main() -> None:
        world = World(
            [function("a")], [source := MemorySource(traits=traits)], always(Answer(after=3.0)),
            limits=Limits(max_in_flight=1), timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.5),
        )  # fmt: skip
        for number in range(5):
            world.publish(source, b"%d" % number)
        async with world.running() if stops else world.crashing():
            await asyncio.sleep(1.0)
        assert len(world.gateway.log) == 1
        async with world.running():
            await world.quiet()
        world.check()
        world.check_complete()

    run(main())


class Slow(MemorySource):
    """What it gives is two seconds on its way."""

    @asynccontextmanager
    async def open(self, session):
        async with super().open(session) as deliveries:
            yield self._slowly(deliveries)

    async def _slowly(self, deliveries):
        async for delivery in deliveries:
            await asyncio.sleep(2.0)
            yield delivery


@pytest.mark.parametrize(("drain", "settled"), [(0, False), (None, True)], ids=["0", "call"])
def test_a_drain_of_no_seconds_aborts_at_once_and_one_that_is_not_given_waits_for_calls(
    drain, settled
):
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a")], [source], always(Answer(after=4.0)),
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=drain),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.gateway.log)
            stopped = now()
        assert world.settled == [settled]
        assert (now() - stopped > 3.0) is settled

    run(main())


def test_what_comes_after_a_stop_is_handed_back_uncalled():
    async def main() -> None:
        source = Slow(traits=INDIVIDUAL)
        world = World([function("a")], [source])
        async with world.running():
            world.publish(source, b"1")
            await asyncio.sleep(1.5)  # half a second more and it is there
        assert [event.data for event in source.nacked] == [b"1"]
        assert world.gateway.log == []
        assert world.settled == [True]

    run(main())


@pytest.mark.parametrize("room", [1, 100])
def test_what_had_come_is_delivered_where_reading_can_not_pause(room):
    """Nobody else has it: it is read to its end, however little of it may be unsettled."""

    async def main() -> None:
        traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, pausing=Pausing.CANNOT)
        source = Slow(traits=traits, gives_positions=False, tells_redelivery=False)
        world = World(
            [function("a")], [source], always(Answer(after=1.0)),
            limits=Limits(max_in_flight=1, max_unsettled=room), timeouts=Timeouts(drain=30.0),
        )  # fmt: skip
        async with world.running() as engine:
            for number in range(10):
                world.publish(source, b"%d" % number)
            await asyncio.sleep(0.5)
            engine.stop()
        assert world.settled == [True]
        assert sorted(call.data for call in world.gateway.log) == sorted(world.published)

    run(main())


class Unreachable:
    """A source whose broker takes the connection, and never says a word."""

    name = "unreachable"
    traits = INDIVIDUAL

    @asynccontextmanager
    async def open(self, _session):
        await asyncio.get_running_loop().create_future()
        yield


def test_a_source_that_cannot_be_opened_holds_up_no_stop():
    async def main() -> None:
        world = World([function("a")], [source := MemorySource()], others=[Unreachable()])
        async with world.running():
            world.publish(source, b"1")
            await world.quiet()
            begun = now()
        assert now() - begun < 1.0
        assert world.settled == [True]

    run(main())


class Cancelling(MemorySource):
    """A source whose library cancels its first reading."""

    def __init__(self) -> None:
        super().__init__("cancelling")
        self.readings = 0

    @asynccontextmanager
    async def open(self, session):
        async with super().open(session) as deliveries:
            self.readings += 1
            yield self._cancelled() if self.readings == 1 else deliveries

    async def _cancelled(self):
        raise asyncio.CancelledError
        yield


def test_a_reading_that_its_library_cancels_is_begun_again_and_ends_no_run():
    async def main() -> None:
        world = World([function("a")], [source := Cancelling()])
        async with world.running():
            world.publish(source, b"1")
            await world.quiet()
        assert source.readings == 2
        world.check_complete()

    run(main())


@BOTH
@pytest.mark.parametrize("how", ["missing", "absent"])
def test_a_function_that_vanished_holds_up_no_stop(traits, how):
    """Nobody knows when it comes back: its events wait in the store, and others are delivered."""

    async def main() -> None:
        source = MemorySource(traits=traits)
        contract = function("a")
        world = World([contract, function("b")], [source])
        async with world.running() as engine:
            world.publish(source, b"0")
            await world.quiet()
            world.gateway.absent.add("a")
            if how == "missing":
                world.builder.set_missing({"a"})
            for number in range(1, 20):
                world.publish(source, b"%d" % number)
                await asyncio.sleep(0.01)
            if how == "missing":
                await world.until(lambda: len(source.acked) == 20, within=0.5)
            begun = now()
            engine.stop()
            await world.until(lambda: len(source.acked) == 20, within=0.5)
        assert now() - begun < 0.5
        assert world.settled == [True]
        assert len(world.waiting()) == 19
        world.gateway.absent.clear()
        world.builder.add(contract)
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


def test_in_an_outage_nothing_is_nacked_at_a_stop():
    async def main() -> None:
        source = Slow(traits=INDIVIDUAL)
        world = World(
            [function("a")], [source],
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=3.0),
        )  # fmt: skip
        async with world.running():
            world.gateway.go_down()
            for number in range(20):
                world.publish(source, b"%d" % number)
            await asyncio.sleep(3.0)
        assert (world.settled, source.nacked) == ([False], [])
        world.gateway.come_back()
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


def test_nothing_more_is_taken_from_the_store_during_a_drain():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a", "u"), function("b")], [source],
            lambda name, _data, _call: Answer(after=30.0) if name == "b" else OK,
            timeouts=Timeouts(call=60.0, cold_start=60.0, drain=60.0),
        )  # fmt: skip
        async with world.running() as engine:
            world.publish(source, b"slow")
            await world.until(lambda: world.gateway.log)
            engine.stop()
            await world.store.write(
                [
                    Entry(state=State.PARKED, source="memory", event=Event("u", b"kept"),
                          function=FunctionName("a"), due=now() + 5.0)
                ]
            )  # fmt: skip
            engine._poke()
        assert world.settled == [True]
        assert world.gateway.of("a") == []
        async with world.running():
            await world.quiet()
        assert len(world.gateway.of("a")) == 1

    run(main())


@pytest.mark.parametrize(("ends", "deadline"), [("crash", 3.0), ("stop", 3.0), ("stop", None)])
def test_a_retry_after_is_not_undercut_by_the_next_run(ends, deadline):
    """It waits in memory when its deadline has it parked, or a stop hands it back."""

    async def main() -> None:
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, delays_nacks=True)
        source = MemorySource(traits=traits, deadline=deadline)
        world = World(
            [function("a")], [source],
            lambda _name, _data, call: Answer(429, retry_after=4) if call == 1 else OK,
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        async with world.running() if ends == "stop" else world.crashing():
            world.publish(source, b"1")
            await asyncio.sleep(2.5)
            assert len(world.gateway.log) == 1
        async with world.running():
            await world.quiet()
        first, second = world.gateway.log
        assert second.begin - first.end >= 4.0
        world.check()
        world.check_complete()

    run(main())


@SLOW
@pytest.mark.parametrize("is_last", [True, False], ids=["finished", "begun"])
def test_what_functions_have_of_a_journalled_event_is_not_lost_in_a_stop(is_last, latency):
    async def main() -> None:
        source = MemorySource(
            traits=SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, journal=True),
            gives_positions=False,
        )

        def behave(name: str, _data: bytes, _call: int) -> Answer:
            is_slow = name == "b" and world.gateway.process == 1 and not is_last
            return Answer(after=9.0) if is_slow else OK

        world = World(
            [function("a"), function("b")], [source], behave,
            timeouts=Timeouts(call=20.0, cold_start=20.0, drain=0.2),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: world.store.entries(State.JOURNAL))
            world.store.latency = latency
            await world.until(lambda: world.gateway.successes()["a", b"1"])
        world.store.latency = 0.0
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


@pytest.mark.parametrize("stops", [True, False], ids=["stop", "crash"])
def test_deadlines_park_the_events_of_a_key_in_their_order(stops):
    """The first came again while the store was slow: its deadline is later than the second's."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=1.0)
        world = World(
            [function("a", order=Order.KEY)], [source],
            lambda _name, data, _call: Answer(after=9.0) if data == b"0" else OK,
            limits=Limits(max_in_flight=1),
            timeouts=Timeouts(call=20.0, cold_start=20.0, drain=0.1),
        )  # fmt: skip
        world.store.latency = 0.4
        async with world.running() if stops else world.crashing():
            world.publish(source, b"0")
            await asyncio.sleep(0.3)
            world.publish(source, b"1", key="k")
            await asyncio.sleep(0.3)
            world.publish(source, b"2", key="k")
            await world.until(lambda: len(world.waiting()) == 3)
            assert source.expired
        world.store.latency = 0.0
        async with world.running():
            await world.quiet()
        world.check()
        world.check_complete()

    run(main())
