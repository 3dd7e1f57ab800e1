"""The local gateway: calls per second to functions of each kind, and the list of 1,000 functions.

    python -m benchmarks.bench_local_gateway

The gateway runs in a process of its own, its functions in theirs, the client in this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from benchmarks.figures import FIGURE_HEAD, Figure, table
from benchmarks.plan import Plan, Section
from faas_connector.gateway.transport import Origin, Transport, request_head
from faas_connector.local.stack import read_stack
from faas_connector.testing import LocalFunction, LocalGateway

CONNECTIONS = 32
LISTED = 1000
BODY = b"x" * 1024
STACK = """\
provider: {name: openfaas}
functions:
  handler: {lang: python3-http, handler: ./handler, image: bench}
  command: {fprocess: cat, image: bench}
"""
HANDLER = "def handle(event, context):\n    return event.body\n"
FLOORS = {"callable": 3000.0, "handler": 3000.0, "command": 500.0}


def serve(folder: str, ready: Connection) -> None:
    """The gateway's process: it ends when its parent says so."""
    uvloop.run(_serve(Path(folder), ready))


async def _serve(folder: Path, ready: Connection) -> None:
    callables = [LocalFunction(name="callable", answer=lambda call: call.body)]
    callables += [
        LocalFunction(name=f"listed-{number}", namespace="many", annotations={"topic": "a.b.c"})
        for number in range(LISTED)
    ]
    stack = read_stack(folder / "stack.yaml", {})
    async with LocalGateway(stack=stack, functions=callables, keep_received=0) as gateway:
        await gateway.started()
        ready.send(gateway.url)
        await asyncio.get_running_loop().run_in_executor(None, ready.recv)


@contextlib.contextmanager
def gateway_process() -> Iterator[str]:
    """Gives the URL of a gateway in another process."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "handler").mkdir()
        (Path(folder) / "handler" / "handler.py").write_text(HANDLER)
        (Path(folder) / "stack.yaml").write_text(STACK)
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=serve, args=(folder, theirs))
        process.start()
        try:
            yield ours.recv()
        finally:
            ours.send("end")
            process.join()


async def calls_per_second(url: str, name: str, seconds: float) -> float:
    """How many calls end in a second, with CONNECTIONS in flight."""
    origin = Origin.parse(url)
    fields = (("Host", origin.host_header), ("Content-Length", str(len(BODY))))
    head = request_head("POST", f"/function/{name}", fields)
    done = 0
    async with Transport(origin, max_connections=CONNECTIONS) as transport:
        end = time.perf_counter() + seconds

        async def caller() -> None:
            nonlocal done
            while time.perf_counter() < end:
                answer = await transport.request(head, BODY)
                assert (answer.status, answer.body) == (200, BODY)
                done += 1

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(caller())
        return done / (time.perf_counter() - begun)


async def list_milliseconds(url: str) -> float:
    """How long the list of LISTED functions takes."""
    origin = Origin.parse(url)
    head = request_head("GET", "/system/functions?namespace=many", (("Host", origin.host_header),))
    async with Transport(origin) as transport:
        begun = time.perf_counter()
        answer = await transport.request(head)
        took = time.perf_counter() - begun
    assert answer.body.count(b'"name":') == LISTED
    return took * 1e3


def run(plan: Plan) -> Section:
    """Measure, in the frame of `python -m benchmarks`."""
    found = Section()
    rates: dict[str, list[float]] = {name: [] for name in ("callable", "handler", "command")}
    lists: list[float] = []
    with gateway_process() as url:
        for _ in range(plan.rounds):
            for name, samples in rates.items():
                samples.append(uvloop.run(calls_per_second(url, name, plan.seconds)))
            lists.append(uvloop.run(list_milliseconds(url)))
    for name, samples in rates.items():
        title = f"local gateway, calls of a {name}"
        found.figures.append(Figure(title, "/s", samples, (), "high", must=FLOORS.get(name)))
    title = f"local gateway, list of {LISTED:,} functions"
    found.figures.append(Figure(title, "ms", lists, (), "low", must=50.0))
    return found


def main() -> int:
    """Run alone; 1 when a floor doesn't hold."""
    found = run(Plan(quick=False, rounds=5, seconds=2.0, go=None, has_wrk=False))
    print(table(FIGURE_HEAD, [figure.row() for figure in found.figures]))
    return 1 if any(figure.verdict == "FAILS" for figure in found.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
