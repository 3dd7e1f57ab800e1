"""A durable webhook, end to end, beside bare servers that only answer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks.children.webhook import TOPIC
from benchmarks.figures import Figure, interleaved, ratios, spread, table, values
from benchmarks.plan import Plan, Section
from benchmarks.processes import ROOT, ChildError, Measured, python, stub_gateway, wrk

_WEBHOOK, _CONTROL = "durable webhook", "durable webhook again (control)"
_STARLETTE, _BARE = "Starlette on uvicorn", "our own server"
_CLIENTS, _BODY = 64, 1024
_PATIENCE = 10.0
_NOTE = (
    "64 clients, bodies of 1 KB. A webhook's request is on disk before its 202, and counts when a "
    "function of the stub gateway has it. wrk, the server, the gateway and the store's thread "
    "share the two cores."
)


def run(plan: Plan) -> Section:
    """Measure."""
    section = Section()
    if not plan.has_wrk:
        section.figures.append(_ratio(_STARLETTE, [], []))
        return section
    seconds = max(2.0, 2 * plan.seconds)
    with stub_gateway(functions=5) as gateway:
        measured = {
            _WEBHOOK: partial(_most, "webhook", gateway.http, seconds),
            _STARLETTE: partial(_most, "starlette", "", seconds),
            _BARE: partial(_most, "bare", "", seconds),
            _CONTROL: partial(_most, "webhook", gateway.http, seconds),
        }
        rounds = interleaved(measured, plan.rounds)
        most = sorted(values(rounds, _WEBHOOK, "rate"))[plan.rounds // 2]
        half = [_steady(gateway.http, most / 2, seconds) for _ in range(plan.rounds)]
    control = ratios(rounds, _CONTROL, _WEBHOOK, "rate")
    section.figures += [
        _ratio(_STARLETTE, ratios(rounds, _WEBHOOK, _STARLETTE, "rate"), control),
        _ratio(_BARE, ratios(rounds, _WEBHOOK, _BARE, "rate"), control),
        Figure("events per fsync of a durable webhook", "events",
               values(rounds, _WEBHOOK, "per_fsync"), [], "high", None, 20),
        Figure("p99 of its 202, at half of that load", "ms",
               [each["p99"] * 1000 for each in half], [], "low", None, 50),
    ]  # fmt: skip
    rows = [[name, spread(values(rounds, name, "rate"))] for name in rounds]
    section.add(
        "Durable webhook",
        table(("subject", "requests/s"), rows),
        [_NOTE],
    )
    return section


def _ratio(peer: str, samples: list[float], control: list[float]) -> Figure:
    """Starlette is what others would take; our own server does next to nothing for a request."""
    must, aim = (0.4, None) if peer == _STARLETTE else (None, 0.4)
    name = f"events/s of a durable webhook, end to end, beside {peer} that only answers"
    return Figure(name, "x", samples, control, "high", must, aim)


def _most(subject: str, url: str, seconds: float) -> Measured:
    """As much as it takes."""
    with _served(subject, url) as (port, found):
        rate = wrk(f"http://127.0.0.1:{port}/{TOPIC}", _CLIENTS, seconds, _BODY)["rate"]
    if subject != "webhook":
        return {"rate": rate}
    if not found["settled"]:
        raise ChildError("the webhook left events unsettled")
    accepted = rate * seconds
    return {
        "rate": (accepted - found["left"]) / seconds,
        "per_fsync": accepted / found["commits"],
    }


def _steady(url: str, rate: float, seconds: float) -> Measured:
    """How long a request takes at this rate."""
    with _served("webhook", url) as (port, _):
        return python(
            "posts", "--port", port, "--path", f"/{TOPIC}", "--rate", rate, "--seconds", seconds
        )


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def _served(subject: str, url: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Its port; what it counted is there when it is left."""
    found: dict[str, Any] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.children.webhook", subject, "--url", url],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = json.loads(process.stdout.readline())["port"]
            _wait_until_it_listens(port)
            yield port, found
            process.stdin.close()
            found |= json.loads(process.stdout.read())
        finally:
            process.terminate()
