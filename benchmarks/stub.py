"""A gateway that answers as fast as Python can, and checks nothing: what clients call.

Prints its ports as JSON and ends with its standard input. It knows the two lists, and calls of
functions whose names say how long they take (`functions.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import ssl
import sys
from collections.abc import Iterator
from functools import partial
from typing import cast

import uvloop

from benchmarks.functions import NAMESPACE, listing

# With the fields that a real gateway adds to a function's answer.
_ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Date: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
    b"X-Call-Id: 6ba7b810-9dad-41d1-80b4-00c04fd430c8\r\n"
    b"X-Duration-Seconds: 0.000100\r\n"
    b"X-Start-Time: 1795435200000000000\r\n"
    b"Content-Length: 2\r\n\r\nok"
)
_CALL = b"/function/wait-"
_LENGTH = b"\r\nContent-Length: "


def _json(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    def __init__(self, lists: Iterator[bytes], waits: dict[bytes, float]) -> None:
        self._lists = lists
        self._waits = waits
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._begun:
            data = self._begun + data
        end = data.find(b"\r\n\r\n")
        at = data.find(_LENGTH, 0, end)
        length = 0 if at < 0 else int(data[at + len(_LENGTH) : data.find(b"\r", at + 2)])
        if end < 0 or len(data) < end + 4 + length:
            self._begun = data
            return
        self._begun = b""
        path = data[data.find(b" ") + 1 : data.find(b" HTTP")]
        wait = self._waits.get(path)
        if wait is None:
            wait = self._waits[path] = _seconds(path)
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._transport.write, _ANSWER)
        elif wait == 0:
            self._transport.write(_ANSWER)
        elif path.startswith(b"/system/namespaces"):
            self._transport.write(_json(json.dumps([NAMESPACE]).encode()))
        else:
            self._transport.write(next(self._lists))


def _seconds(path: bytes) -> float:
    """How long the function takes; negative when the path calls none."""
    return int(path[len(_CALL) :].split(b"-")[0]) / 1000 if path.startswith(_CALL) else -1.0


async def _serve(functions: int, certificate: str | None) -> None:
    loop = asyncio.get_running_loop()
    lists = itertools.cycle([_json(listing(functions, version)) for version in range(2)])
    make = partial(_Connection, lists, {})
    plain = await loop.create_server(make, "127.0.0.1", 0)
    ports = {"http": plain.sockets[0].getsockname()[1]}
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        secure = await loop.create_server(make, "127.0.0.1", 0, ssl=context)
        ports["https"] = secure.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=50)
    parser.add_argument("--certificate", help="PEM file with a key and its certificate, for TLS")
    options = parser.parse_args()
    uvloop.run(_serve(options.functions, options.certificate))


if __name__ == "__main__":
    main()
