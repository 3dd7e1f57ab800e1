"""A run against the local gateway: delivered, retried, kept, settled once."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from faas_connector import (
    ConfigError,
    ConnectorError,
    Controller,
    ControllerConfig,
    Event,
    Limits,
    RetryPolicy,
    Timeouts,
)
from faas_connector.config import OnFailure, Unmatched
from faas_connector.errors import StoreError
from faas_connector.runnables import Scoped
from faas_connector.source import Delivery, Guarantee, Settling, SourceTraits
from faas_connector.store import Entry, Query, Reason, State
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import Fault, LocalFunction, LocalGateway, MemorySource

QUICK = RetryPolicy(attempts=3, min_wait=0.01, max_wait=0.02)
BY_POSITION = SourceTraits(
    guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION, ordered=True
)


def function(name, topic="orders", **annotations):
    keys = {f"faas-connector.{key.replace('_', '-')}": each for key, each in annotations.items()}
    return LocalFunction(name=name, annotations={"topic": topic, **keys})


def config(gateway, **settings):
    return ControllerConfig(gateway_url=gateway.url, **{"retry": QUICK, **settings})


def publish(source, count, **fields):
    for number in range(count):
        source.publish(Event("orders", b"%d" % number, **fields))


async def dead(store):
    return await store.select(Query(state=State.DEAD))


async def parked(store):
    return await store.select(Query(state=State.PARKED))


def bodies(calls):
    return sorted(int(call.body) for call in calls)


async def eventually(condition, within=60):
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0.01)


async def test_a_journal_of_more_than_is_taken_at_once_is_delivered_at_the_start():
    store = MemoryStore()
    await store.write(
        [
            Entry(state=State.JOURNAL, source="push", event=Event("orders", b"%d" % number))
            for number in range(1500)
        ]
    )
    async with LocalGateway(functions=[function("one")]) as gateway:
        async with Controller(config(gateway)) as controller:
            run = asyncio.create_task(controller.run(MemorySource(), store=store))
            await gateway.wait_received(1500, within=60)
            controller.stop()
            assert await run
        assert bodies(gateway.received) == list(range(1500))


async def run_to_end(settings, *sources, store=None):
    for source in sources:
        source.end()
    async with Controller(settings) as controller:
        return await controller.run(*sources, store=store)


@pytest.mark.parametrize("traits", [None, BY_POSITION], ids=["individual", "by position"])
async def test_every_event_reaches_every_function_and_is_settled_once(traits):
    source = MemorySource(**({"traits": traits} if traits else {}))
    publish(source, 300, id="the same")
    async with LocalGateway(functions=[function("one"), function("two")]) as gateway:
        assert await run_to_end(config(gateway), source, store=MemoryStore())
        for name in ("one", "two"):
            assert bodies(gateway.received_by(name)) == list(range(300))
    assert len(source.acked) == 300
    assert source.violations == []


async def test_a_call_says_what_it_is():
    source = MemorySource()
    source.publish(Event("orders", b"1", {"X-Own": "1", "Authorization": "no"}, id="e-1"))
    async with LocalGateway(functions=[function("one")]) as gateway:
        gateway.inject(Fault(target="function/one", status=500, times=1))
        await run_to_end(config(gateway), source, store=MemoryStore())
        first, second = gateway.received
    assert [call.header("X-Event-Attempt") for call in (first, second)] == ["1", "2"]
    assert first.header("X-Call-Id") == second.header("X-Call-Id")
    assert first.header("X-Idempotency-Key") == first.header("X-Call-Id")
    assert first.header("X-Event-Id") == "e-1"
    assert first.header("X-Own") == "1"
    assert first.header("Authorization") is None


async def test_only_what_failed_is_tried_again():
    source = MemorySource()
    publish(source, 1)
    async with LocalGateway(functions=[function("good"), function("bad")]) as gateway:
        gateway.inject(Fault(target="function/bad", status=500, times=2))
        await run_to_end(config(gateway), source, store=MemoryStore())
        assert len(gateway.received_by("good")) == 1
        assert len(gateway.received_by("bad")) == 3
    assert len(source.acked) == 1


@pytest.mark.parametrize("sleeps", [False, True])
async def test_a_function_gets_time_to_wake_at_its_first_call_and_when_it_sleeps(sleeps):
    times = iter((0.3, 0.3, 600.0))  # of its calls

    async def answer(call):
        await asyncio.sleep(next(times))
        return "ok"

    source, store = MemorySource(), MemoryStore()
    settings = {
        "timeouts": Timeouts(call=0.1, cold_start=60.0),
        "retry": RetryPolicy(attempts=1),
    }
    waking = LocalFunction(name="waking", annotations={"topic": "orders"}, answer=answer)
    async with LocalGateway(functions=[waking, function("other", "none")]) as gateway:
        async with Controller(config(gateway, **settings)) as controller:
            running = asyncio.create_task(controller.run(source, store=store))
            publish(source, 1)
            await source.wait_until(lambda: len(source.acked) == 1)
            assert not await dead(store)
            if sleeps:
                gateway.scale("waking", 0)
                await controller.refresh()
                gateway.scale("waking", 1)
            publish(source, 1)
            source.end()
            assert await running
    assert len(await dead(store)) == (0 if sleeps else 1)


async def test_what_fails_for_good_is_a_dead_letter():
    source, store = MemorySource(), MemoryStore()
    source.publish(Event("orders", b"\x00\xff", {"X-Own": "1"}, id="e-1", key="k"))
    async with LocalGateway(functions=[function("bad")]) as gateway:
        gateway.inject(Fault(target="function/bad", status=500, body=b"sorry"))
        await run_to_end(config(gateway), source, store=store)
        assert len(gateway.received) == 3
    [letter] = await dead(store)
    assert (letter.reason, letter.status, letter.attempts) == (Reason.ATTEMPTS, 500, 3)
    assert letter.event == Event("orders", b"\x00\xff", {"X-Own": "1"}, id="e-1", key="k")
    assert (str(letter.function), letter.answer) == ("bad.openfaas-fn", b"sorry")
    assert len(source.acked) == 1


async def test_a_refusal_is_not_tried_again():
    source, store = MemorySource(), MemoryStore()
    publish(source, 1)
    async with LocalGateway(functions=[function("bad")]) as gateway:
        gateway.inject(Fault(target="function/bad", status=400))
        await run_to_end(config(gateway), source, store=store)
        assert len(gateway.received) == 1
    [letter] = await dead(store)
    assert letter.reason is Reason.REFUSED


async def test_a_function_may_ask_for_no_dead_letters(caplog):
    source, store = MemorySource(), MemoryStore()
    publish(source, 1)
    async with LocalGateway(functions=[function("bad", dead_letter="off")]) as gateway:
        gateway.inject(Fault(target="function/bad", status=400))
        await run_to_end(config(gateway), source, store=store)
    assert await dead(store) == []
    assert len(source.acked) == 1
    assert "dropped: bad.openfaas-fn, refused: 400" in caplog.text


async def test_a_long_retry_after_parks_the_event():
    source, store = MemorySource(), MemoryStore()
    publish(source, 1)
    async with LocalGateway(functions=[function("busy")]) as gateway:
        fault = Fault(target="function/busy", status=429, headers=(("Retry-After", "300"),))
        gateway.inject(fault)
        await run_to_end(config(gateway), source, store=store)
    [entry] = await parked(store)
    assert (entry.reason, entry.attempts) == (Reason.BACKOFF, 1)
    assert 299 <= entry.due - entry.last <= 301
    assert len(source.acked) == 1


async def test_what_is_parked_is_delivered_when_it_is_due():
    source, store = MemorySource(), MemoryStore()
    publish(source, 20)
    async with LocalGateway(functions=[function("busy")]) as gateway:
        gateway.inject(
            Fault(target="function/busy", status=429, headers=(("Retry-After", "1"),), times=5)
        )
        settings = config(gateway, park_after=0.5)
        async with Controller(settings) as controller:
            running = asyncio.create_task(controller.run(source, store=store))
            await gateway.wait_received(25, within=60)
            controller.stop()
            assert await running
        answered = {call.body for call in gateway.received}
    assert len(answered) == 20
    assert await parked(store) == []
    assert len(source.acked) == 20


async def test_an_outage_is_waited_out_and_charged_to_nobody():
    source, store = MemorySource(), MemoryStore()
    async with LocalGateway(functions=[function("one")]) as gateway:
        async with Controller(config(gateway)) as controller:
            running = asyncio.create_task(controller.run(source, store=store))
            await gateway.down()
            publish(source, 200)
            await source.wait_until(lambda: len(source.unsettled) == 200)
            await gateway.up()
            await source.drained(within=60)
            controller.stop()
            assert await running
        assert bodies(gateway.received) == list(range(200))
    assert await dead(store) == []


async def test_a_redelivery_while_it_runs_starts_no_second_call():
    source = MemorySource()
    publish(source, 1)
    async with LocalGateway(functions=[function("slow")]) as gateway:
        gateway.inject(Fault(target="function/slow", delay=1.5))
        async with Controller(config(gateway)) as controller:
            running = asyncio.create_task(controller.run(source, store=MemoryStore()))
            await source.wait_until(lambda: source.unsettled)
            source.break_connection()
            await source.drained()
            controller.stop()
            assert await running
        assert len(gateway.received) == 1
    assert source.opened == 2
    assert source.violations == []


async def test_a_stop_settles_what_is_in_hand():
    source = MemorySource()
    publish(source, 50)
    async with LocalGateway(functions=[function("slow")]) as gateway:
        gateway.inject(Fault(target="function/slow", delay=0.2))
        limits = Limits(max_in_flight=8, max_unsettled=16)
        async with Controller(config(gateway, limits=limits)) as controller:
            running = asyncio.create_task(controller.run(source, store=MemoryStore()))
            await gateway.wait_received(1)
            controller.stop()
            assert await running
        done = len(gateway.received)
    assert 8 <= done <= 16 + 1
    assert len(source.acked) == done
    assert source.kept == 50 - done
    assert source.max_unsettled <= 17


async def test_a_drain_that_takes_too_long_hands_back():
    source = MemorySource()
    publish(source, 4)
    async with LocalGateway(functions=[function("slow")]) as gateway:
        gateway.inject(Fault(target="function/slow", delay=20.0))
        timeouts = Timeouts(drain=0.2)
        async with Controller(config(gateway, timeouts=timeouts)) as controller:
            running = asyncio.create_task(controller.run(source, store=MemoryStore()))
            await source.wait_until(lambda: len(source.unsettled) == 4)
            controller.stop()
            assert not await running
    assert len(source.nacked) == 4
    assert source.kept == 4


async def test_an_abort_leaves_what_is_in_hand_unsettled():
    source = MemorySource()
    publish(source, 4)
    async with LocalGateway(functions=[function("slow")]) as gateway:
        gateway.inject(Fault(target="function/slow", delay=20.0))
        async with Controller(config(gateway)) as controller:
            running = asyncio.create_task(controller.run(source, store=MemoryStore()))
            await source.wait_until(lambda: len(source.unsettled) == 4)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
    assert source.acked == source.nacked == []
    assert source.kept == 4


async def test_events_of_a_key_reach_an_ordered_function_one_after_another():
    source = MemorySource()
    for number in range(40):
        source.publish(Event("orders", b"%d" % number, key=str(number % 4)))
    async with LocalGateway(functions=[function("ordered", order="key")]) as gateway:
        gateway.inject(Fault(target="function/ordered", status=503, times=6))
        await run_to_end(config(gateway), source, store=MemoryStore())
        answered = [int(call.body) for call in gateway.received]
    for key in range(4):
        own = [number for number in answered if number % 4 == key]
        assert own == sorted(own)
        assert set(own) == set(range(key, 40, 4))


async def test_a_store_that_fails_holds_up_what_needs_it_and_recovers(caplog):
    source, store = MemorySource(), MemoryStore()
    publish(source, 3)
    async with LocalGateway(functions=[function("bad")]) as gateway:
        gateway.inject(Fault(target="function/bad", status=400))
        async with Controller(config(gateway)) as controller:
            store.fail_with = StoreError("the disk is full")
            with pytest.raises(StoreError):
                await controller.run(source, store=store)
            store.fail_with = None
            running = asyncio.create_task(controller.run(source, store=store))
            await source.drained()
            store.fail_with = StoreError("the disk is full")
            publish(source, 1)
            await gateway.wait_received(4)
            await eventually(lambda: "the store fails; nothing is read" in caplog.text)
            assert len(source.acked) == 3
            store.fail_with = None
            await source.drained()
            controller.stop()
            assert await running
    assert len(await dead(store)) == 4


@pytest.mark.parametrize(
    ("policy", "state"),
    [(Unmatched.ACK, None), (Unmatched.HOLD, State.PARKED), (Unmatched.DEAD_LETTER, State.DEAD)],
)
async def test_what_nobody_asks_for(policy, state):
    source, store = MemorySource(), MemoryStore()
    source.publish(Event("nobody", b""))
    async with LocalGateway(functions=[function("one")]) as gateway:
        await run_to_end(config(gateway, unmatched=policy), source, store=store)
    assert len(source.acked) == 1
    counts = await store.counts()
    assert (counts.parked, counts.dead) == (state is State.PARKED, state is State.DEAD)


async def test_what_is_no_event_is_a_dead_letter():
    acked = []

    class Damaged(Delivery):
        async def ack(self):
            acked.append(self)

    class Source:
        name = "damaged"
        traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)

        @asynccontextmanager
        async def open(self, session):
            async def deliveries():
                yield Damaged(Event("orders", b"\xff"), damage="it is no JSON")

            yield deliveries()

    store = MemoryStore()
    async with LocalGateway(functions=[function("one")]) as gateway:
        async with Controller(config(gateway)) as controller:
            await controller.run(Source(), store=store)
        assert gateway.received == []
    [letter] = await dead(store)
    assert (letter.reason, letter.what) == (Reason.UNREADABLE, "it is no JSON")
    assert len(acked) == 1


async def test_an_async_generator_function_is_a_source():
    async def ticks():
        for number in range(3):
            yield Event("orders", b"%d" % number)

    async with LocalGateway(functions=[function("one")]) as gateway:
        async with Controller(config(gateway)) as controller:
            assert await controller.run(ticks)
        assert bodies(gateway.received) == [0, 1, 2]


async def test_a_source_may_serve_some_namespaces_only():
    here, there = MemorySource("here"), MemorySource("there")
    publish(here, 2)
    publish(there, 3)
    here.end()
    there.end()
    functions = [
        LocalFunction(name="one", namespace=namespace, annotations={"topic": "orders"})
        for namespace in ("team-a", "team-b")
    ]
    async with LocalGateway(functions=functions, namespaces=["team-a", "team-b"]) as gateway:
        async with Controller(config(gateway)) as controller:
            sources = Scoped(here, ("team-a",)), Scoped(there, ("team-*",))
            assert await controller.run(*sources, store=MemoryStore())
        assert len(gateway.received_by("one.team-a")) == 5
        assert len(gateway.received_by("one.team-b")) == 3


async def test_what_the_journal_holds_is_for_the_namespaces_of_its_source():
    store = MemoryStore()
    await store.write([Entry(state=State.JOURNAL, source="here", event=Event("orders", b"1"))])
    functions = [
        LocalFunction(name="one", namespace=namespace, annotations={"topic": "orders"})
        for namespace in ("team-a", "team-b")
    ]
    async with LocalGateway(functions=functions, namespaces=["team-a", "team-b"]) as gateway:
        async with Controller(config(gateway)) as controller:
            source = Scoped(MemorySource("here"), ("team-a",))
            run = asyncio.create_task(controller.run(source, store=store))
            await gateway.wait_received(1, within=60)
            controller.stop()
            assert await run
        assert [len(gateway.received_by(f"one.team-{team}")) for team in "ab"] == [1, 0]


async def test_a_source_that_fails_is_opened_again_and_disturbs_nobody():
    flaky, steady = MemorySource("flaky"), MemorySource("steady")
    flaky.refusals = 2
    publish(flaky, 5)
    publish(steady, 5)
    async with LocalGateway(functions=[function("one")]) as gateway:
        assert await run_to_end(config(gateway), flaky, steady, store=MemoryStore())
    assert len(flaky.acked) == len(steady.acked) == 5


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, ()),
        ((), ()),
        ("team-a", ("team-a",)),
        (["team-a", "shared-*", "team-a"], ("team-a", "shared-*")),
    ],
)
def test_namespaces_of_a_source_are_one_or_several(given, names):
    assert Scoped(MemorySource(), given).namespaces == names


@pytest.mark.parametrize("given", [5, ["team-a", 5], "team/a", [""]])
def test_what_is_no_namespace_is_refused(given):
    with pytest.raises(ConfigError, match="namespaces must be None, a name or a list of names"):
        Scoped(MemorySource(), given)


def _plain_generator():
    yield Event("orders", b"1")


async def _coroutine_function(_session=None):
    return [Event("orders", b"1")]


def _returns_a_coroutine():
    return _coroutine_function()


async def _events():
    yield Event("orders", b"1")


async def _no_events():
    return
    yield


async def _opens_nothing(_session):
    yield Delivery(Event("orders", b"1"))


def _opening(deliveries):
    @asynccontextmanager
    async def open_(_session):
        yield deliveries

    return open_


class TestRefusals:
    async def refusal(self, *sources, store=None, **settings):
        async with LocalGateway(functions=[function("one")]) as gateway:
            async with Controller(config(gateway, **settings)) as controller:
                with pytest.raises(ConfigError) as caught:
                    await controller.run(*sources, store=store)
        return str(caught.value)

    async def test_at_least_once_needs_a_store(self):
        refusal = await self.refusal(MemorySource())
        assert "there is no store to keep" in refusal
        assert "controller.run(..., store=STORE)), or let on_failure be drop or stop" in refusal

    async def test_a_journal_needs_a_store(self):
        traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, journal=True)
        assert "is durable, and there is no store" in await self.refusal(
            MemorySource(traits=traits, gives_positions=False)
        )

    @pytest.mark.parametrize("store", [None, MemoryStore()], ids=["no store", "a store"])
    async def test_at_least_once_may_drop(self, store):
        source = MemorySource()
        publish(source, 1)
        async with LocalGateway(functions=[function("bad")]) as gateway:
            gateway.inject(Fault(target="function/bad", status=400))
            await run_to_end(config(gateway, on_failure=OnFailure.DROP), source, store=store)
        assert len(source.acked) == 1
        assert store is None or await store.select(Query()) == []

    async def test_at_least_once_may_stop(self):
        source = MemorySource()
        publish(source, 1)
        async with LocalGateway(functions=[function("bad")]) as gateway:
            gateway.inject(Fault(target="function/bad", status=400))
            with pytest.raises(ConnectorError, match="on_failure is stop"):
                await run_to_end(config(gateway, on_failure=OnFailure.STOP), source)
        assert source.acked == []
        assert source.kept == 1

    async def test_no_source(self):
        assert "no source to run" in await self.refusal()

    async def test_two_of_one_name(self):
        message = await self.refusal(MemorySource(), MemorySource(), store=MemoryStore())
        assert "two sources are called 'memory'" in message

    async def test_holding_needs_a_store(self):
        assert "unmatched is 'hold'" in await self.refusal(MemorySource(), unmatched=Unmatched.HOLD)

    @pytest.mark.parametrize(
        ("event", "said"),
        [
            (Event("topic", "text"), "source events gave an event whose data is str; give bytes"),
            (Event("topic", {"a": 1}), "source events gave an event whose data is dict; give byt"),
            ({"topic": "t"}, "source events gave {'topic': 't'}, which is no Event; for example"),
        ],
    )
    async def test_what_no_call_can_be_made_of(self, event, said):
        async def events():
            yield event

        assert said in await self.refusal(events)

    async def test_a_class_is_no_source(self):
        assert "is the class MemorySource" in await self.refusal(MemorySource, store=MemoryStore())

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (
                _plain_generator,
                "_plain_generator, is a generator function that is not async; write",
            ),
            (
                _coroutine_function,
                "_coroutine_function, is a coroutine function, which yields noth",
            ),
            (
                _returns_a_coroutine,
                "_returns_a_coroutine() gave a coroutine, which is no async iterat",
            ),
            (
                lambda: None,
                "source <lambda> can't be read: <lambda>() gave None, which is no async",
            ),
            (lambda: [Event("orders", b"1")], "<lambda>() gave a list, which is no async iterator"),
        ],
    )
    async def test_a_function_that_yields_no_events(self, make, said):
        assert said in await self.refusal(make)

    @pytest.mark.parametrize(
        ("parts", "said"),
        [
            ({"name": None}, "source 1, Shaped, has no name that is text; for example name ="),
            ({"name": ""}, "source 1, Shaped, has no name that is text"),
            (
                {"traits": None},
                "source 1, Shaped, has no traits; for example traits = SourceTraits",
            ),
            ({"traits": Guarantee.AT_MOST_ONCE}, "source 1, Shaped, has no traits"),
            (
                {"open": _opens_nothing},
                "Shaped, has an open() that opens nothing; decorate it with",
            ),
            ({"open": _coroutine_function}, "Shaped, has an open() that opens nothing; decorate"),
            ({"open": lambda _: None}, "source shaped can't be opened: open() gave None, which is"),
            ({"open": _opening(None)}, "what open() opens gave None, which is no async iterator"),
            (
                {"open": _opening(_plain_generator())},
                "gave a generator, which is no async iterator",
            ),
            (
                {"open": _opening(_events())},
                "source shaped gave an Event; wrap it: Delivery(event)",
            ),
        ],
    )
    async def test_a_source_of_a_wrong_shape(self, parts, said):
        traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE)
        shape = {"name": "shaped", "traits": traits, "open": _opening(_no_events()), **parts}
        made = type("Shaped", (), {})()
        for name, value in shape.items():
            setattr(made, name, value)
        assert said in await self.refusal(made)

    async def test_a_generator_that_was_called_is_no_source(self):
        async def payments():
            yield Event("one", b"1")

        assert "pass payments, not payments()" in await self.refusal(payments())


@pytest.mark.parametrize(
    ("said", "configured", "expected"),
    [
        ("acme/shop-connector", None, "acme/shop-connector"),
        ("", None, "faas-connector"),
        ("acme/shop-connector", "old-connector", "old-connector"),
    ],
)
async def test_functions_hear_which_connector_calls(said, configured, expected):
    traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, connector=said)
    source = MemorySource(traits=traits)
    source.publish(Event("orders", b"1", {"X-Connector": "forged", "X-Shop": "a"}))
    async with LocalGateway(functions=[function("one")]) as gateway:
        async with Controller(config(gateway, connector=configured)) as controller:
            run = asyncio.create_task(controller.run(source, store=MemoryStore()))
            await gateway.wait_received(1)
            controller.stop()
            assert await run
        [received] = gateway.received
    assert received.header("X-Connector") == expected
    assert received.header("X-Shop") == "a"


async def test_a_subscriber_that_wants_all_holds_a_run_back_and_hears_each_response():
    release, heard = asyncio.Event(), []

    async def slow(response):
        await release.wait()
        heard.append(response.event.data)

    source = MemorySource(traits=BY_POSITION)
    async with LocalGateway(functions=[function("one")]) as gateway:
        limits = Limits(max_in_flight=4, max_unsettled=8, subscriber_items=1)
        async with Controller(config(gateway, limits=limits)) as controller:
            controller.subscribe(slow, overflow="wait")
            running = asyncio.create_task(controller.run(source, store=MemoryStore()))
            publish(source, 100)
            await eventually(lambda: len(gateway.received_by("one")) >= 8)
            report = await controller.report()
            assert report.run is not None
            assert not source.acked
            assert len(gateway.received_by("one")) == 8
            release.set()
            await source.drained()
            controller.stop()
            assert await running
    assert sorted(map(int, heard)) == [*range(100)]
