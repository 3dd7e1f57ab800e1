"""RabbitMQ and its connectors killed, restarted, joining and leaving, while it is at work."""

import itertools
import os

import pytest
from pamqp.commands import Basic

from .harness import called, eventually, lost, repeated, replicas, rounds, slow_function

NUMBERS = itertools.count()
EVENTS = 400
UNSETTLED = 64

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["classic", pytest.param("quorum", marks=pytest.mark.soak)])
async def queue(rabbitmq, request):
    name = f"load-{os.getpid()}-{next(NUMBERS)}"
    async with rabbitmq.channel() as channel:
        await channel.queue_declare(name, durable=True, arguments={"x-queue-type": request.param})
    rabbitmq.write_down()
    return name


async def publish(rabbitmq, queue, numbers):
    async with rabbitmq.channel() as channel:
        for number in numbers:
            await channel.basic_publish(
                b"%d" % number, routing_key=queue, properties=Basic.Properties(delivery_mode=2)
            )


def arguments(rabbitmq, queue, *more):
    return (
        "rabbitmq", "--url", rabbitmq.url, "--queue", queue,
        "--max-in-flight", "16", "--max-unsettled", f"{UNSETTLED}", *more,
    )  # fmt: skip


def unsettled(rabbitmq, queue):
    """Messages of a queue that are delivered and not acknowledged."""
    name = f"rabbit_misc:r(<<47>>, queue, list_to_binary({[*queue.encode()]}))"
    what = "messages_unacknowledged"
    return int(
        rabbitmq.evaluate(
            f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), "
            f"proplists:get_value({what}, rabbit_amqqueue:info(Q, [{what}]))"
        )
    )


async def left(rabbitmq, queue):
    """Messages that stand in it while no connector runs."""
    async with rabbitmq.channel() as channel:
        return (await channel.queue_declare(queue, passive=True)).message_count


@pytest.mark.parametrize("number", rounds(1))
@pytest.mark.parametrize(
    "queue", ["quorum", pytest.param("classic", marks=pytest.mark.soak)], indirect=True
)
async def test_a_killed_broker_loses_nothing(rabbitmq, queue, tmp_path, number, request):
    is_classic = "classic" in request.node.name
    await publish(rabbitmq, queue, range(EVENTS))
    async with slow_function(queue, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(rabbitmq, queue)) as another:
            replica = await another()
            await gateway.wait_received(60 + 10 * number, within=60)
            assert unsettled(rabbitmq, queue) >= 16
            settled = len(gateway.received) if is_classic else 0
            await rabbitmq.restarted()
            await eventually(lambda: not lost(gateway, EVENTS))
            await replica.stop()
        # A classic queue keeps acknowledgements in memory for a while, and so forgets some.
        assert len(repeated(gateway)) <= UNSETTLED + settled
    assert await left(rabbitmq, queue) == 0


@pytest.mark.parametrize("queue", ["quorum"], indirect=True)
async def test_it_stops_while_the_broker_is_down(rabbitmq, queue, tmp_path):
    await publish(rabbitmq, queue, range(EVENTS))
    async with slow_function(queue, seconds=0.1) as gateway:
        more = ("--timeout-drain", "1s")
        async with replicas(tmp_path, gateway, arguments(rabbitmq, queue, *more)) as another:
            replica = await another()
            await gateway.wait_received(60, within=60)
            rabbitmq.kill()
            try:
                await replica.end()
            finally:
                await rabbitmq.restarted()
            await replica.start()
            await eventually(lambda: not lost(gateway, EVENTS))
            await replica.stop()
        assert len(repeated(gateway)) <= UNSETTLED


@pytest.mark.parametrize("number", rounds(1))
async def test_a_killed_connector_repeats_what_was_unsettled(rabbitmq, queue, tmp_path, number):
    await publish(rabbitmq, queue, range(EVENTS))
    async with slow_function(queue, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(rabbitmq, queue)) as another:
            first = await another()
            await gateway.wait_received(60 + 10 * number, within=60)
            assert unsettled(rabbitmq, queue) >= 16
            await first.kill()
            second = await another()
            await eventually(lambda: not lost(gateway, EVENTS))
            await second.stop()
        assert len(repeated(gateway)) <= UNSETTLED
        assert max(called(gateway).values()) <= 2
    assert await left(rabbitmq, queue) == 0


@pytest.mark.parametrize("number", rounds(1))
async def test_one_of_two_replicas_is_killed(rabbitmq, queue, tmp_path, number):
    async with slow_function(queue, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(rabbitmq, queue)) as another:
            first, second = await another(), await another()
            await publish(rabbitmq, queue, range(EVENTS))
            await gateway.wait_received(60 + 10 * number, within=60)
            await first.kill()
            await eventually(lambda: not lost(gateway, EVENTS))
            await second.stop()
        assert len(repeated(gateway)) <= UNSETTLED


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.soak)])
async def test_joins_and_leaves_repeat_nothing(rabbitmq, queue, tmp_path, times):
    events = 200 * times  # so that there is work throughout
    await publish(rabbitmq, queue, range(events))
    async with slow_function(queue, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(rabbitmq, queue)) as another:
            stays = await another()
            for _ in range(times):
                comes = await another()
                await comes.stop()
            await eventually(lambda: not lost(gateway, events))
            await stays.stop()
        assert repeated(gateway) == []
    assert await left(rabbitmq, queue) == 0


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.soak)])
async def test_rolling_restarts_repeat_nothing(rabbitmq, queue, tmp_path, times):
    events = 200 * times  # so that there is work throughout
    await publish(rabbitmq, queue, range(events))
    async with slow_function(queue, seconds=0.1) as gateway:
        async with replicas(tmp_path, gateway, arguments(rabbitmq, queue)) as another:
            running = [await another(), await another()]
            for _ in range(times):
                await running.pop(0).stop()
                running.append(await another())
            await eventually(lambda: not lost(gateway, events))
            for each in running:
                await each.stop()
        assert repeated(gateway) == []
    assert await left(rabbitmq, queue) == 0
