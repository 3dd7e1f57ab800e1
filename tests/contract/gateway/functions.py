"""The functions that the contract is tried with."""

from __future__ import annotations

import asyncio
import gzip
import json

from faas_connector.local.function import Answer, Call, FunctionAbortedError
from faas_connector.testing import LocalFunction

from .wire import Response


def echo(call: Call) -> Answer:
    """What the function saw, as JSON."""
    seen = {
        "method": call.method,
        "path": call.path,
        "query": call.query,
        "headers": call.headers,
        "body": call.body.decode("latin-1"),
    }
    return Answer(200, (("Content-Type", "application/json"),), json.dumps(seen).encode())


def seen(response: Response) -> dict[str, object]:
    return json.loads(response.body)


def seen_values(response: Response, name: str) -> list[str]:
    return [v for n, v in seen(response)["headers"] if n.lower() == name.lower()]


def aborts(_call: Call) -> Answer:
    raise FunctionAbortedError


def own_headers(_call: Call) -> Answer:
    return Answer(
        200,
        (
            ("X-Call-Id", "own"),
            ("X-Start-Time", "1"),
            ("x-served-by", "me"),
            ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("Server", "mine"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
        ),
    )


def status(call: Call) -> Answer:
    code = int(call.path.strip("/"))
    fields = {301: (("Location", "/elsewhere"),), 429: (("Retry-After", "7"),)}.get(code, ())
    return Answer(code, fields, b"text" if code not in {204, 304} else b"")


def zipped(_call: Call) -> Answer:
    return Answer(200, (("Content-Encoding", "gzip"),), gzip.compress(b"plain"))


def short(_call: Call) -> Answer:
    return Answer(200, (("Content-Length", "10"),), b"half")


async def hangs(_call: Call) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


FUNCTIONS = [
    LocalFunction(name="echo", answer=echo),
    LocalFunction(name="echo", namespace="staging-fn", answer="staging"),
    LocalFunction(name="a.b", namespace="c", answer="dotted"),
    LocalFunction(name="aborts", answer=aborts),
    LocalFunction(name="own", answer=own_headers),
    LocalFunction(name="status", answer=status),
    LocalFunction(name="zipped", answer=zipped),
    LocalFunction(name="short", answer=short),
    LocalFunction(name="hangs", answer=hangs),
    LocalFunction(name="big", answer=lambda _: b"x" * 5000),
    LocalFunction(name="asleep", replicas=0, answer="awake"),
]
