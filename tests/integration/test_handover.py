"""Events that are pushed: taken once, settled truthfully, given back at the stop."""

import asyncio
from contextlib import asynccontextmanager

from faas_connector import Controller, ControllerConfig, Event, Limits, RetryPolicy
from faas_connector.errors import SourceError
from faas_connector.handover import HandOver
from faas_connector.outcome import Kind
from faas_connector.source import Delivery, Guarantee, Once, SourceTraits
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import Fault, LocalFunction, LocalGateway


class Pushed(Delivery):
    __slots__ = ("conclusions", "settled")

    def __init__(self, body=b"1", *, once=None, headers=None):
        super().__init__(Event("orders", body, headers or {}), once=once)
        self.settled = asyncio.get_running_loop().create_future()
        self.conclusions = []

    def concluded(self, kind, status):
        self.conclusions.append((kind, status))

    async def ack(self):
        self.settled.set_result("ack")

    async def nack(self, delay=0.0):
        self.settled.set_result("nack")


class PushSource:
    name = "push"

    def __init__(self, *, journal=False, **limits):
        self.traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, journal=journal)
        self.limits = limits
        self.events = None
        self.opened = asyncio.Event()

    @asynccontextmanager
    async def open(self, session):
        async with HandOver(session, **self.limits) as self.events:
            self.opened.set()
            yield self.events

    async def push(self, *deliveries):
        assert self.events.offer(deliveries)
        return [await delivery.settled for delivery in deliveries]


@asynccontextmanager
async def running(source, gateway, store=None, **limits):
    config = ControllerConfig(
        gateway_url=gateway.url,
        retry=RetryPolicy(attempts=2, min_wait=0.01, max_wait=0.01),
        limits=Limits(**limits),
    )
    async with Controller(config) as controller:
        run = asyncio.create_task(controller.run(source, store=store))
        await source.opened.wait()
        try:
            yield controller
        finally:
            controller.stop()
            assert await run


def one():
    return LocalFunction(name="one", annotations={"topic": "orders"})


async def test_what_a_function_made_of_it_is_told_before_it_is_settled():
    source = PushSource()
    async with LocalGateway(functions=[one()]) as gateway, running(source, gateway):
        well, ill = Pushed(), Pushed(b"2")
        assert await source.push(well) == ["ack"]
        assert well.conclusions == [(Kind.DELIVERED, 200)]
        gateway.inject(Fault(target="function/one", status=500))
        assert await source.push(ill) == ["ack"]
        assert ill.conclusions == [(Kind.FAILED, 500)]


async def test_a_known_event_is_acknowledged_and_not_delivered():
    source, store = PushSource(journal=True), MemoryStore()
    async with LocalGateway(functions=[one()]) as gateway:
        async with running(source, gateway, store):
            events = [Pushed(b"%d" % number, once=Once("k", 60.0)) for number in range(10)]
            assert await source.push(*events) == ["ack"] * 10
        assert [call.body for call in gateway.received] == [b"0"]


async def test_what_was_just_journalled_is_not_looked_up():
    class Watched(MemoryStore):
        looked_up = 0

        async def known(self, source, position):
            self.looked_up += 1
            return await super().known(source, position)

    source, store = PushSource(journal=True), Watched()
    async with LocalGateway(functions=[one()]) as gateway:
        async with running(source, gateway, store):
            for key in "abc":
                assert await source.push(Pushed(once=Once(key, 60.0))) == ["ack"]
        assert len(gateway.received) == 3
    assert store.looked_up == 0


class Unheard(Pushed):
    __slots__ = ()

    async def ack(self):
        await super().ack()
        raise SourceError("nobody is there to hear it")


async def test_what_is_journalled_is_delivered_though_its_source_hears_nothing_of_it():
    source, store = PushSource(journal=True), MemoryStore()
    async with LocalGateway(functions=[one()]) as gateway:
        async with running(source, gateway, store):
            assert await source.push(Unheard()) == ["ack"]
            await gateway.wait_received(1)
        assert (await store.counts()).journal == 0


async def test_one_that_was_refused_is_not_known():
    source, store = PushSource(journal=True), MemoryStore(max_journal_bytes=500)
    async with LocalGateway(functions=[one()]) as gateway:
        async with running(source, gateway, store):
            assert await source.push(Pushed(bytes(1000), once=Once("k", 60.0))) == ["nack"]
            assert await source.push(Pushed(b"again", once=Once("k", 60.0))) == ["ack"]
        assert [call.body for call in gateway.received] == [b"again"]


async def test_what_finds_no_room_is_not_taken():
    source = PushSource(max_waiting=3, max_waiting_bytes=10)
    async with LocalGateway(functions=[one()]) as gateway:
        async with running(source, gateway):
            assert not source.events.offer([Pushed() for _ in range(4)])
            assert not source.events.offer([Pushed(bytes(11))])
            many = {f"X-{number}": "1" for number in range(1000)}
            assert not source.events.offer([Pushed(headers=many)])
            assert await source.push(Pushed(), Pushed(), Pushed()) == ["ack"] * 3
            assert await source.push(Pushed(bytes(10))) == ["ack"]
        assert not source.events.offer([Pushed()])


async def test_what_waits_at_the_stop_is_given_back_at_once():
    source = PushSource()
    async with LocalGateway(functions=[one()]) as gateway:
        gateway.inject(Fault(target="function/one", delay=1.5, times=1))
        async with running(source, gateway, max_unsettled=1) as controller:
            first, second = Pushed(b"1"), Pushed(b"2")
            source.events.offer([first])
            await gateway.wait_received(1)
            source.events.offer([second])
            controller.stop()
            assert await second.settled == "nack"
            assert not first.settled.done()
        assert await first.settled == "ack"
        assert len(gateway.received) == 1
