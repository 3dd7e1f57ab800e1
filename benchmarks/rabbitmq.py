"""RabbitMQ to a function and acknowledged, beside a bare consumer that acknowledges."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import trustme

from benchmarks.figures import Figure, interleaved, ratios, spread, table, values
from benchmarks.plan import Plan, Section
from benchmarks.processes import ROOT, python, stub_gateway

sys.path.append(str(ROOT / "tests"))
from servers.rabbitmq import RabbitMqServer

_OURS, _BARE, _CONTROL = "connector", "bare consumer", "bare consumer again (control)"
_ENGINE = "engine, events from memory"
_NOTE = (
    "Messages of 1 KB in a classic queue, prefetch 1000. The bare consumer (aiormq) acknowledges "
    "each, and calls nobody; the connector calls a function of the stub gateway for each. "
    "Broker, gateway and connector share the two cores."
)


def run(plan: Plan) -> Section:
    """Measure."""
    section = Section()
    count = 5_000 if plan.quick else 20_000
    with (
        tempfile.TemporaryDirectory() as folder,
        RabbitMqServer(Path(folder), trustme.CA()) as server,
        stub_gateway(functions=5) as gateway,
    ):
        load = ["--broker", server.url, "--url", gateway.http, "--count", count]
        subjects = {
            _OURS: partial(python, "rabbitmq", "connector", *load),
            _BARE: partial(python, "rabbitmq", "bare", *load),
            _CONTROL: partial(python, "rabbitmq", "bare", *load),
            _ENGINE: partial(python, "engine", "run", "--url", gateway.http, "--count", count),
        }
        rounds = interleaved(subjects, plan.rounds)
    control = ratios(rounds, _CONTROL, _BARE, "rate")
    section.figures += [
        Figure("events/s from RabbitMQ to a function and acknowledged, beside a bare consumer",
               "x", ratios(rounds, _OURS, _BARE, "rate"), control, "high", None, 0.6),
        Figure("events/s from RabbitMQ to a function and acknowledged, beside the engine's limit",
               "x", ratios(rounds, _OURS, _ENGINE, "rate"), control, "high"),
        Figure("CPU of the connector for an event from RabbitMQ", "µs/event",
               values(rounds, _OURS, "cpu"), [], "low"),
    ]  # fmt: skip
    rows = [
        [name, spread(values(rounds, name, "rate")), spread(values(rounds, name, "cpu"))]
        for name in rounds
    ]
    section.add("RabbitMQ", table(("subject", "events/s", "CPU µs/event"), rows), [_NOTE])
    return section
