"""What children that read a broker have in common: how the connector is measured with it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import uvloop

from benchmarks.children.counting import Counting, Found, since
from faas_connector import Controller, ControllerConfig, InvokerResponse
from faas_connector.loops import event_runner
from faas_connector.source import Source
from faas_connector.stores.memory import MemoryStore

TOPIC = "wait.0"
BODY = b"x" * 1024
_STAMP = 20
_BATCHES = 100.0
"""A second, in which a publisher sends a part of its events each time."""

Send = Callable[[bytes], Awaitable[object]]


@dataclass(frozen=True)
class Broker:
    """One kind of broker, with its bare client."""

    source: Callable[[str, str], Source]
    """The address, and a name of this run -> the source; opened now, it has these events."""
    bare: Callable[[str, str, int], Awaitable[Found]]
    """The address, the name and a count -> what consuming and acknowledging them costs."""
    fill: Callable[[str, str, int], Awaitable[None]]
    """The address, the name and a count: has so many events there."""
    publish: Callable[[str, str, Callable[[Send], Awaitable[None]]], Awaitable[None]]
    """The address, the name, and what sends events through the bare client."""


def run(broker: Broker) -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=["connector", "bare", "latency", "publish"])
    parser.add_argument("--broker", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--name", default=f"run-{time.time_ns()}")
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    if options.subject in {"connector", "latency"}:
        with event_runner() as runner:  # as `faas-connector run` has it
            found = runner.run(_measured(broker, options))
    else:
        found = uvloop.run(_measured(broker, options))
    print(json.dumps(found))


async def _measured(broker: Broker, options: argparse.Namespace) -> Found:
    address, name, count = options.broker, options.name, options.count
    match options.subject:
        case "publish":
            await broker.publish(address, name, lambda send: _steadily(send, options))
            return {}
        case "latency":
            await broker.fill(address, name, 0)
            return await _latency(broker, options)
        case "bare":
            await broker.fill(address, name, count)
            return await broker.bare(address, name, count)
        case _:
            await broker.fill(address, name, count)
            async with Controller(ControllerConfig(gateway_url=options.url)) as controller:
                counting = Counting(broker.source(address, name), controller, count)
                await controller.run(counting, store=MemoryStore())
            return since(counting.began, count)


async def _steadily(send: Send, options: argparse.Namespace) -> None:
    """Send at a rate, each event with the time at which it was sent."""
    loop, sent = asyncio.get_running_loop(), 0
    begun = loop.time()
    while sent < options.count:
        while sent < min(options.count, (loop.time() - begun) * options.rate):
            await send(f"{time.time():.6f}".encode().ljust(_STAMP) + BODY[_STAMP:])
            sent += 1
        await asyncio.sleep(1 / _BATCHES)


async def _latency(broker: Broker, options: argparse.Namespace) -> Found:
    """Seconds from publishing until a function has answered; the first tenth warms up."""
    took: list[float] = []
    publishers: list[asyncio.Task[None]] = []

    async def answered(response: InvokerResponse) -> None:
        took.append(time.time() - float(response.event.data[:_STAMP]))

    def opened() -> None:
        if not publishers:
            publishers.append(asyncio.create_task(_publisher(options), name="publish"))

    async with Controller(ControllerConfig(gateway_url=options.url)) as controller:
        controller.subscribe(answered, overflow="wait")
        source = broker.source(options.broker, options.name)
        counting = Counting(source, controller, options.count, opened)
        await controller.run(counting, store=MemoryStore())
        await asyncio.gather(*publishers)
    steady = quantiles(took[len(took) // 10 :], n=100)
    return {"p50": steady[49], "p99": steady[98]}


async def _publisher(options: argparse.Namespace) -> None:
    given = {each: str(getattr(options, each)) for each in ("broker", "url", "count", "name")}
    flags = [part for name, value in given.items() for part in (f"--{name}", value)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, sys.argv[0], "publish", *flags, "--rate", str(options.rate),
        cwd=Path.cwd(), stdout=asyncio.subprocess.DEVNULL, env={"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    if await process.wait():
        raise RuntimeError("the publisher failed")
