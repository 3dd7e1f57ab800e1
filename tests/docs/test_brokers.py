"""What the pages of brokers show works, as it stands there."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

from brokers.harness import replicas, slow_function
from servers.base import binary_of

PAGES = Path(__file__).parents[2] / "docs" / "sources"
NATS = f"""#!{sys.executable}
# As much of the command line of NATS as the pages use: no package of Debian's has it.
import asyncio, os, sys, nats

async def main():
    client = await nats.connect(os.environ["NATS_URL"])
    match sys.argv[1:]:
        case ["pub", subject, body]:
            await client.publish(subject, body.encode())
        case ["stream", "add", name, "--subjects", subjects, "--defaults"]:
            await client.jetstream().add_stream(name=name, subjects=[subjects])
        case other:
            sys.exit(f"unknown: {{other}}")
    await client.drain()

asyncio.run(main())
"""


def commands(page, changes):
    """Those of the first two blocks: what goes before, what runs the connector, what publishes."""
    text = (PAGES / page).read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    run, publish = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[:2]
    *before, run = run.splitlines()
    first = [line for line in before if line.startswith("nats ")]
    return "\n".join(first), shlex.split(run)[2:], publish


async def in_bash(script, folder, **environ):
    """Run it, with what stands in a folder in place of installed programs."""
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **environ}
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


def put_tool(folder, name, text):
    tool = folder / name
    tool.write_text(text)
    tool.chmod(0o755)


async def call_of(page, topic, changes, folder, **environ):
    before, arguments, publish = commands(page, changes)
    await in_bash(before, folder, **environ)
    async with (
        slow_function(topic) as gateway,
        replicas(folder, gateway, arguments) as another,
    ):
        replica = await another()
        await in_bash(publish, folder, **environ)
        [call] = await gateway.wait_received(1, within=60)
        await replica.stop()
    return call


async def test_kafka(kafka, tmp_path):
    topic = f"page-{os.getpid()}"
    await kafka.create(topic)
    producer = f'#!/bin/sh\nexec {shlex.join(kafka.console_producer())} "$@"\n'
    put_tool(tmp_path, "kafka-console-producer.sh", producer)
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


async def test_nats(nats_server, tmp_path):
    put_tool(tmp_path, "nats", NATS)
    changes = {"nats://127.0.0.1:4222": nats_server.url}
    call = await call_of("nats.md", "payment.received", changes, tmp_path, NATS_URL=nats_server.url)
    assert (call.body, call.header("X-Nats-Subject")) == (b'{"amount": 12}', "payment.received")


async def test_jetstream(nats_server, tmp_path):
    put_tool(tmp_path, "nats", NATS)
    changes = {"nats://127.0.0.1:4222": nats_server.url}
    call = await call_of("jetstream.md", "orders.new", changes, tmp_path, NATS_URL=nats_server.url)
    assert (call.body, call.header("X-Nats-Stream")) == (b'{"id": 12}', "ORDERS")
