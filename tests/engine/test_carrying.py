"""The usual event: new, for one function, done with its first call; and all that isn't usual."""

from __future__ import annotations

import asyncio

import pytest

from faas_connector.config import Limits, Timeouts
from faas_connector.errors import SourceError
from faas_connector.invoker import Invoker
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.store import State
from faas_connector.testing.memory_broker import MemoryDelivery
from faas_connector.testing.memory_source import MemorySource

from .gateway import FAILING, OK, Answer, always
from .loop import run
from .world import World, function

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION)
BOTH = pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["single", "position"])
MANY = 3000


@pytest.fixture
def tasks_of_deliveries(monkeypatch):
    """The names of all tasks that are begun for events."""
    begun: list[str] = []
    create_task = asyncio.BaseEventLoop.create_task

    def watched(loop, work, *, name=None, **more):
        if name and name.startswith("delivery"):
            begun.append(name)
        return create_task(loop, work, name=name, **more)

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_task", watched)
    return begun


@BOTH
def test_needs_no_task(traits, tasks_of_deliveries):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World([function("a")], [source])
        async with world.running():
            for number in range(50):
                world.publish(source, b"%d" % number)
            await world.quiet()
        world.check_all()
        assert tasks_of_deliveries == []

    run(main())


@BOTH
def test_needs_one_where_the_first_call_fails(traits, tasks_of_deliveries):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World(
            [function("a")], [source],
            lambda _name, data, call: FAILING if data == b"7" and call == 1 else OK,
        )  # fmt: skip
        async with world.running():
            for number in range(50):
                world.publish(source, b"%d" % number)
            await world.quiet()
        world.check()
        world.check_complete()
        assert world.calls_for(b"7") == 2
        assert world.calls_for(b"8") == 1
        assert len(tasks_of_deliveries) == 1

    run(main())


def test_what_can_not_be_sent_is_a_dead_letter_however_much_of_it_waits():
    """Each one's failure lets the next one in: that must not go deeper and deeper."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a", concurrency=1)], [source],
            limits=Limits(max_in_flight=4, max_unsettled=MANY),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"first")
            for number in range(MANY):
                world.publish(source, b"%d" % number, headers={"X-Number": number})
            await world.quiet()
        assert world.gateway.successes() == {("a", b"first"): 1}
        assert world.store is not None
        assert len(world.store.entries(State.DEAD)) == MANY

    run(main())


def test_what_nobody_foresaw_leaves_the_event_unsettled_and_its_place_free(monkeypatch):
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World([function("a", concurrency=1)], [source])
        async with world.running() as engine:
            begin = engine.pursuit.begin

            def fail_once(pending, told):
                monkeypatch.setattr(engine.pursuit, "begin", begin)
                raise RuntimeError("a mistake")

            monkeypatch.setattr(engine.pursuit, "begin", fail_once)
            world.publish(source, b"1")
            world.publish(source, b"2")
            await world.until(lambda: world.gateway.successes()["a", b"2"])
            assert world.gateway.of("a", b"1") == []
            assert [event.data for event in source.acked] == [b"2"]

    with pytest.raises(AssertionError, match="a mistake"):  # the world's, over what was logged
        run(main())


@BOTH
def test_a_call_in_flight_is_given_up_with_its_run_and_made_again_by_the_next(traits):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World(
            [function("a")], [source], always(Answer(after=1.0)),
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        async with world.running():
            for number in range(20):
                world.publish(source, b"%d" % number)
            await world.until(lambda: world.gateway.most_in_flight["a"] > 1)
        assert world.settled == [False]
        async with world.running():
            await world.quiet()
        world.check()
        world.check_complete()

    run(main())


def test_what_waits_for_its_turn_is_parked_at_its_deadline_and_called_once():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.0)
        world = World(
            [function("a", concurrency=1)], [source], always(Answer(after=1.0)),
            timeouts=Timeouts(call=5.0, cold_start=5.0),
        )  # fmt: skip
        async with world.running():
            for number in range(10):
                world.publish(source, b"%d" % number)
            await world.until(lambda: len(source.acked) == 10, within=3.5)
            await world.quiet()
        world.check_all()
        assert len(source.deliveries) == 10

    run(main())


@BOTH
def test_an_answer_that_has_come_counts_though_its_run_is_given_up_before_it_is_told(
    traits, monkeypatch
):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World([function("a")], [source])
        async with world.running() as engine:
            [served] = engine._served
            ended = Invoker.ended

            def ended_at_the_end(invoker, call, response):
                monkeypatch.setattr(Invoker, "ended", ended)
                handing_back.append(
                    asyncio.create_task(engine.dispatcher.leaving.hand_back(served.intake))
                )
                ended(invoker, call, response)

            monkeypatch.setattr(Invoker, "ended", ended_at_the_end)
            handing_back: list[asyncio.Task[None]] = []
            world.publish(source, b"1")
            await world.quiet()
            assert [task.done() for task in handing_back] == [True]
            assert [event.data for event in source.acked] == [b"1"]
            assert len(source.deliveries) == 1
        world.check_once()

    run(main())


@pytest.mark.parametrize("confirms", [True, False])
def test_acknowledgements_that_are_only_sent_share_a_task(
    confirms, monkeypatch, tasks_of_deliveries
):
    async def main() -> None:
        monkeypatch.setattr(MemoryDelivery, "ack_nowait", lambda _: False)
        ack = MemoryDelivery.ack

        async def ack_but_one(delivery):
            if delivery.event.data == b"7" and not delivery.redelivered:
                raise SourceError("nobody hears it")
            await ack(delivery)

        monkeypatch.setattr(MemoryDelivery, "ack", ack_but_one)
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, confirms_acks=confirms)
        world = World([function("a")], [source := MemorySource(traits=traits)])
        async with world.running():
            for number in range(50):
                world.publish(source, b"%d" % number)
            await world.until(lambda: len(source.acked) == 49)
        assert len(tasks_of_deliveries) == (50 if confirms else 0)
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


@pytest.mark.parametrize("confirms", [True, False])
def test_a_stop_while_acknowledgements_hang_repeats_nothing(confirms, monkeypatch):
    async def main() -> None:
        monkeypatch.setattr(MemoryDelivery, "ack_nowait", lambda _: False)
        ack, hanging = MemoryDelivery.ack, asyncio.Event()

        async def hang(delivery):
            if delivery.event.data == b"3":
                await hanging.wait()
            await ack(delivery)

        monkeypatch.setattr(MemoryDelivery, "ack", hang)
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, confirms_acks=confirms)
        world = World(
            [function("a")], [source := MemorySource(traits=traits)],
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=0.1),
        )  # fmt: skip
        async with world.running():
            for number in range(10):
                world.publish(source, b"%d" % number)
            await world.until(lambda: len(world.gateway.successes()) == 10)
        assert world.settled == [False]
        assert len(source.acked) < 10
        hanging.set()
        async with world.running():
            await world.quiet()
        world.check_all()

    run(main())


def test_what_goes_wrong_while_one_is_told_is_no_concern_of_the_others():
    async def main() -> None:
        wrong = list[str]()
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: wrong.append(str(context["exception"]))
        )
        world = World([function("a")], [source := MemorySource(traits=INDIVIDUAL)])
        async with world.running() as engine:

            def publish(response):
                if response.event.data == b"3":
                    raise RuntimeError("a mistake")

            engine._invoker.subscribers.publish = publish
            for number in range(10):
                world.publish(source, b"%d" % number)
            await world.quiet()
        assert wrong == ["a mistake"]
        world.check_all()

    run(main())


def test_a_crash_lets_nothing_begin_that_waited_for_what_it_ends():
    async def main() -> None:
        sources = [MemorySource(name, traits=INDIVIDUAL) for name in ("one", "two")]
        world = World(
            [function("a")], sources, always(Answer(after=1.0)), limits=Limits(max_in_flight=1)
        )
        async with world.crashing():
            for source in sources:
                for number in range(3):
                    world.publish(source, f"{source.name} {number}".encode())
            await world.until(lambda: world.gateway.log)
        assert len(world.gateway.log) == 1

    run(main())
