"""Messages of RabbitMQ to a function and acknowledged, by the connector or by a bare consumer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiormq

from benchmarks.children.broker import BODY, TOPIC, Broker, Send, run
from benchmarks.children.counting import Found, since
from faas_connector.sources.rabbitmq import RabbitMqSource
from faas_connector.sources.rabbitmq.settings import TopicFrom

_PREFETCH = 1000


def _source(broker: str, queue: str) -> RabbitMqSource:
    return RabbitMqSource(
        url=broker, queues=(queue,), bindings=(f"{queue}:#",), topic_from=TopicFrom.ROUTING_KEY
    )


@asynccontextmanager
async def _channel(broker: str) -> AsyncGenerator[Any]:
    connection = await aiormq.connect(broker)
    yield await connection.channel(publisher_confirms=False)
    await connection.close()


async def _fill(broker: str, queue: str, count: int) -> None:
    async with _channel(broker) as channel:
        await channel.queue_declare(queue, durable=True)
        await channel.exchange_declare(queue, exchange_type="topic", durable=True)
        await channel.queue_bind(queue, queue, "#")
        for _ in range(count):
            await channel.basic_publish(BODY, exchange=queue, routing_key=TOPIC)
        await channel.queue_declare(queue, passive=True)  # the broker has them all by then


async def _bare(broker: str, queue: str, count: int) -> Found:
    read, began, done = 0, (0.0, 0.0), asyncio.Event()

    async def take(message: Any) -> None:
        nonlocal read, began
        if not read:
            began = time.perf_counter(), time.process_time()
        read += 1
        await message.channel.basic_ack(message.delivery_tag)
        if read >= count:
            done.set()

    async with _channel(broker) as channel:
        await channel.basic_qos(prefetch_count=_PREFETCH)
        await channel.basic_consume(queue, take)
        await done.wait()
        return since(began, count)


async def _publish(broker: str, queue: str, send: Callable[[Send], Awaitable[None]]) -> None:
    async with _channel(broker) as channel:
        await send(lambda body: channel.basic_publish(body, exchange=queue, routing_key=TOPIC))
        await channel.queue_declare(queue, passive=True)


if __name__ == "__main__":
    run(Broker(_source, _bare, _fill, _publish))
