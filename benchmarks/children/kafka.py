"""Events of Kafka to a function and committed, by the connector or by a bare consumer."""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiokafka
import uvloop

from faas_connector import Controller, ControllerConfig
from faas_connector.source import Delivery, Session
from faas_connector.sources.kafka import KafkaSource
from faas_connector.stores.memory import MemoryStore

TOPIC = "wait.0"
_Found = dict[str, float]


class _Counting:
    """A source, seen through: says when its first event came, and stops the run after the last."""

    def __init__(self, source: KafkaSource, controller: Controller, count: int) -> None:
        self.name, self.traits = source.name, source.traits
        self.began = (0.0, 0.0)
        self._source, self._controller, self._count = source, controller, count

    @asynccontextmanager
    async def open(self, session: Session, /) -> AsyncGenerator[AsyncIterator[Delivery]]:
        async with self._source.open(session) as deliveries:
            yield self._counted(deliveries)

    async def _counted(self, deliveries: AsyncIterator[Delivery]) -> AsyncIterator[Delivery]:
        handed = 0
        async for delivery in deliveries:
            if not handed:
                self.began = time.perf_counter(), time.process_time()
            handed += 1
            yield delivery
            if handed == self._count:
                self._controller.stop()


async def _connector(brokers: str, url: str, count: int) -> _Found:
    source = KafkaSource(brokers=(brokers,), topics=(TOPIC,), group=str(uuid.uuid4()))
    async with Controller(ControllerConfig(gateway_url=url)) as controller:
        counting = _Counting(source, controller, count)
        await controller.run(counting, store=MemoryStore())
    return _since(counting.began, count)


async def _bare(brokers: str, _url: str, count: int) -> _Found:
    consumer: Any = aiokafka.AIOKafkaConsumer(
        TOPIC, bootstrap_servers=brokers, group_id=str(uuid.uuid4()), enable_auto_commit=False,
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
    found = _since(began, count)
    await consumer.stop()
    return found


def _since(began: tuple[float, float], count: int) -> _Found:
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    return {"rate": count / wall, "cpu": cpu / count * 1e6}


def main() -> None:
    """Measure one of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=["connector", "bare"])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    measure = _connector if options.subject == "connector" else _bare
    print(json.dumps(uvloop.run(measure(options.brokers, options.url, options.count))))


if __name__ == "__main__":
    main()
