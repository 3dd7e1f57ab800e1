"""Outages, sick functions, and a store that fails, as an operator meets them; on virtual time."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from faas_connector.config import Limits, OnFailure, Timeouts, Unmatched
from faas_connector.contract import Order
from faas_connector.errors import StoreError
from faas_connector.intake import Tracked
from faas_connector.pursuit import Pending
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.testing.memory_broker import MemoryDelivery
from faas_connector.testing.memory_source import MemorySource

from .gateway import FAILING, OK, Answer, always
from .loop import run
from .world import SCENARIO, World, function, now

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(
    guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION, ordered=True
)
BOTH = pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["single", "position"])


async def stream(
    world: World, source: MemorySource, count: int, seconds: float, *, first: int = 0, **more
) -> None:
    """Publish so many events, evenly over so many seconds."""
    for number in range(first, first + count):
        world.publish(source, b"%d" % number, **more)
        await asyncio.sleep(seconds / count)


def in_memory() -> int:
    """How many events, and things that wait, the engine has in memory."""
    gc.collect()
    kinds = Tracked, Pending, asyncio.Task, asyncio.Future, asyncio.TimerHandle
    return sum(isinstance(each, kinds) for each in gc.get_objects())


@BOTH
@pytest.mark.parametrize("how", ["refused", "502", "503", "hanging", "closing"])
def test_an_outage_of_30_s_under_load_loses_nothing_and_is_charged_to_nobody(traits, how):
    async def main() -> None:
        source = MemorySource(traits=traits)
        limits = Limits(max_in_flight=8, max_unsettled=50)
        world = World(
            [function("a"), function("b")], [source], limits=limits,
            retry=RetryPolicy(attempts=1), timeouts=Timeouts(call=5.0, cold_start=5.0),
        )  # fmt: skip
        async with world.running() as engine:
            load = asyncio.create_task(stream(world, source, 400, 40.0), name=f"{SCENARIO}: load")
            await asyncio.sleep(3.0)
            world.gateway.go_down(how)
            await asyncio.sleep(15.0)
            held = in_memory()
            await asyncio.sleep(15.9)  # in step with no seldom probe
            assert len(source.unsettled) <= 51
            assert in_memory() <= held + 2  # a probe that begins or ends
            back, before = now(), len(world.gateway.log)
            world.gateway.come_back()
            await world.until(lambda: len(world.gateway.log) > before, within=2.0)
            assert now() - back <= 2.0
            await load
            await world.quiet()
            assert engine.pursuit.counts.failed == 0
        world.check_all()
        assert world.dead() == set()
        assert world.settled == [True]

    run(main())


@pytest.mark.parametrize("names", ["a", "ab"], ids=["one function", "two functions"])
def test_while_the_gate_is_closed_nothing_is_called(names):
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World([function(name) for name in names], [source])
        async with world.running() as engine:
            world.gateway.go_down("closing")
            world.publish(source, b"first")
            await world.until(lambda: engine.gate.is_closed)
            calls = len(world.gateway.log)
            await stream(world, source, 20, 10.0)
            assert len(world.gateway.log) == calls
            world.gateway.come_back()
            await world.quiet()
        world.check()
        world.check_complete()

    run(main())


@BOTH
@pytest.mark.parametrize("refuses", ["everything", "writes"])
def test_while_the_store_fails_nothing_is_acked_that_is_not_safe(traits, refuses):
    async def main() -> None:
        source = MemorySource(traits=traits)
        ill = {"ill": True}
        world = World(
            [function("well"), function("ill")], [source],
            lambda name, _data, _call: FAILING if name == "ill" and ill["ill"] else OK,
            retry=RetryPolicy(attempts=30, min_wait=1.0, max_wait=8.0),
            limits=Limits(max_unsettled=20), options={"park_after": 0.5},
        )  # fmt: skip
        async with world.running():
            await asyncio.sleep(1.0)
            if refuses == "writes":
                world.store.refuses_writes = True
            else:
                world.store.fail_with = StoreError("the disk is gone")
            for number in range(100):
                world.publish(source, b"%d" % number)
            await asyncio.sleep(60.0)
            assert source.acked == []
            assert len(source.unsettled) <= 21
            world.store.refuses_writes, world.store.fail_with = False, None
            await world.until(lambda: len(source.acked) == 100)
            ill["ill"] = False
            await world.quiet()
        world.check_all()

    run(main())


@BOTH
def test_while_the_store_fails_nothing_more_is_read_and_that_is_said_once(traits, caplog):
    async def main() -> None:
        source = MemorySource(traits=traits)
        world = World([function("a")], [source], always(Answer(400)))
        async with world.running():
            logging.getLogger("faas_connector").propagate = True
            caplog.set_level(logging.INFO, "faas_connector.store")
            await asyncio.sleep(1.0)
            world.store.refuses_writes = True
            load = asyncio.create_task(stream(world, source, 300, 30.0), name=f"{SCENARIO}: load")
            await asyncio.sleep(29.0)
            assert (source.acked, world.dead()) == ([], set())
            assert len(source.unsettled) < 5
            world.store.refuses_writes = False
            await load
            await world.until(lambda: len(source.acked) == 300)
            assert len(world.dead()) == 300
        said = [each.message for each in caplog.records if "the store" in each.message]
        what = "nothing is read or settled until it works: no space left on the disk"
        assert said == [f"the store fails; {what}", "the store works again"]
        world.check()

    run(main())


def test_a_journal_that_can_not_be_written_is_told_of_once_though_the_store_can_be_read(caplog):
    async def main() -> None:
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, journal=True)
        world = World([function("a"), function("b")], [source := MemorySource(traits=traits)])
        async with world.running() as engine:
            logging.getLogger("faas_connector").propagate = True
            caplog.set_level(logging.INFO, "faas_connector.store")
            world.store.refuses_writes = True
            world.publish(source, b"1")
            await world.until(lambda: source.nacked)
            for _ in range(100):
                await asyncio.sleep(1.0)
                engine._poke()
                assert not (await engine.report()).store_works
            assert len(source.nacked) <= 2
            world.store.refuses_writes = False
            await world.quiet(within=3.0)
        said = [each.message for each in caplog.records if "the store" in each.message]
        what = "nothing is read or settled until it works: no space left on the disk"
        assert said == [f"the store fails; {what}", "the store works again"]
        assert world.store.entries() == []
        world.check()

    run(main())


def test_an_idle_connector_finds_out_by_itself_that_the_store_works_again():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("done"), function("waits")], [source],
            lambda name, _data, call: FAILING if name == "waits" and call == 1 else OK,
            retry=RetryPolicy(min_wait=4.0, backoff=Backoff.EXPONENTIAL),
        )  # fmt: skip
        async with world.running() as engine:
            world.store.refuses_writes = True
            world.publish(source, b"1")  # that one has it is to be written, and nobody insists
            await world.until(lambda: source.acked)
            assert not (await engine.report()).store_works
            world.store.refuses_writes = False
            await asyncio.sleep(62.0)
            assert (await engine.report()).store_works
        assert world.store.entries() == []
        world.check()
        world.check_once()

    run(main())


@pytest.mark.parametrize("refuses", ["everything", "writes"])
def test_reading_goes_on_soon_after_the_store_works_again_though_nobody_else_uses_it(refuses):
    """What is to be journalled is refused while it fails; nothing else writes or reads."""

    async def main() -> None:
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, journal=True)
        world = World([function("a")], [source := MemorySource(traits=traits)])
        async with world.running():
            await asyncio.sleep(30.0)
            if refuses == "writes":
                world.store.refuses_writes = True
            else:
                world.store.fail_with = StoreError("the disk is gone")
            world.publish(source, b"1")
            await asyncio.sleep(5.0)
            assert source.acked == []
            assert len(source.nacked) <= 12
            world.store.refuses_writes, world.store.fail_with = False, None
            await world.until(lambda: source.acked, within=2.0)
            await world.quiet()
        world.check_all()

    run(main())


@pytest.mark.parametrize("apart", [0.05, 0.0], ids=["one by one", "all at once"])
def test_a_failing_function_on_an_ordered_stream_does_not_hold_up_its_neighbour(apart):
    """It fails through 20 times `max_in_flight` events; then it gets them all, in order."""

    async def main() -> None:
        in_flight = 16
        events = 25 * in_flight
        ill = {"ill": True}
        before = in_memory()  # what other tests of this process have left
        took: dict[bool, float] = {}
        for with_ill in (False, True):
            source = MemorySource(traits=BY_POSITION)
            contracts = [function("well")]
            if with_ill:
                contracts.append(function("ill", order=Order.KEY))
            world = World(
                contracts, [source],
                lambda name, _data, _call: FAILING if name == "ill" and ill["ill"] else OK,
                retry=RetryPolicy(attempts=100, min_wait=1.0, max_wait=10.0),
                limits=Limits(max_in_flight=in_flight, max_unsettled=64),
                options={"park_after": 1.0},
            )  # fmt: skip
            async with world.running() as engine:
                begun = now()
                load = asyncio.create_task(
                    _keys(world, source, events, apart), name=f"{SCENARIO}: load"
                )
                well = world.gateway.of
                held = 0
                while len(well("well")) < events or not well("well")[-1].end:
                    await asyncio.sleep(0.002)
                    held = max(held, len(source.unsettled))
                took[with_ill] = well("well")[-1].end - begun
                await load
                assert held <= 65
                if with_ill:
                    assert "ill" in map(str, engine.health.paused)
                    await world.until(lambda: len(source.acked) == events)  # noqa: B023
                    assert len(world.waiting()) == events
                    assert in_memory() - before < 100
                    ill["ill"] = False
                await world.quiet()
            world.check_all()
        assert took[True] <= took[False] / 0.9

    run(main())


async def _keys(world: World, source: MemorySource, events: int, apart: float) -> None:
    for number in range(events):
        world.publish(source, b"%d" % number, key=str(number % 10))
        await asyncio.sleep(apart)


def test_one_stuck_key_of_a_thousand_holds_up_no_other():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a", order=Order.KEY)], [source],
            lambda _name, data, _call: Answer(after=10.0) if data == b"0" else OK,
            limits=Limits(max_in_flight=16, max_unsettled=3000),
            timeouts=Timeouts(call=20.0, cold_start=20.0),
        )  # fmt: skip
        async with world.running():
            begun = now()
            for number in range(2000):
                world.publish(source, b"%d" % number, key=str(number % 1000))
            await world.until(lambda: len(source.acked) == 1998)
            assert now() - begun < 10.0
            assert world.gateway.of("a", b"1000") == []
            await world.quiet()
        world.check_all()

    run(main())


@BOTH
@pytest.mark.parametrize("how", ["missing", "absent", "removed"])
def test_a_function_that_is_deleted_and_made_again_loses_nothing(traits, how):
    async def main() -> None:
        source = MemorySource(traits=traits)
        contract = function("a")
        world = World([contract, function("b")], [source])
        async with world.running():
            load = asyncio.create_task(stream(world, source, 100, 20.0), name=f"{SCENARIO}: load")
            await asyncio.sleep(5.0)
            world.gateway.absent.add("a")
            if how != "absent":
                world.builder.set_missing({"a"})
            await asyncio.sleep(8.0)
            if how == "removed":
                world.builder.remove("a")
                await asyncio.sleep(1.0)
            world.builder.add(contract)
            world.gateway.absent.clear()
            await load
            await world.quiet()
        world.check_all()
        if how != "removed":
            assert world.dead() == set()

    run(main())


def test_an_empty_list_acknowledges_nothing_as_unmatched():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World([function("a"), function("b")], [source])
        async with world.running() as engine:
            world.builder.set_missing({"a", "b"})
            for number in range(20):
                world.publish(source, b"%d" % number)
            await asyncio.sleep(20.0)
            assert world.gateway.log == []
            assert engine.dispatcher.keeping.counts.unmatched == 0
            world.builder.set_missing(())
            await world.quiet()
        world.check_all()

    run(main())


def test_what_asked_for_a_topic_a_short_while_ago_may_ask_again():
    """As while a deployment changes its annotation, or a namespace is not told for once."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        contract = function("a")
        world = World([contract], [source])
        async with world.running() as engine:
            world.builder.remove("a")
            for number in range(20):
                world.publish(source, b"%d" % number)
                world.wanted[b"%d" % number] = ("a",)
            await world.until(lambda: len(source.acked) == 20)
            assert engine.dispatcher.keeping.counts.unmatched == 0
            world.builder.add(contract)
            await world.quiet()
        world.check_all()

    run(main())


def test_while_a_namespace_could_never_be_listed_nothing_is_acknowledged_as_unmatched():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World([function("a", "u")], [source])
        world.builder.is_partly_unknown = True
        async with world.running() as engine:
            world.publish(source, b"1")
            world.wanted[b"1"] = ("late",)
            await world.until(lambda: source.acked)
            assert engine.dispatcher.keeping.counts.unmatched == 0
            await asyncio.sleep(600.0)
            world.builder.add(function("late"))
            world.builder.is_partly_unknown = False
            await world.quiet()
        world.check_all()

    run(main())


def test_a_deadline_is_extended_while_a_call_runs_or_waits():
    async def main() -> None:
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, extends=True)
        source = MemorySource(traits=traits, deadline=2.0)
        world = World(
            [function("a")], [source], always(Answer(after=9.0)),
            limits=Limits(max_in_flight=1),
            timeouts=Timeouts(call=20.0, cold_start=20.0),
        )  # fmt: skip
        async with world.running():
            for number in range(3):
                world.publish(source, b"%d" % number)
            await world.quiet()
        assert source.expired == 0
        assert source.extended >= 3
        world.check_all()

    run(main())


def test_an_extension_that_hangs_keeps_no_other_event_from_its_own(monkeypatch):
    extend = MemoryDelivery.extend

    async def hang_with_the_first(delivery: MemoryDelivery) -> None:
        if delivery.event.data == b"0":
            await asyncio.Event().wait()
        await extend(delivery)

    async def main() -> None:
        monkeypatch.setattr(MemoryDelivery, "extend", hang_with_the_first)
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, extends=True)
        source = MemorySource(traits=traits, deadline=2.0)
        world = World(
            [function("a")], [source], always(Answer(after=9.0)),
            limits=Limits(max_in_flight=1), timeouts=Timeouts(call=20.0, cold_start=20.0),
        )  # fmt: skip
        async with world.running():
            for number in range(3):
                world.publish(source, b"%d" % number)
                await asyncio.sleep(0.3)
            await world.quiet()
        assert source.expired > 0
        assert [each.event.data for each in source.deliveries if each.event.data != b"0"] == [
            b"1", b"2",
        ]  # fmt: skip
        world.check_all()

    run(main())


def test_what_cannot_be_extended_is_kept_and_acknowledged_in_time():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.0)
        world = World(
            [function("a")], [source], always(Answer(after=9.0)),
            timeouts=Timeouts(call=20.0, cold_start=20.0),
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"1")
            await world.until(lambda: source.acked, within=3.0)
            assert world.gateway.successes() == {}
            assert len(world.waiting()) == 1
            await world.quiet()
        assert source.expired == 0
        world.check_all()

    run(main())


@pytest.mark.parametrize("asks", ["a", "late"])
def test_at_its_deadline_nothing_is_acked_of_which_the_store_was_not_told(asks):
    """It could not be looked up, or held for whoever will ask, while the store failed."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.9, tells_redelivery=False)
        world = World(
            [function("a")], [source],
            lambda _name, data, _call: Answer(400) if data == b"0" else OK,
            options={"unmatched": Unmatched.HOLD},
        )  # fmt: skip
        async with world.running():
            world.publish(source, b"0")
            await world.until(lambda: source.acked)
            world.store.fail_with = StoreError("the disk is gone")
            world.publish(source, b"1", topic="t" if asks == "a" else "u")
            world.wanted[b"1"] = (asks,)
            await asyncio.sleep(2.5)
            world.store.fail_with = None  # whoever waits for it tries again at 3.0
            await world.until(lambda: source.acked[1:])
            world.builder.add(function("late", "u"))
            await world.quiet()
        world.check_all()

    run(main())


def test_a_probe_of_a_paused_function_undercuts_no_retry_after():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        ill = {"ill": True}

        def behave(_name: str, data: bytes, _call: int) -> Answer:
            if not ill["ill"]:
                return OK
            return Answer(429, retry_after=60) if data == b"0" else FAILING

        world = World([function("a")], [source], behave, retry=RetryPolicy(attempts=30))
        async with world.running() as engine:
            await stream(world, source, 15, 5.0)
            await world.until(lambda: engine.health.paused)
            ill["ill"] = False
            begun = now()
            await world.until(lambda: not engine.health.paused)
            assert now() - begun < 40.0
            await world.quiet()
        first, second = world.gateway.of("a", b"0")
        assert second.begin - first.end >= 60.0
        world.check_all()

    run(main())


def test_a_call_that_ran_at_its_deadline_is_charged_though_the_function_is_paused_then():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL, deadline=3.0)
        world = World(
            [function("a")], [source],
            lambda _name, data, _call: Answer(500, after=3.5) if data == b"slow" else FAILING,
            retry=RetryPolicy(attempts=30, min_wait=0.1),
        )  # fmt: skip
        async with world.running() as engine:
            world.publish(source, b"slow")
            await asyncio.sleep(3.0)
            for number in range(10):
                world.publish(source, b"%d" % number)
            await world.until(lambda: engine.health.paused, within=0.3)
            await asyncio.sleep(0.8)
            kept = {entry.event.data: entry.attempts for entry in world.waiting() if entry.event}
            assert kept[b"slow"] == len(world.gateway.of("a", b"slow")) == 1

    run(main())


def test_what_comes_for_a_paused_function_is_parked_and_the_oldest_is_its_probe():
    """New events take no probe; nor do those that waited for a place, or for their next attempt."""

    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        ill = {"ill": True}
        world = World(
            [function("a", concurrency=2), function("b")], [source],
            lambda name, _data, _call: FAILING if name == "a" and ill["ill"] else OK,
            retry=RetryPolicy(attempts=90, min_wait=0.5, max_wait=2.0),
        )  # fmt: skip
        async with world.running() as engine:
            load = asyncio.create_task(stream(world, source, 600, 60.0), name=f"{SCENARIO}: load")
            await world.until(lambda: engine.health.paused)
            await asyncio.sleep(0.1)  # what runs has ended
            paused, before = now(), len(world.gateway.of("a"))
            await load
            probes = world.gateway.of("a")[before:]
            oldest = [call.data for call in world.gateway.of("a")[:before]]
            # 1, 2, 4, 8, 16 and 30 s apart, and one at a time.
            assert 4 <= len(probes) <= 6
            assert all(call.begin - paused >= 0.8 for call in probes[:1])
            assert {call.data for call in probes} <= {*oldest}
            ill["ill"] = False
            await world.quiet()
            assert len(world.gateway.of("b")) == 600
        world.check_all()

    run(main())


def test_a_paused_function_that_refuses_an_event_is_well_and_gets_the_others_at_once():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        ill = {"ill": True}
        world = World(
            [function("a")], [source],
            lambda _name, _data, _call: FAILING if ill["ill"] else Answer(400),
            retry=RetryPolicy(attempts=90, min_wait=0.5, max_wait=2.0),
        )  # fmt: skip
        async with world.running() as engine:
            for number in range(12):
                world.publish(source, b"%d" % number)
            await world.until(lambda: engine.health.paused)
            await asyncio.sleep(3.0)
            ill["ill"] = False
            await world.until(world.dead)
            assert not engine.health.paused
            await world.quiet(within=2.0)
            assert len(world.dead()) == 12
        world.check()

    run(main())


def test_without_a_store_a_sick_function_is_tried_on_and_never_paused():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        ill = {"ill": True}
        world = World(
            [function("a")], [source], lambda *_: FAILING if ill["ill"] else OK,
            retry=RetryPolicy(attempts=90, min_wait=0.5, max_wait=2.0), store=None,
            options={"on_failure": OnFailure.DROP},
        )  # fmt: skip
        async with world.running() as engine:
            for number in range(12):
                world.publish(source, b"%d" % number)
            await asyncio.sleep(20.0)
            assert not engine.health.paused
            assert len(world.gateway.log) > 60
            ill["ill"] = False
            await world.until(lambda: len(source.acked) == 12, within=2.1)
        world.check_once()

    run(main())


def test_a_probe_that_takes_long_stays_the_only_one():
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        ill = {"ill": True}
        world = World(
            [function("a", timeout=20.0)], [source],
            lambda _name, _data, call: OK if not ill["ill"]
            else Answer(500, after=15.0) if call > 1 else FAILING,
            retry=RetryPolicy(attempts=90, min_wait=0.1, max_wait=0.5),
        )  # fmt: skip
        async with world.running() as engine:
            for number in range(12):
                world.publish(source, b"%d" % number)
            await world.until(lambda: engine.health.paused)
            world.gateway.most_in_flight.clear()
            await stream(world, source, 400, 40.0, first=12)
            await asyncio.sleep(60.0)
            assert world.gateway.most_in_flight["a"] == 1
            ill["ill"] = False
            await world.quiet()
        world.check_all()

    run(main())


def test_a_paused_function_that_is_well_again_gets_what_was_parked_in_the_order_of_its_keys():
    async def main() -> None:
        source = MemorySource(traits=BY_POSITION)
        ill = {"ill": True}
        world = World(
            [function("a", order=Order.KEY)], [source],
            lambda _name, _data, _call: FAILING if ill["ill"] else OK,
            retry=RetryPolicy(attempts=90, min_wait=0.5, max_wait=2.0),
        )  # fmt: skip
        async with world.running() as engine:
            load = asyncio.create_task(_keys(world, source, 400, 0.05), name=f"{SCENARIO}: load")
            await world.until(lambda: engine.health.paused)
            await asyncio.sleep(5.0)
            ill["ill"] = False
            await load
            await world.quiet()
        world.check_all()

    run(main())


@pytest.mark.parametrize("functions", [1, 2], ids=["alone", "with another"])
def test_what_waits_for_a_place_is_not_called_when_its_function_is_paused_meanwhile(functions):
    async def main() -> None:
        source = MemorySource(traits=INDIVIDUAL)
        world = World(
            [function("a", concurrency=1), function("b")][:functions], [source],
            lambda name, _data, _call: FAILING if name == "a" else OK,
            retry=RetryPolicy(attempts=90),
        )  # fmt: skip
        async with world.running() as engine:
            for number in range(100):
                world.publish(source, b"%d" % number)
            await world.until(lambda: engine.health.paused, within=0.5)
            await asyncio.sleep(0.8)
            assert len(world.gateway.of("a")) == 10
            assert len(world.waiting()) == 100

    run(main())
