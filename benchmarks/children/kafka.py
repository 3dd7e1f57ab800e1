"""Events of Kafka to a function and committed, by the connector or by a bare consumer."""

from __future__ import annotations

import argparse
import json
import time
import uuid
from typing import Any

import aiokafka
import uvloop

from benchmarks.children.counting import Counting, Found, since
from faas_connector import Controller, ControllerConfig
from faas_connector.sources.kafka import KafkaSource
from faas_connector.stores.memory import MemoryStore

TOPIC = "wait.0"


async def _connector(brokers: str, url: str, count: int) -> Found:
    source = KafkaSource(brokers=(brokers,), topics=(TOPIC,), group=str(uuid.uuid4()))
    async with Controller(ControllerConfig(gateway_url=url)) as controller:
        counting = Counting(source, controller, count)
        await controller.run(counting, store=MemoryStore())
    return since(counting.began, count)


async def _bare(brokers: str, _url: str, count: int) -> Found:
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
    found = since(began, count)
    await consumer.stop()
    return found


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
