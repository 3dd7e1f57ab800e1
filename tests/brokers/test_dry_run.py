"""`run --dry-run` of each broker's source: it shows the calls, and the broker keeps what it has."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager

import nats
import pytest
from aiormq.abc import Basic

from faas_connector.testing import LocalFunction, LocalGateway
from servers.nats import NatsServer

from .harness import COMMAND, eventually

TOPIC = "dry.run"


@asynccontextmanager
async def dry_run(folder, *arguments):
    """While it runs; gives what it has said so far."""
    function = LocalFunction(name="one", annotations={"topic": TOPIC})
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


async def test_kafka(kafka, tmp_path):
    await kafka.create(TOPIC, partitions=1)
    async with kafka.producer() as producer:
        await producer.send_and_wait(TOPIC, b"hello")
    arguments = ("--brokers", kafka.url, "--topics", TOPIC, "--group", "dry")
    async with dry_run(tmp_path, "kafka", *arguments) as said:
        await shown(said)
    assert not await kafka.committed("dry")


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


@pytest.fixture
async def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as started:
        yield started


async def test_jetstream(server, tmp_path):
    client = await nats.connect(server.url)
    jetstream = client.jetstream()
    await jetstream.add_stream(name="DRY", subjects=[TOPIC])
    await jetstream.publish(TOPIC, b"hello")
    arguments = ("--url", server.url, "--stream", "DRY", "--durable", "dry")
    async with dry_run(tmp_path, "jetstream", *arguments) as said:
        await shown(said)
    found = await jetstream.consumer_info("DRY", "dry")
    assert found.ack_floor.stream_seq == 0
    await client.close()


async def test_nats(server, tmp_path):
    client = await nats.connect(server.url)
    async with dry_run(tmp_path, "nats", "--url", server.url, "--subject", TOPIC) as said:
        while "would call one." not in said():
            await client.publish(TOPIC, b"hello")
            await asyncio.sleep(0.05)
        await shown(said)
    await client.close()
