"""What the tests of commands and of Python functions share."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from faas_connector.local.function import Answer, Call


def call(body: bytes | str = b"", method: str = "POST", target: str = "/", **headers: str) -> Call:
    path, _, query = target.partition("?")
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Call(method, path, query, fields, body.encode() if isinstance(body, str) else body)


def header(answer: Answer, name: str) -> str | None:
    return next((v for n, v in answer.headers if n.lower() == name.lower()), None)


async def eventually(condition: Callable[[], object], within: float = 60.0) -> None:
    """Wait for what another process does and nothing tells us about."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}
