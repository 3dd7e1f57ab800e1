"""RabbitMQ to a function and acknowledged, beside a bare consumer that acknowledges."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import trustme

from benchmarks.brokers import measure
from benchmarks.plan import Plan, Section
from benchmarks.processes import ROOT, stub_gateway

sys.path.append(str(ROOT / "tests"))
from servers.rabbitmq import RabbitMqServer

_NOTE = (
    "Messages of 1 KB in a classic queue, prefetch 1000. The bare consumer (aiormq) acknowledges "
    "each, and calls nobody; the connector calls a function of the stub gateway for each. "
    "Broker, gateway and connector share the two cores."
)


def run(plan: Plan) -> Section:
    """Measure."""
    with (
        tempfile.TemporaryDirectory() as folder,
        RabbitMqServer(Path(folder), trustme.CA()) as server,
        stub_gateway(functions=5) as gateway,
    ):
        return measure(
            plan, "RabbitMQ", address=server.url, gateway=gateway.http, note=_NOTE,
            count=5_000 if plan.quick else 20_000,
            arguments=["--url", server.url, "--queue", "idle"],
        )  # fmt: skip
