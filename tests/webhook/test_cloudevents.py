"""CloudEvents over real sockets, in and out."""

import json
from functools import partial

import pytest

from faas_connector import Event, Scoped
from faas_connector.cloudevents import BATCHED, STRUCTURED
from faas_connector.controller import Controller, ControllerConfig
from faas_connector.sources.webhook import CloudEventsSource
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import LocalGateway, MemorySource

from .pusher import eventually, function, pushing

BINARY = (
    "ce-specversion: 1.0",
    "ce-id: 1",
    "ce-source: /shop",
    "ce-type: orders",
    "ce-color: a%20b",
)


def event(number="1", **more):
    return {"specversion": "1.0", "id": number, "source": "/shop", "type": "orders", **more}


def typed(content_type):
    return f"Content-Type: {content_type}"


async def test_binary_and_structured_reach_a_function_alike():
    body = json.dumps(event(color="a b", data={"n": 1})).encode()
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(CloudEventsSource, gateway) as source:
            first = await source.post("/", b'{"n": 1}', *BINARY, typed("application/json"))
            second = await source.post("/", body, typed(STRUCTURED))
            assert (first.status, second.status) == (202, 202)
        for call in gateway.received:
            assert call.body == b'{"n": 1}'
            assert call.header("Content-Type") == "application/json"
            assert call.header("X-Topic") == "orders"
            assert call.header("X-Event-Id") == "1"
            assert call.header("ce-source") == "/shop"
            assert call.header("ce-color") == "a%20b"


async def test_each_event_of_a_batch_is_delivered():
    body = json.dumps([event(str(number), data=number) for number in range(20)]).encode()
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(CloudEventsSource, gateway) as source:
            assert (await source.post("/", body, typed(BATCHED))).status == 202
            assert (await source.post("/", b"[]", typed(BATCHED))).status == 202
        assert sorted(int(call.body) for call in gateway.received) == list(range(20))


@pytest.mark.parametrize(
    ("settings", "topic"),
    [
        ({}, "orders"),
        ({"topic_from": "source"}, "/shop"),
        ({"topic_from": "subject"}, "s-1"),
        ({"topics": ("orders",)}, "orders"),
        ({"topics": ("refunds",)}, None),
        ({"topic_prefix": "shop."}, "shop.orders"),
        ({"path": "/in"}, None),
    ],
)
async def test_the_topic_is_an_attribute(settings, topic):
    asked = function(topic=topic or "nobody")
    async with LocalGateway(functions=[asked]) as gateway:
        async with pushing(partial(CloudEventsSource, **settings), gateway) as source:
            reply = await source.post("/", b"", *BINARY, "ce-subject: s-1")
            assert reply.status == (404 if topic is None else 202)
            assert [call.header("X-Topic") for call in gateway.received] == [topic][: bool(topic)]


async def test_413_for_a_batch_that_could_never_wait():
    make = partial(CloudEventsSource, max_waiting=2)
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(make, gateway) as source, source.client() as sender:
            for count, status in ((3, 413), (2, 202)):
                batch = json.dumps([event(str(number)) for number in range(count)]).encode()
                reply = await sender.post("/", batch, typed(BATCHED))
                assert reply.status == status
                assert (b"max_waiting is 2, these are 3 events" in reply.body) is (count == 3)


async def test_what_is_no_cloudevent_is_refused():
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(CloudEventsSource, gateway) as source:
            reply = await source.post("/", b"{}")
            assert (reply.status, reply.body) == (
                400, b"this is no CloudEvent: it has no specversion\n",
            )  # fmt: skip
            assert (
                await source.post("/", b"", typed("application/cloudevents+avro"))
            ).status == 415
            assert (await source.post("/", b"", method="GET")).status == 405
            large = json.dumps([event(color="a" * 40_000)]).encode()
            assert (await source.post("/", large, typed(BATCHED))).status == 413
        assert not gateway.received


async def test_the_handshake():
    make = partial(CloudEventsSource, origins=("eventgrid.azure.net",), token="t")
    async with LocalGateway(functions=[]) as gateway:
        async with pushing(make, gateway) as source:
            ask = partial(source.post, "/", b"", method="OPTIONS")
            reply = await ask("WebHook-Request-Origin: eventgrid.azure.net")
            assert reply.status == 200
            assert reply.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
            assert reply.headers["webhook-allowed-rate"] == "*"
            assert reply.headers["allow"] == "POST, OPTIONS"
            refused = await ask("WebHook-Request-Origin: evil.example")
            assert refused.status == 403
            assert "webhook-allowed-origin" not in refused.headers
            assert "webhook-allowed-origin" not in (await ask()).headers
            assert (await source.post("/", b"", *BINARY)).status == 401


async def test_duplicates_by_source_and_id_on_request():
    make = partial(CloudEventsSource, durable=True, duplicate_window=60.0)
    batch = json.dumps([event("1"), event("2"), event("2"), event("1", source="/other")]).encode()
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(make, gateway, MemoryStore()) as source:
            for _ in range(2):
                assert (await source.post("/", b"", *BINARY)).status == 202
                assert (await source.post("/", batch, typed(BATCHED))).status == 202
            await eventually(lambda: len(gateway.received) >= 3)
        ids = sorted((call.header("ce-source"), call.header("ce-id")) for call in gateway.received)
        assert ids == [("/other", "1"), ("/shop", "1"), ("/shop", "2")]


async def test_any_source_can_send_cloudevents_out():
    source = MemorySource("kafka")
    source.publish(Event("orders", b"1", key="k"))
    source.end()
    async with LocalGateway(functions=[function()]) as gateway:
        async with Controller(ControllerConfig(gateway_url=gateway.url)) as controller:
            await controller.run(Scoped(source, cloudevents=True), store=MemoryStore())
        [call] = gateway.received
    assert call.header("ce-specversion") == "1.0"
    assert call.header("ce-type") == "orders"
    assert call.header("ce-source") == "/kafka"
    assert call.header("ce-partitionkey") == "k"
    assert call.header("ce-id")
    assert call.body == b"1"
