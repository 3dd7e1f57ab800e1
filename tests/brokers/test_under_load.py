"""Brokers and their connectors killed, restarted, joining and leaving, while events are unsettled.

Nothing is ever lost, what is killed repeats at most what was unsettled, and what stops nothing.
"""

import asyncio

import pytest

from .harness import called, eventually, lost, replicas, slow_function
from .loads import LOADS, UNSETTLED

EVENTS = 400

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def broker(request):
    """How its load is made, and its server."""
    kind = LOADS[request.param]
    return kind, request.getfixturevalue(kind.broker)


@pytest.fixture
async def load(broker):
    kind, server = broker
    made = kind(server)
    await made.prepare()
    return made


def rounds(most=20, **few):
    """Of each broker as many in each run of the tests as are given here, and all in a soak."""
    return pytest.mark.parametrize(
        ("broker", "number"),
        [
            pytest.param(kind, number, marks=() if number < few.get(kind, 0) else pytest.mark.soak)
            for kind in LOADS
            for number in range(most)
        ],
        indirect=["broker"],
    )


def times(*quick, few=2, many=20):
    """How often something is to happen: a few times in each run of the tests, more in a soak."""
    return pytest.mark.parametrize(
        ("broker", "times"),
        [
            pytest.param(
                kind, number, marks=() if kind in quick and number == few else pytest.mark.soak
            )
            for kind in LOADS
            for number in (few, many)
        ],
        indirect=["broker"],
    )


async def none_left(load, events):
    while await load.left(events):  # noqa: ASYNC110 - no broker tells when
        await asyncio.sleep(0.02)


@rounds(kafka=2, quorum=1, jetstream=1)
async def test_a_killed_broker_loses_nothing(load, repeats, tmp_path, number):
    await load.publish(EVENTS)
    async with slow_function(load.topic, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, load.arguments(*load.outage(number))) as another:
            replica = await another()
            await gateway.wait_received(60 + 10 * number, within=60)
            assert await load.unsettled() >= 16
            settled = len(gateway.received)
            await load.server.restarted()
            await eventually(lambda: not lost(gateway, EVENTS))
            await none_left(load, EVENTS)
            await replica.stop()
        assert len(repeats(gateway)) <= load.forgets(settled)
        assert max(called(gateway).values()) <= 2


@rounds(most=1, kafka=1, quorum=1, jetstream=1)
async def test_it_stops_while_the_broker_is_down(load, repeats, tmp_path, number):
    await load.publish(EVENTS)
    async with slow_function(load.topic, seconds=0.1) as gateway:
        given = load.arguments("--timeout-drain", "1s")
        async with replicas(tmp_path, gateway, given) as another:
            replica = await another()
            await gateway.wait_received(60, within=60)
            settled = len(gateway.received)
            load.server.kill()
            try:
                await replica.end()
            finally:
                await load.server.restarted()
            await replica.start()
            await eventually(lambda: not lost(gateway, EVENTS))
            await replica.stop()
        assert len(repeats(gateway)) <= max(UNSETTLED, load.forgets(settled))
    assert await load.left(EVENTS) == 0


@rounds(kafka=1, classic=1, jetstream=1)
async def test_a_killed_connector_repeats_what_was_unsettled(load, repeats, tmp_path, number):
    await load.publish(EVENTS)
    async with slow_function(load.topic, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, load.arguments()) as another:
            first = await another()
            await gateway.wait_received(60 + 10 * number, within=60)
            assert await load.unsettled() >= 16
            await first.kill()
            second = await another()
            await eventually(lambda: not lost(gateway, EVENTS))
            await none_left(load, EVENTS)  # of what is repeated, too
            await second.stop()
        assert len(repeats(gateway)) <= UNSETTLED
        assert max(called(gateway).values()) <= 2
    assert await load.left(EVENTS) == 0


@rounds(kafka=1, classic=1, jetstream=1)
async def test_one_of_two_replicas_is_killed(load, repeats, tmp_path, number):
    async with slow_function(load.topic, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, load.arguments()) as another:
            first, second = await another(), await another()
            await load.publish(EVENTS)
            await gateway.wait_received(60 + 10 * number, within=60)
            await first.kill()
            await eventually(lambda: not lost(gateway, EVENTS))
            await none_left(load, EVENTS)  # of what is repeated, too
            await second.stop()
        assert len(repeats(gateway)) <= UNSETTLED
    assert await load.left(EVENTS) == 0


@times("kafka", "classic", "jetstream")
async def test_joins_and_leaves_repeat_nothing(load, repeats, tmp_path, times):
    events = 200 * times  # so that there is work throughout
    await load.publish(events)
    async with slow_function(load.topic, seconds=0.1) as gateway:
        given = load.arguments(*load.patient())
        async with replicas(tmp_path, gateway, given) as another:
            stays = await another()
            for _ in range(times):
                comes = await another()
                await comes.stop()
            await eventually(lambda: not lost(gateway, events))
            await stays.stop()
        assert repeats(gateway) == []
    assert await load.left(events) == 0


@times("kafka", "classic", "jetstream")
async def test_rolling_restarts_repeat_nothing(load, repeats, tmp_path, times):
    events = 200 * times  # so that there is work throughout
    await load.publish(events)
    async with slow_function(load.topic, seconds=0.1) as gateway:
        given = load.arguments(*load.patient())
        async with replicas(tmp_path, gateway, given) as another:
            running = [await another(), await another()]
            for _ in range(times):
                await running.pop(0).stop()
                running.append(await another())
            await eventually(lambda: not lost(gateway, events))
            for each in running:
                await each.stop()
        assert repeats(gateway) == []
    assert await load.left(events) == 0
