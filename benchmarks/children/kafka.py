"""Events of Kafka to a function and committed, by the connector or by a bare consumer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiokafka

from benchmarks.children.broker import BODY, TOPIC, Broker, Send, run
from benchmarks.children.counting import Found, since
from faas_connector.sources.kafka import KafkaSource


def _source(brokers: str, name: str) -> KafkaSource:
    return KafkaSource(brokers=(brokers,), topics=(TOPIC,), group=name)


async def _fill(brokers: str, name: str, count: int) -> None:
    """All are there, and each group reads them anew; one that is to read none begins at the end."""
    if count:
        return
    consumer: Any = aiokafka.AIOKafkaConsumer(bootstrap_servers=brokers, group_id=name)
    await consumer.start()
    every = [aiokafka.TopicPartition(TOPIC, each) for each in range(4)]
    consumer.assign(every)
    await consumer.commit(await consumer.end_offsets(every))
    await consumer.stop()


async def _bare(brokers: str, name: str, count: int) -> Found:
    consumer: Any = aiokafka.AIOKafkaConsumer(
        TOPIC, bootstrap_servers=brokers, group_id=name, enable_auto_commit=False,
        auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    read, began = 0, (0.0, 0.0)
    while read < count:
        batches = await consumer.getmany(timeout_ms=1000, max_records=500)
        if batches and not read:
            began = time.perf_counter(), time.process_time()
        read += sum(map(len, batches.values()))
        await consumer.commit()
    found = since(began, count)
    await consumer.stop()
    return found


async def _publish(brokers: str, _name: str, send: Callable[[Send], Awaitable[None]]) -> None:
    producer: Any = aiokafka.AIOKafkaProducer(bootstrap_servers=brokers)
    await producer.start()
    await send(lambda body: producer.send(TOPIC, body))
    await producer.stop()


async def fill_topic(server: Any, count: int) -> None:
    """Make the topic, with so many events."""
    await server.create(TOPIC)
    async with server.producer(linger_ms=20) as producer:
        for begin in range(0, count, 1000):
            sent = [
                await producer.send(TOPIC, BODY, key=b"%d" % number)
                for number in range(begin, begin + 1000)
            ]
            await asyncio.gather(*sent)


if __name__ == "__main__":
    run(Broker(_source, _bare, _fill, _publish))
