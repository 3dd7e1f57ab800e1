"""Kafka to a function and committed, beside a bare consumer that reads and commits."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import trustme

from benchmarks.brokers import measure
from benchmarks.children.broker import TOPIC
from benchmarks.children.kafka import fill_topic
from benchmarks.plan import Plan, Section
from benchmarks.processes import ROOT, stub_gateway

sys.path.append(str(ROOT / "tests"))
from servers.kafka import KafkaServer

_NOTE = (
    "Records of 1 KB in 4 partitions. The bare consumer (aiokafka) commits each batch (500), "
    "and calls nobody; the connector calls a function of the stub gateway for each record. "
    "Broker, gateway and connector share the two cores."
)


def run(plan: Plan) -> Section:
    """Measure."""
    count = 10_000 if plan.quick else 50_000
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaServer(Path(folder), trustme.CA()) as server,
        stub_gateway(functions=5) as gateway,
    ):
        asyncio.run(fill_topic(server, count))
        return measure(
            plan, "Kafka", address=server.url, gateway=gateway.http, count=count, note=_NOTE,
            arguments=["--brokers", server.url, "--topics", TOPIC, "--start", "latest"],
        )  # fmt: skip
