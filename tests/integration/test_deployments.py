"""Functions that come, go and come back, and lists that can't be trusted, while events flow."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from faas_connector import Controller, ControllerConfig, Event, Limits, RetryPolicy, Timeouts
from faas_connector.errors import GatewayError
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import LocalFunction, LocalGateway, MemorySource

INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
BY_POSITION = SourceTraits(
    guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION, ordered=True
)
BOTH = pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["single", "position"])
BATCH = 100


class Taker:
    """Functions that remember which events they took."""

    def __init__(self):
        self.took = {}

    def function(self, name, namespace=None):
        took = self.took.setdefault(name, [])

        def answer(call):
            took.append(int(call.body))
            return b""

        return LocalFunction(
            name=name, namespace=namespace, answer=answer, annotations={"topic": "t"}
        )


class Run:
    """A run under load, that ends when all that was published is delivered."""

    def __init__(self, controller, source, store, taker):
        self.controller = controller
        self._source = source
        self._store = store
        self._taker = taker
        self._published = 0

    async def load(self):
        """Publish a batch, and wait until some of it is under way."""
        for _ in range(BATCH):
            self._source.publish(Event("t", b"%d" % self._published))
            self._published += 1
        before = len(self._source.deliveries)
        await self._source.wait_until(lambda: len(self._source.deliveries) > before)

    async def refresh(self):
        try:
            await self.controller.refresh()
        except GatewayError:
            return False
        return not self.controller.failing

    async def finish(self):
        """Wait until each function took each event; once."""
        async with asyncio.timeout(60):
            await self._source.wait_until(lambda: len(self._source.acked) == self._published)
            while (await self._store.counts()).parked:  # noqa: ASYNC110 - a store tells nobody
                await asyncio.sleep(0.02)
        self.controller.stop()
        for name, took in self._taker.took.items():
            assert sorted(took) == [*range(self._published)], name
        counts = await self._store.counts()
        assert (counts.dead, counts.journal) == (0, 0)


@asynccontextmanager
async def running(gateway, traits, taker):
    source, store = MemorySource(traits=traits), MemoryStore()
    config = ControllerConfig(
        gateway_url=gateway.url,
        retry=RetryPolicy(attempts=30, min_wait=0.01, max_wait=0.1),
        park_after=0.05,
        rebuild_interval=3600.0,  # refreshed by the test alone
        limits=Limits(max_in_flight=16, max_unsettled=50),
    )
    async with Controller(config) as controller, asyncio.TaskGroup() as group:
        group.create_task(controller.run(source, store=store))
        yield Run(controller, source, store, taker)
    assert source.violations == []


@BOTH
async def test_a_namespace_that_cannot_be_listed_loses_nothing(traits):
    taker = Taker()
    functions = [taker.function("one"), taker.function("two", "staging")]
    async with LocalGateway(functions=functions, namespaces=["staging"]) as gateway:
        async with running(gateway, traits, taker) as run:
            for fails in [1, 1, 2]:
                gateway.inject(f"system/functions:status=500,times={fails}")
                await run.load()
                assert not await run.refresh()
                await run.load()
            gateway.inject("system/namespaces:status=404,times=1")
            assert not await run.refresh()
            await run.load()
            assert await run.refresh()
            await run.finish()


@BOTH
async def test_a_namespace_that_is_not_told_for_once_loses_nothing(traits):
    taker = Taker()
    functions = [taker.function("one"), taker.function("two", "staging")]
    async with LocalGateway(functions=functions, namespaces=["staging"]) as gateway:
        async with running(gateway, traits, taker) as run:
            await run.load()
            gateway.inject('system/namespaces:times=1,status=200,body=["openfaas-fn"]')
            await run.refresh()
            await run.load()
            assert await run.refresh()
            await run.load()
            await run.finish()


@BOTH
async def test_a_deployment_that_deletes_and_creates_loses_nothing(traits):
    taker = Taker()
    functions = [taker.function("one"), taker.function("two")]
    async with LocalGateway(functions=functions) as gateway:
        async with running(gateway, traits, taker) as run:
            for is_noticed in [True, False]:
                await run.load()
                gateway.remove("one")
                await run.load()
                if is_noticed:
                    assert await run.refresh()
                    await run.load()
                gateway.add(functions[0])
                await run.refresh()
            await run.finish()


@BOTH
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
async def test_a_list_that_is_empty_for_a_moment_loses_nothing(traits, times):
    taker = Taker()
    async with LocalGateway(functions=[taker.function("one"), taker.function("two")]) as gateway:
        async with running(gateway, traits, taker) as run:
            await run.load()
            gateway.inject(f"system/functions:times={times},status=200,body=[]")
            for _ in range(times):
                await run.refresh()
                await run.load()
            assert await run.refresh()
            await run.load()
            await run.finish()


async def test_a_slow_subscriber_has_no_effect_on_delivery():
    taker, never = Taker(), asyncio.Event()
    source = MemorySource()
    for number in range(500):
        source.publish(Event("t", b"%d" % number))
    source.end()
    async with LocalGateway(functions=[taker.function("one"), taker.function("two")]) as gateway:
        config = ControllerConfig(
            gateway_url=gateway.url,
            limits=Limits(subscriber_items=10),
            timeouts=Timeouts(subscribers=0.0),
        )
        async with Controller(config) as controller:
            heard = []

            async def stuck(response):
                heard.append(response)
                await never.wait()

            controller.subscribe(stuck)
            assert await controller.run(source, store=MemoryStore())
            assert len(source.acked) == 500
            assert [sorted(took) for took in taker.took.values()] == [[*range(500)]] * 2
            assert len(heard) == 1
            assert controller.counts.responses_dropped == 1000 - 10
