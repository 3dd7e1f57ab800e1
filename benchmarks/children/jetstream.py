"""Events of a JetStream stream to a function and acknowledged, by the connector or bare."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats

from benchmarks.children.broker import BODY, TOPIC, Broker, Send, run
from benchmarks.children.counting import Found, since
from faas_connector.sources.jetstream import JetStreamSource

_BATCH = 500


def _source(broker: str, name: str) -> JetStreamSource:
    return JetStreamSource(url=(broker,), stream=name, durable=name)


@asynccontextmanager
async def _connected(broker: str) -> AsyncGenerator[Any]:
    client = await nats.connect(broker)
    yield client
    await client.close()


async def _fill(broker: str, name: str, count: int) -> None:
    async with _connected(broker) as client:
        jetstream = client.jetstream()
        for each in await jetstream.streams_info():  # a subject belongs to one stream
            if TOPIC in each.config.subjects:
                await jetstream.delete_stream(each.config.name)
        await jetstream.add_stream(name=name, subjects=[TOPIC])
        for _ in range(count):
            await client.publish(TOPIC, BODY)
        while (await jetstream.stream_info(name)).state.messages < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _bare(broker: str, name: str, count: int) -> Found:
    read, began = 0, (0.0, 0.0)
    async with _connected(broker) as client:
        subscription = await client.jetstream().pull_subscribe(TOPIC, durable=name, stream=name)
        while read < count:
            events = await subscription.fetch(min(_BATCH, count - read))
            if not read:
                began = time.perf_counter(), time.process_time()
            for event in events:
                await event.ack()
            read += len(events)
        await client.flush()
        return since(began, count)


async def _publish(broker: str, _name: str, send: Callable[[Send], Awaitable[None]]) -> None:
    async with _connected(broker) as client:
        await send(lambda body: client.publish(TOPIC, body))
        await client.flush()


if __name__ == "__main__":
    run(Broker(_source, _bare, _fill, _publish))
