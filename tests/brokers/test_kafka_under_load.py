"""Kafka and its connectors killed, restarted, joining and leaving, while events are unsettled."""

import asyncio
import itertools
import os

import pytest

from .harness import called, eventually, lost, repeated, replicas, rounds, slow_function

NUMBERS = itertools.count()
EVENTS = 400
UNSETTLED = 64

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def topic(kafka):
    name = f"load-{os.getpid()}-{next(NUMBERS)}"
    await kafka.create(name)
    return name


async def publish(kafka, topic, numbers):
    async with kafka.producer() as producer:
        sent = [
            await producer.send(topic, b"%d" % number, key=b"%d" % number) for number in numbers
        ]
        await asyncio.gather(*sent)


def arguments(kafka, topic, *more, session="2s"):
    return (
        "kafka", "--brokers", kafka.url, "--topics", topic, "--group", topic,
        "--session-timeout", session, "--max-in-flight", "16", "--max-unsettled", f"{UNSETTLED}",
        *more,
    )  # fmt: skip


async def uncommitted(kafka, topic, events=EVENTS):
    """How many of the events aren't committed."""
    return events - sum((await kafka.committed(topic)).values())


@pytest.mark.parametrize("number", rounds(2))
async def test_a_killed_broker_costs_nothing(kafka, topic, tmp_path, number):
    """It is waited for, or, where it takes longer than the group's timeout, connected to anew."""
    await publish(kafka, topic, range(EVENTS))
    session = "30s" if number % 2 else "1s"
    async with slow_function(topic, seconds=0.1) as gateway:
        given = arguments(kafka, topic, session=session)
        async with replicas(tmp_path, gateway, given) as another:
            replica = await another()
            await gateway.wait_received(60 + 10 * number, within=60)
            assert await uncommitted(kafka, topic) >= 16
            await kafka.restarted()
            await eventually(lambda: not lost(gateway, EVENTS))
            await replica.stop()
            assert await uncommitted(kafka, topic) == 0
        assert repeated(gateway) == []


async def test_it_stops_while_the_broker_is_down(kafka, topic, tmp_path):
    await publish(kafka, topic, range(EVENTS))
    async with slow_function(topic) as gateway:
        more = ("--timeout-drain", "1s")
        async with replicas(tmp_path, gateway, arguments(kafka, topic, *more)) as another:
            replica = await another()
            await gateway.wait_received(60, within=60)
            kafka.kill()
            try:
                await replica.end()
            finally:
                await kafka.restarted()
            await replica.start()
            await eventually(lambda: not lost(gateway, EVENTS))
            await replica.stop()
        assert len(repeated(gateway)) <= UNSETTLED


@pytest.mark.parametrize("number", rounds(1))
async def test_a_killed_connector_repeats_what_was_unsettled(kafka, topic, tmp_path, number):
    await publish(kafka, topic, range(EVENTS))
    async with slow_function(topic) as gateway:
        async with replicas(tmp_path, gateway, arguments(kafka, topic)) as another:
            first = await another()
            await gateway.wait_received(60 + 10 * number, within=60)
            await first.kill()
            assert await uncommitted(kafka, topic) >= 16
            second = await another()
            await eventually(lambda: not lost(gateway, EVENTS))
            await second.stop()
        assert len(repeated(gateway)) <= UNSETTLED
        assert max(called(gateway).values()) <= 2


@pytest.mark.parametrize("number", rounds(1))
async def test_one_of_two_replicas_is_killed(kafka, topic, tmp_path, number):
    async with slow_function(topic) as gateway:
        async with replicas(tmp_path, gateway, arguments(kafka, topic)) as another:
            first, second = await another(), await another()
            await publish(kafka, topic, range(EVENTS))
            await gateway.wait_received(60 + 10 * number, within=60)
            await first.kill()
            await eventually(lambda: not lost(gateway, EVENTS))
            await second.stop()
        assert len(repeated(gateway)) <= UNSETTLED


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.soak)])
async def test_joins_and_leaves_repeat_nothing(kafka, topic, tmp_path, times):
    events = 200 * times  # so that there is work throughout
    await publish(kafka, topic, range(events))
    async with slow_function(topic, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(kafka, topic)) as another:
            stays = await another()
            for _ in range(times):
                comes = await another()
                await comes.stop()
            await eventually(lambda: not lost(gateway, events))
            await stays.stop()
            assert await uncommitted(kafka, topic, events) == 0
        assert repeated(gateway) == []


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.soak)])
async def test_rolling_restarts_repeat_nothing(kafka, topic, tmp_path, times):
    events = 200 * times  # so that there is work throughout
    await publish(kafka, topic, range(events))
    async with slow_function(topic, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(kafka, topic)) as another:
            running = [await another(), await another()]
            for _ in range(times):
                await running.pop(0).stop()
                running.append(await another())
            await eventually(lambda: not lost(gateway, events))
            for each in running:
                await each.stop()
            assert await uncommitted(kafka, topic, events) == 0
        assert repeated(gateway) == []
