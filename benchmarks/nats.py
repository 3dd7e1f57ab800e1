"""NATS and JetStream to a function, beside their bare clients, and beside the Go way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import nats

from benchmarks.brokers import measure
from benchmarks.children.broker import TOPIC
from benchmarks.figures import Figure, interleaved, ratios, spread, table, values
from benchmarks.plan import Plan, Section
from benchmarks.processes import ROOT, Gateway, Measured, go_program, python, stub_gateway

sys.path.append(str(ROOT / "tests"))
from servers.nats import NatsServer

_OURS, _CONTROL = "connector", "connector again (control)"
_GO, _GOROUTINES = "Go SDK, one call after another", "Go SDK, a goroutine for each event"
_SHARED = "Server, gateway and connector share the two cores."
_CORE_NOTE = (
    "Messages of 1 KB to one subject, published by another process as fast as it can. The bare "
    f"client (nats-py) only takes them; the connector calls a function for each. {_SHARED}"
)
_STREAM_NOTE = (
    "Messages of 1 KB in a stream in a file. The bare client (nats-py) fetches 500 at a time, "
    "acknowledges each, and calls nobody; the connector calls a function of the stub gateway for "
    f"each. {_SHARED}"
)


@contextmanager
def _servers() -> Iterator[tuple[str, Gateway]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        NatsServer(Path(folder)) as server,
        stub_gateway(functions=5) as gateway,
    ):
        yield server.url, gateway


def core(plan: Plan) -> Section:
    """NATS itself, which keeps nothing."""
    count = 10_000 if plan.quick else 50_000
    with _servers() as (url, gateway):
        section = measure(
            plan, "NATS", child="core_nats", address=url, gateway=gateway.http, count=count,
            note=_CORE_NOTE, arguments=["--url", url, "--subject", TOPIC],
        )  # fmt: skip
        if plan.go:
            _add_go(section, plan, url, gateway.http, count)
    return section


def _add_go(section: Section, plan: Plan, url: str, gateway: str, count: int) -> None:
    load = ["--broker", url, "--url", gateway, "--count", count]
    ours = partial(python, "core_nats", "connector", *load)
    subjects = {
        _OURS: ours,
        _CONTROL: ours,
        _GO: partial(_go, plan, *load),
        _GOROUTINES: partial(_go, plan, *load, "--goroutines"),
    }
    rounds = interleaved(subjects, plan.rounds)
    control = ratios(rounds, _CONTROL, _OURS, "rate")
    section.figures += [
        Figure(f"events/s from NATS to a function, beside the {peer}", "x Go",
               ratios(rounds, _OURS, peer, "rate"), control, "high")
        for peer in (_GO, _GOROUTINES)
    ]  # fmt: skip
    rows = [
        [name, spread(values(rounds, name, "rate")), spread(values(rounds, name, "cpu"))]
        for name in rounds
    ]
    section.add("NATS, beside Go", table(("subject", "events/s", "CPU µs/event"), rows))


def _go(plan: Plan, *load: object) -> Measured:
    """What the Go program prints, while another process publishes."""
    assert plan.go is not None
    _, url, _, _, _, count, *_ = map(str, load)
    command = [sys.executable, "-m", "benchmarks.children.core_nats", "flood"]
    with subprocess.Popen([*command, "--broker", url, "--count", count], cwd=ROOT):
        return go_program(plan.go.with_name("nats"), *load, "--topic", TOPIC)


def stream(plan: Plan) -> Section:
    """A stream of JetStream, pulled and acknowledged one by one."""
    count = 5_000 if plan.quick else 20_000
    with _servers() as (url, gateway):
        asyncio.run(_add_idle_stream(url))
        return measure(
            plan, "JetStream", address=url, gateway=gateway.http, count=count, note=_STREAM_NOTE,
            arguments=["--url", url, "--stream", "IDLE"],
        )  # fmt: skip


async def _add_idle_stream(url: str) -> None:
    client = await nats.connect(url)
    await client.jetstream().add_stream(name="IDLE", subjects=["idle"])
    await client.close()
