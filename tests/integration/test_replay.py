"""A replay of dead letters against the local gateway: through an outage, and under limits."""

import asyncio
from collections import Counter

import pytest

from faas_connector import ConnectorError, Controller, ControllerConfig, Event, Limits
from faas_connector.dead_letters import DeadLetters
from faas_connector.names import FunctionName
from faas_connector.store import Entry, Query, Reason, State
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import Fault, LocalFunction, LocalGateway

MAIL = FunctionName("mail", "openfaas-fn")


def function(**annotations):
    return LocalFunction(
        name="mail",
        annotations={
            "topic": "orders",
            **{f"faas-connector.{key}": each for key, each in annotations.items()},
        },
    )


async def store_of(count, **more):
    store = MemoryStore()
    await store.write([
        Entry(
            state=State.DEAD, source="shop", position=str(number), function=MAIL,
            event=Event("orders", b"%d" % number, {"X-Own": "1"}, key="k"), calls=2,
            call_id=f"call-{number}", reason=Reason.ATTEMPTS, **more,
        )
        for number in range(count)
    ])  # fmt: skip
    return store


async def replay(gateway, store, **limits):
    config = ControllerConfig(gateway_url=gateway.url, limits=Limits(**limits))
    async with Controller(config) as controller:
        return await DeadLetters(store).replay(controller)


async def test_a_call_says_which_one_it_is():
    store = await store_of(3)
    async with LocalGateway(functions=[function()]) as gateway:
        assert (await replay(gateway, store)).replayed == 3
        for number, call in enumerate(sorted(gateway.received, key=lambda call: call.body)):
            assert call.header("X-Call-Id") == f"call-{number}"
            assert call.header("X-Event-Attempt") == "3"
            assert call.header("X-Event-Replay") == "true"
            assert call.header("X-Own") == "1"


async def test_an_outage_is_waited_for_and_charged_to_nobody():
    store = await store_of(20)
    async with LocalGateway(functions=[function()]) as gateway:
        gateway.inject(Fault(target="function/mail", status=502, times=4))
        gateway.inject(Fault(target="healthz", status=503, times=2))
        done = await replay(gateway, store, max_in_flight=4)
        assert (done.replayed, done.failed) == (20, 0)
        calls = Counter(int(call.body) for call in gateway.received)
        attempts = {call.header("X-Event-Attempt") for call in gateway.received}
    assert set(calls) == set(range(20))
    assert attempts <= {"3", "4", "5"}
    assert await store.select(Query()) == []


async def test_a_function_s_limit_holds():
    store = await store_of(30)
    running = most = 0

    async def mail(_call):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return b"ok"

    one_by_one = LocalFunction(
        name="mail", answer=mail, annotations={"topic": "orders", "faas-connector.concurrency": "2"}
    )
    async with LocalGateway(functions=[one_by_one]) as gateway:
        assert (await replay(gateway, store)).replayed == 30
    assert most == 2


async def test_ordered_ones_go_on_behind_one_that_fails():
    store = await store_of(6, ordered=True)
    async with LocalGateway(functions=[function(order="key")]) as gateway:
        gateway.inject(Fault(target="function/mail", status=500, times=1))
        done = await replay(gateway, store)
        assert (done.replayed, done.failed) == (5, 1)
        assert [int(call.body) for call in gateway.received][-5:] == [1, 2, 3, 4, 5]
    assert [entry.position for entry in await store.select(Query())] == ["0"]


async def test_a_gateway_without_a_queue_ends_it():
    store = await store_of(3)
    async with LocalGateway(functions=[function(mode="async")]) as gateway:
        gateway.inject(Fault(target="async-function/*", status=404, body=b"404 page not found\n"))
        with pytest.raises(ConnectorError, match="has no queue"):
            await replay(gateway, store)
    assert len(await store.select(Query())) == 3
