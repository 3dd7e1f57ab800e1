"""JetStream and its connectors killed, restarted, joining and leaving, while it is at work."""

import asyncio
import itertools
import os
from contextlib import asynccontextmanager

import nats
import pytest

from servers.nats import NatsServer

from .harness import called, eventually, lost, repeated, replicas, rounds, slow_function

NUMBERS = itertools.count()
EVENTS = 400
UNSETTLED = 64

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as started:
        yield started


@pytest.fixture
async def stream(server):
    """Its name; its one subject is called the same."""
    name = f"LOAD-{os.getpid()}-{next(NUMBERS)}"
    async with connected(server) as jetstream:
        await jetstream.add_stream(name=name, subjects=[name])
    return name


@asynccontextmanager
async def connected(server):
    client = await nats.connect(server.url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def publish(server, stream, numbers):
    async with connected(server) as jetstream:
        for number in numbers:
            await jetstream.publish(stream, b"%d" % number)


def arguments(server, stream, *more, ack_wait="3s"):
    return (
        "jetstream", "--url", server.url, "--stream", stream, "--durable", "load",
        "--ack-wait", ack_wait, "--batch", "16",
        "--max-in-flight", "16", "--max-unsettled", f"{UNSETTLED}", *more,
    )  # fmt: skip


async def unsettled(server, stream):
    """Events that are delivered and not acknowledged."""
    async with connected(server) as jetstream:
        return (await jetstream.consumer_info(stream, "load")).num_ack_pending


async def left(server, stream):
    """Events that are not acknowledged."""
    async with connected(server) as jetstream:
        info = await jetstream.consumer_info(stream, "load")
        return info.num_pending + info.num_ack_pending


@pytest.mark.parametrize("number", rounds(1))
async def test_a_killed_broker_loses_nothing(server, stream, tmp_path, number):
    await publish(server, stream, range(EVENTS))
    async with slow_function(stream, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(server, stream)) as another:
            replica = await another()
            await gateway.wait_received(60 + 10 * number, within=60)
            assert await unsettled(server, stream) >= 16
            settled = len(gateway.received)
            await server.restarted()
            await eventually(lambda: not lost(gateway, EVENTS))
            while await left(server, stream):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)
            await replica.stop()
        # The server writes acknowledgements down a little later, and so forgets some.
        assert len(repeated(gateway)) <= UNSETTLED + settled
        assert max(called(gateway).values()) <= 2


async def test_it_stops_while_the_broker_is_down(server, stream, tmp_path):
    await publish(server, stream, range(EVENTS))
    async with slow_function(stream, seconds=0.1) as gateway:
        more = ("--timeout-drain", "1s")
        async with replicas(tmp_path, gateway, arguments(server, stream, *more)) as another:
            replica = await another()
            await gateway.wait_received(60, within=60)
            server.kill()
            try:
                await replica.end()
            finally:
                await server.restarted()
            await replica.start()
            await eventually(lambda: not lost(gateway, EVENTS))
            await replica.stop()
        assert len(repeated(gateway)) <= UNSETTLED


@pytest.mark.parametrize("number", rounds(1))
async def test_a_killed_connector_repeats_what_was_unsettled(server, stream, tmp_path, number):
    await publish(server, stream, range(EVENTS))
    async with slow_function(stream, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(server, stream)) as another:
            first = await another()
            await gateway.wait_received(60 + 10 * number, within=60)
            assert await unsettled(server, stream) >= 16
            await first.kill()
            second = await another()
            await eventually(lambda: not lost(gateway, EVENTS))
            await second.stop()
        assert len(repeated(gateway)) <= UNSETTLED
        assert max(called(gateway).values()) <= 2
    assert await left(server, stream) == 0


@pytest.mark.parametrize("number", rounds(1))
async def test_one_of_two_replicas_is_killed(server, stream, tmp_path, number):
    async with slow_function(stream, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(server, stream)) as another:
            first, second = await another(), await another()
            await publish(server, stream, range(EVENTS))
            await gateway.wait_received(60 + 10 * number, within=60)
            await first.kill()
            await eventually(lambda: not lost(gateway, EVENTS))
            await second.stop()
        assert len(repeated(gateway)) <= UNSETTLED
    assert await left(server, stream) == 0


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.soak)])
async def test_joins_and_leaves_repeat_nothing(server, stream, tmp_path, times):
    events = 200 * times  # so that there is work throughout
    await publish(server, stream, range(events))
    async with slow_function(stream, seconds=0.1) as gateway:
        async with replicas(
            tmp_path, gateway, arguments(server, stream, ack_wait="30s")
        ) as another:
            stays = await another()
            for _ in range(times):
                comes = await another()
                await comes.stop()
            await eventually(lambda: not lost(gateway, events))
            await stays.stop()
        assert repeated(gateway) == []
    assert await left(server, stream) == 0


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.soak)])
async def test_rolling_restarts_repeat_nothing(server, stream, tmp_path, times):
    events = 200 * times  # so that there is work throughout
    await publish(server, stream, range(events))
    async with slow_function(stream, seconds=0.1) as gateway:
        async with replicas(
            tmp_path, gateway, arguments(server, stream, ack_wait="30s")
        ) as another:
            running = [await another(), await another()]
            for _ in range(times):
                await running.pop(0).stop()
                running.append(await another())
            await eventually(lambda: not lost(gateway, events))
            for each in running:
                await each.stop()
        assert repeated(gateway) == []
    assert await left(server, stream) == 0
