"""`run --dry-run` of each broker's source: it shows the calls, and the broker keeps what it has."""

import asyncio
import contextlib
import os
import signal
from contextlib import asynccontextmanager

import nats
import pytest
from aiokafka import TopicPartition
from aiormq.abc import Basic
from aiormq.exceptions import ChannelNotFoundEntity, DeliveryError

from faas_connector.testing import LocalFunction, LocalGateway
from servers.nats import NatsServer

from .harness import COMMAND, eventually

TOPIC = "dry.run"


@asynccontextmanager
async def dry_run(folder, *arguments, topic=TOPIC):
    """While it runs; gives what it has said so far."""
    function = LocalFunction(name="one", annotations={"topic": topic})
    async with LocalGateway(functions=[function]) as gateway:
        output = folder / "output"
        with output.open("w") as file:
            process = await asyncio.create_subprocess_exec(
                *COMMAND, *arguments, "--dry-run", stdout=file, stderr=file, cwd=folder,
                env={
                    "PATH": os.environ["PATH"], "HOME": str(folder), "OPENFAAS_URL": gateway.url
                },
            )  # fmt: skip
        try:
            yield output.read_text
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0, output.read_text()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert not gateway.received
    assert not (folder / ".local").exists()


async def shown(said):
    await eventually(lambda: f"event '{TOPIC}', 5 B" in said() and "would call one." in said())


STARTS = {
    "earliest": (),
    "latest": ("--start", "latest"),
    "time": ("--start-time", "2026-01-31T12:00:00Z"),
}


@pytest.mark.parametrize("start", STARTS)
async def test_kafka(kafka, tmp_path, start):
    topic, group = f"{TOPIC}.{start}", "dry"
    await kafka.create(topic, partitions=1)
    arguments = ("--brokers", kafka.url, "--topics", topic, "--group", group, *STARTS[start])
    async with kafka.producer() as producer:
        await producer.send_and_wait(topic, b"before")
        async with dry_run(tmp_path, "kafka", *arguments, topic=topic) as said:
            while "would call one." not in said():
                await producer.send_and_wait(topic, b"hello")
                await asyncio.sleep(0.05)
            assert ("6 B" in said()) is (start != "latest")
            assert not await kafka.members(group)
    assert not await kafka.committed(group)


async def test_kafka_begins_where_the_group_stands(kafka, tmp_path):
    topic = f"{TOPIC}.behind"
    await kafka.create(topic, partitions=1)
    async with kafka.producer() as producer, kafka.member(topic, "standing") as member:
        for data in (b"1", b"22", b"333"):
            await producer.send_and_wait(topic, data)
        first = await member.getone()
        await member.commit({TopicPartition(topic, 0): first.offset + 1})
        arguments = ("--brokers", kafka.url, "--pattern", "dry.run.beh", "--group", "standing")
        async with dry_run(tmp_path, "kafka", *arguments, topic=topic) as said:
            await eventually(lambda: said().count("would call one.") == 2)
            assert " 1 B" not in said()
            assert len(await kafka.members("standing")) == 1
        assert await kafka.committed("standing") == {(topic, 0): 1}
        assert (await member.getone()).value == b"22"


async def test_rabbitmq(rabbitmq, tmp_path):
    async with rabbitmq.channel() as channel:
        await channel.queue_declare(TOPIC)
        await channel.basic_publish(b"hello", routing_key=TOPIC)
        async with dry_run(tmp_path, "rabbitmq", "--url", rabbitmq.url, "--queue", TOPIC) as said:
            await shown(said)
        found = await channel.basic_get(TOPIC, no_ack=True)
        assert isinstance(found.delivery, Basic.GetOk)
        assert found.body == b"hello"
        await channel.queue_delete(TOPIC)


async def test_rabbitmq_leaves_nothing_that_was_not_there(rabbitmq, tmp_path):
    async with rabbitmq.channel() as channel:
        await channel.queue_declare("dry.there")
        arguments = (
            "--url", rabbitmq.url, "--queue", TOPIC, "--queue", "dry.there",
            "--bind", "dry.exchange:#",
        )  # fmt: skip
        async with dry_run(tmp_path, "rabbitmq", *arguments) as said:
            await eventually(lambda: "dry run" in said())
            while "would call one." not in said():
                with contextlib.suppress(DeliveryError, ChannelNotFoundEntity):
                    async with rabbitmq.channel() as publishing:
                        await publishing.basic_publish(
                            b"hello", exchange="dry.exchange", routing_key=TOPIC
                        )
                await asyncio.sleep(0.05)
        there = await channel.queue_delete("dry.there")
        assert there.message_count == 0
    for declare in (
        lambda channel: channel.queue_declare(TOPIC, passive=True),
        lambda channel: channel.exchange_declare("dry.exchange", passive=True),
    ):
        async with rabbitmq.channel() as channel:
            with pytest.raises(ChannelNotFoundEntity):
                await declare(channel)


@pytest.fixture
async def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as started:
        yield started


@pytest.fixture
async def client(server):
    client = await nats.connect(server.url)
    yield client
    await client.close()


def of_jetstream(server):
    return ("jetstream", "--url", server.url, "--stream", "DRY", "--durable", "dry")


async def test_jetstream_leaves_no_consumer(server, client, tmp_path):
    jetstream = client.jetstream()
    await jetstream.add_stream(name="DRY", subjects=[TOPIC])
    await jetstream.publish(TOPIC, b"hello")
    async with dry_run(tmp_path, *of_jetstream(server)) as said:
        await shown(said)
    assert await jetstream.consumers_info("DRY") == []


async def test_jetstream_takes_nothing_from_a_consumer(server, client, tmp_path):
    jetstream = client.jetstream()
    await jetstream.add_stream(name="DRY", subjects=[TOPIC])
    await jetstream.publish(TOPIC, b"before")
    await jetstream.publish(TOPIC, b"hello")
    consumer = await jetstream.pull_subscribe(TOPIC, durable="dry")
    [message] = await consumer.fetch(1)
    await message.ack_sync()
    async with dry_run(tmp_path, *of_jetstream(server)) as said:
        await shown(said)
        assert " 6 B" not in said()
    [found] = await jetstream.consumers_info("DRY")
    assert (found.delivered.stream_seq, found.num_ack_pending) == (1, 0)


async def test_jetstream_shows_a_work_queue_that_lets_one_consumer_read(server, client, tmp_path):
    jetstream = client.jetstream()
    await jetstream.add_stream(name="DRY", subjects=[TOPIC], retention="workqueue")
    await jetstream.publish(TOPIC, b"hello")
    await jetstream.pull_subscribe(TOPIC, durable="dry")
    async with dry_run(tmp_path, *of_jetstream(server)) as said:
        await shown(said)
    [found] = await jetstream.consumers_info("DRY")
    assert (found.name, found.ack_floor.stream_seq) == ("dry", 0)
    assert (await jetstream.stream_info("DRY")).state.messages == 1


async def test_nats_takes_nothing_from_the_group(server, client, tmp_path):
    taken = []

    async def take(message):
        taken.append(message.data)

    await client.subscribe(TOPIC, queue="openfaas_nats_worker_group", cb=take)
    sent = 0
    async with dry_run(tmp_path, "nats", "--url", server.url, "--subject", TOPIC) as said:
        while said().count("would call one.") < 20:
            await client.publish(TOPIC, b"hello")
            sent += 1
            await asyncio.sleep(0.02)
        await shown(said)
    await eventually(lambda: len(taken) == sent)
