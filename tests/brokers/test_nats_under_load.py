"""NATS and its connectors under load: what at most once means, and what it doesn't."""

import asyncio
import contextlib
import itertools
import os
import sqlite3
from contextlib import asynccontextmanager

import nats
import pytest

from .harness import eventually, lost, replicas, rounds, slow_function

NUMBERS = itertools.count()
UNSETTLED = 64

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def server(nats_server):
    return nats_server


@pytest.fixture
def subject():
    return f"load.{os.getpid()}.{next(NUMBERS)}"


class Publishing:
    """Publishes numbers, one after another, until it is told to end."""

    def __init__(self, server, subject):
        self.count = 0
        self._server, self._subject = server, subject
        self._ending = False

    async def run(self):
        client = await nats.connect(self._server.url)
        try:
            while not self._ending:
                await client.publish(self._subject, b"%d" % self.count)
                self.count += 1
                await asyncio.sleep(0.003)
            await client.flush()
        finally:
            await client.close()

    def end(self):
        self._ending = True


@asynccontextmanager
async def publishing(server, subject):
    it = Publishing(server, subject)
    async with asyncio.TaskGroup() as group:
        group.create_task(it.run())
        try:
            yield it
        finally:
            it.end()


def arguments(server, subject, *more):
    return (
        "nats", "--url", server.url, "--subject", subject, "--queue-group", subject,
        "--max-in-flight", "16", "--max-unsettled", f"{UNSETTLED}", *more,
    )  # fmt: skip


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.soak)])
async def test_rolling_restarts_lose_and_repeat_nothing(server, subject, repeats, tmp_path, times):
    async with slow_function(subject, seconds=0.05) as gateway:
        async with replicas(tmp_path, gateway, arguments(server, subject)) as another:
            running = [await another(), await another()]
            async with publishing(server, subject) as published:
                for _ in range(times):
                    await running.pop(0).stop()
                    running.append(await another())
            await eventually(lambda: not lost(gateway, published.count))
            for each in running:
                await each.stop()
        assert repeats(gateway) == []


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.soak)])
async def test_joins_and_leaves_lose_and_repeat_nothing(server, subject, repeats, tmp_path, times):
    async with slow_function(subject, seconds=0.05) as gateway:
        async with replicas(tmp_path, gateway, arguments(server, subject)) as another:
            stays = await another()
            async with publishing(server, subject) as published:
                for _ in range(times):
                    comes = await another()
                    await comes.stop()
            await eventually(lambda: not lost(gateway, published.count))
            await stays.stop()
        assert repeats(gateway) == []


@pytest.mark.parametrize("number", rounds(1))
async def test_one_of_two_replicas_is_killed(
    server, subject, repeats, record_property, tmp_path, number
):
    """Lost is what it held, and nothing that came to the other one."""
    async with slow_function(subject, seconds=0.05) as gateway:
        async with replicas(tmp_path, gateway, arguments(server, subject)) as another:
            first, second = await another(), await another()
            async with publishing(server, subject) as published:
                await gateway.wait_received(60 + 10 * number, within=60)
                await first.kill()
                killed_at = published.count
                await eventually(lambda: published.count > killed_at + 100)
            last = published.count - 1
            await eventually(lambda: last not in lost(gateway, published.count))
            await second.stop()
        record_property("lost", len(lost(gateway, published.count)))
        assert [each for each in lost(gateway, published.count) if each > killed_at] == []
        assert len(lost(gateway, published.count)) <= UNSETTLED
        assert repeats(gateway) == []


def journalled(replica):
    """Events that are in the journal of a connector."""
    file = replica.folder / "state" / "state.db"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        [(count,)] = database.execute("SELECT count(*) FROM entries WHERE state = 0")
    return count


@pytest.mark.parametrize("number", rounds(1))
async def test_a_killed_connector_loses_nothing_of_its_journal(
    server, subject, repeats, tmp_path, number
):
    """With `durable`; it takes in more than it may deliver at a time."""
    events = 300
    async with slow_function(subject, seconds=0.3) as gateway:
        options = arguments(server, subject, "--durable")
        async with replicas(tmp_path, gateway, options) as another:
            replica = await another()
            client = await nats.connect(server.url)
            for each in range(events):
                await client.publish(subject, b"%d" % each)
            await client.close()
            await gateway.wait_received(16 + 3 * number, within=60)
            await eventually(lambda: journalled(replica) + len(gateway.received) >= events)
            await replica.kill()
            gateway.clear_faults()
            await replica.start()
            await eventually(lambda: not lost(gateway, events))
            await replica.stop()
        assert len(repeats(gateway)) <= UNSETTLED


@pytest.mark.parametrize("number", rounds(1))
async def test_a_killed_broker_costs_nothing_that_had_come(server, subject, tmp_path, number):
    events = 200
    async with slow_function(subject, seconds=0.05) as gateway:
        async with replicas(tmp_path, gateway, arguments(server, subject)) as another:
            replica = await another()
            client = await nats.connect(server.url, allow_reconnect=False)
            for each in range(events):
                await client.publish(subject, b"%d" % each)
            await client.drain()
            await gateway.wait_received(60 + 5 * number, within=60)
            await server.restarted()
            await eventually(lambda: not lost(gateway, events))
            await eventually(lambda: replica.log.count(" is open") == 2)
            async with publishing(server, subject):
                await gateway.wait_received(events + 1, within=60)
            await replica.stop()
