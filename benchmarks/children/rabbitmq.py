"""Messages of RabbitMQ to a function and acknowledged, by the connector or by a bare consumer."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import uuid
from typing import Any

import aiormq
import uvloop

from benchmarks.children.counting import Counting, Found, since
from faas_connector import Controller, ControllerConfig
from faas_connector.sources.rabbitmq import RabbitMqSource
from faas_connector.stores.memory import MemoryStore

_BODY = b"x" * 1024
_PREFETCH = 1000
_TOPIC = "wait.0"


async def _connector(broker: str, url: str, queue: str, count: int) -> Found:
    source = RabbitMqSource(
        url=broker, queues=(queue,), bindings=(f"{queue}:#",), topic_from="routing-key"
    )
    async with Controller(ControllerConfig(gateway_url=url)) as controller:
        counting = Counting(source, controller, count)
        await controller.run(counting, store=MemoryStore())
    return since(counting.began, count)


async def _bare(broker: str, _url: str, queue: str, count: int) -> Found:
    connection = await aiormq.connect(broker)
    channel = await connection.channel(publisher_confirms=False)
    await channel.basic_qos(prefetch_count=_PREFETCH)
    read, began, done = 0, (0.0, 0.0), asyncio.Event()

    async def take(message: Any) -> None:
        nonlocal read, began
        if not read:
            began = time.perf_counter(), time.process_time()
        read += 1
        await message.channel.basic_ack(message.delivery_tag)
        if read >= count:
            done.set()

    await channel.basic_consume(queue, take)
    await done.wait()
    found = since(began, count)
    await connection.close()
    return found


async def _fill(broker: str, queue: str, count: int) -> None:
    connection = await aiormq.connect(broker)
    channel = await connection.channel(publisher_confirms=False)
    await channel.queue_declare(queue, durable=True)
    await channel.exchange_declare(queue, exchange_type="topic", durable=True)
    await channel.queue_bind(queue, queue, "#")
    for _ in range(count):
        await channel.basic_publish(_BODY, exchange=queue, routing_key=_TOPIC)
    await channel.queue_declare(queue, passive=True)  # the broker has them all by then
    await connection.close()


async def _measured(options: argparse.Namespace) -> Found:
    queue = str(uuid.uuid4())
    await _fill(options.broker, queue, options.count)
    measure = _connector if options.subject == "connector" else _bare
    return await measure(options.broker, options.url, queue, options.count)


def main() -> None:
    """Measure one of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=["connector", "bare"])
    parser.add_argument("--broker", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    print(json.dumps(uvloop.run(_measured(parser.parse_args()))))


if __name__ == "__main__":
    main()
