"""What the pages of Kafka and RabbitMQ show works with their own tools."""

import asyncio
import os
import re
import shlex
from pathlib import Path

from brokers.harness import replicas, slow_function
from servers.base import binary_of

PAGES = Path(__file__).parents[2] / "docs" / "sources"


def commands(page, changes):
    """Those of the first two blocks: what runs the connector, and what publishes."""
    text = (PAGES / page).read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    run, publish = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[:2]
    return shlex.split(run.splitlines()[-1])[2:], publish


async def in_bash(script, folder):
    """Run it, with what stands in a folder in place of installed programs."""
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def call_of(page, topic, changes, folder):
    arguments, publish = commands(page, changes)
    async with (
        slow_function(topic) as gateway,
        replicas(folder, gateway, arguments) as another,
    ):
        replica = await another()
        await in_bash(publish, folder)
        [call] = await gateway.wait_received(1, within=60)
        await replica.stop()
    return call


async def test_kafka(kafka, tmp_path):
    topic = f"page-{os.getpid()}"
    await kafka.create(topic)
    tool = tmp_path / "kafka-console-producer.sh"
    tool.write_text(f'#!/bin/sh\nexec {shlex.join(kafka.console_producer())} "$@"\n')
    tool.chmod(0o755)
    changes = {
        "kafka:9092": kafka.url,
        "payment.received": topic,
        "group payments": f"group {topic}",
    }
    call = await call_of("kafka.md", topic, changes, tmp_path)
    assert (call.body, call.header("X-Kafka-Key")) == (b'{"amount": 12}', "customer-7")


async def test_rabbitmq(rabbitmq, tmp_path):
    binary_of("amqp-tools", "amqp-publish")
    queue = f"page-{os.getpid()}"
    changes = {"amqp://rabbitmq:5672": rabbitmq.url, "orders": queue}
    call = await call_of("rabbitmq.md", queue, changes, tmp_path)
    assert (call.body, call.header("X-Rabbitmq-Routing-Key")) == (b'{"amount": 12}', queue)
