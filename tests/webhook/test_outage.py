"""A durable webhook while the gateway is down: it takes events on, more than memory may hold."""

import asyncio
from functools import partial

import pytest

from faas_connector import supervisor
from faas_connector.backlog import Backlog
from faas_connector.errors import StoreError
from faas_connector.sources.webhook import CloudEventsSource, WebhookSource
from faas_connector.store import Query, State
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import LocalGateway

from .pusher import eventually, function, pushing

durable = partial(WebhookSource, topics=("orders",), durable=True)
# What is taken from the store at a time, whatever the limit of the source.
FROM_STORE = 512


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch):
    monkeypatch.setattr(supervisor, "_FULL", 0.05)


def bodies(gateway):
    return [int(call.body) for call in gateway.received]


async def journal(store):
    return len(await store.select(Query(state=State.JOURNAL)))


def deliveries():
    return sum(task.get_name() == "delivery" for task in asyncio.all_tasks())


async def test_more_than_memory_may_hold_is_taken_while_the_gateway_is_down():
    store, count = MemoryStore(), FROM_STORE + 200
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(durable, gateway, store, max_unsettled=10) as webhook:
            async with gateway.outage(), webhook.client() as client:
                for number in range(count):
                    assert (await client.post("/orders", b"%d" % number)).status == 202
                assert await journal(store) == count
                assert deliveries() <= FROM_STORE + 10 + 2
            await eventually(lambda: len(gateway.received) == count)
        assert sorted(bodies(gateway)) == list(range(count))
        assert await journal(store) == 0


async def test_nothing_overtakes_what_the_journal_alone_holds():
    store, count = MemoryStore(), FROM_STORE + 200
    make = partial(CloudEventsSource, durable=True)
    fields = ("ce-specversion: 1.0", "ce-source: /s", "ce-type: orders", "ce-partitionkey: k")
    async with LocalGateway(functions=[function(order="key")]) as gateway:
        async with pushing(make, gateway, store, max_unsettled=10) as source:
            async with source.client() as client:
                async with gateway.outage():
                    for number in range(count):
                        reply = await client.post("/", b"%d" % number, "ce-id: 1", *fields)
                        assert reply.status == 202
                while len(gateway.received) < count:
                    number += 1
                    reply = await client.post("/", b"%d" % number, "ce-id: 1", *fields)
                    assert reply.status == 202
            await eventually(lambda: len(gateway.received) > number)
        assert bodies(gateway) == list(range(number + 1))


async def test_what_is_put_off_is_taken_once():
    store = MemoryStore()
    make = partial(durable, delivery_header="X-Id", duplicate_window=60.0)
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(make, gateway, store, max_unsettled=5) as webhook:
            async with gateway.outage():
                for _ in range(2):
                    for number in range(15):
                        reply = await webhook.post("/orders", b"%d" % number, f"X-Id: {number}")
                        assert reply.status == 202
                store.fail_with = StoreError("the disk is full")
                assert (await webhook.post("/orders", b"15", "X-Id: 15")).status == 503
                store.fail_with = None
            await eventually(lambda: len(gateway.received) == 15)
        assert sorted(bodies(gateway)) == list(range(15))


def test_a_backlog_closes_when_there_is_room_and_nothing_was_put_off_meanwhile():
    backlog, room = Backlog(), [False]
    backlog.open(lambda: room[0])
    backlog.begin()
    seen = backlog.put_off
    backlog.close(seen)
    assert backlog.is_open  # it is still being written
    backlog.end()
    backlog.close(seen)
    assert backlog.is_open  # it was written after what was seen
    backlog.close(backlog.put_off)
    assert backlog.is_open  # there is no room
    room[0] = True
    backlog.close(backlog.put_off)
    assert not backlog.is_open
