"""Kafka to a function and committed, beside a bare consumer that reads and commits."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import trustme

from benchmarks.children.kafka import TOPIC
from benchmarks.figures import Figure, interleaved, ratios, spread, table, values
from benchmarks.plan import Plan, Section
from benchmarks.processes import ROOT, python, stub_gateway

sys.path.append(str(ROOT / "tests"))
from servers.kafka import KafkaServer

_OURS, _BARE, _CONTROL = "connector", "bare consumer", "bare consumer again (control)"
_ENGINE = "engine, events from memory"
_BODY = b"x" * 1024
_NOTE = (
    "Records of 1 KB in 4 partitions. The bare consumer (aiokafka) commits each batch (500), "
    "and calls nobody; the connector calls a function of the stub gateway for each record. "
    "Broker, gateway and connector share the two cores."
)


def run(plan: Plan) -> Section:
    """Measure."""
    section = Section()
    count = 10_000 if plan.quick else 50_000
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaServer(Path(folder), trustme.CA()) as server,
        stub_gateway(functions=5) as gateway,
    ):
        asyncio.run(_fill(server, count))
        load = ["--brokers", server.url, "--url", gateway.http, "--count", count]
        subjects = {
            _OURS: partial(python, "kafka", "connector", *load),
            _BARE: partial(python, "kafka", "bare", *load),
            _CONTROL: partial(python, "kafka", "bare", *load),
            _ENGINE: partial(python, "engine", "run", "--url", gateway.http, "--count", count),
        }
        rounds = interleaved(subjects, plan.rounds)
    control = ratios(rounds, _CONTROL, _BARE, "rate")
    section.figures += [
        Figure("events/s from Kafka to a function and committed, beside a bare consumer", "x",
               ratios(rounds, _OURS, _BARE, "rate"), control, "high"),
        Figure("events/s from Kafka to a function and committed, beside the engine's limit", "x",
               ratios(rounds, _OURS, _ENGINE, "rate"), control, "high", None, 0.6),
        Figure("CPU of the connector for an event from Kafka", "µs/event",
               values(rounds, _OURS, "cpu"), [], "low"),
    ]  # fmt: skip
    rows = [
        [name, spread(values(rounds, name, "rate")), spread(values(rounds, name, "cpu"))]
        for name in rounds
    ]
    section.add("Kafka", table(("subject", "events/s", "CPU µs/event"), rows), [_NOTE])
    return section


async def _fill(server: Any, count: int) -> None:
    await server.create(TOPIC)
    async with server.producer(linger_ms=20) as producer:
        for begin in range(0, count, 1000):
            sent = [
                await producer.send(TOPIC, _BODY, key=b"%d" % number)
                for number in range(begin, begin + 1000)
            ]
            await asyncio.gather(*sent)
