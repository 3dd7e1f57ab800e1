"""Sends POSTs at a steady rate, whatever the answers, and measures how long each takes."""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from typing import cast

import uvloop

from benchmarks.children.load import measure

_ANSWER_END = b"\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One request at a time; its answer has no body."""

    answer: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 202 ") or not data.endswith(_ANSWER_END):
            self.answer.set_exception(ConnectionError(data[:200].decode("latin-1")))
        else:
            self.answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionError("it hung up"))


async def run(options: argparse.Namespace) -> None:
    """Measure."""
    loop = asyncio.get_running_loop()
    free = deque[_Connection]()
    head = (
        f"POST {options.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {options.body}\r\n\r\n"
    )
    request = head.encode() + b"x" * options.body

    async def call(_number: int) -> None:
        if free:
            connection = free.popleft()
        else:
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", options.port)
        connection.answer = loop.create_future()
        connection.transport.write(request)
        await connection.answer
        free.append(connection)

    await measure(call, options)
    for connection in free:
        connection.transport.abort()


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests/s")
    parser.add_argument("--warm-up", type=float, default=0.5, help="seconds")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--body", type=int, default=1024, help="bytes")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
