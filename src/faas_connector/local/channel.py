"""The gateway's ends of what connects it with a worker process: calls, life and log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from faas_connector.local.function import Answer, FunctionAbortedError, Headers, Log
from faas_connector.local.worker import wire

_LONGEST_LINE = 64 * 1024  # of a log; a longer one is cut into several


class Channel(asyncio.Protocol):
    """Calls on their way, and their answers."""

    def __init__(self, on_loss: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_loss = on_loss
        self.news: asyncio.Future[str | None] = self._loop.create_future()
        """Empty when the worker is ready, why not, or None when it ended."""
        self.lost = False
        self.idle = asyncio.Event()
        self.idle.set()
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = bytearray()
        self._calls: dict[int, asyncio.Future[Answer]] = {}
        self._last_id = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            done = self._answers(self._buffer)
            del self._buffer[:done]
        elif (done := self._answers(data)) < len(data):
            self._buffer += data[done:]

    def _answers(self, data: bytes | bytearray) -> int:
        """Hand out the complete answers; where they end."""
        start, size = 0, len(data)
        while size - start >= wire.HEAD.size:
            length, call_id, status, head = wire.HEAD.unpack_from(data, start)
            end = start + wire.LENGTH.size + length
            body = start + wire.HEAD.size + head
            if body > end or length > wire.MAX_ANSWER + (1 << 24):
                self.close()  # not written by the worker: some code of the function was here
                return size
            if end > size:
                break
            call = self._calls.get(call_id)
            if call is not None and not call.done():
                fields = wire.unpack_fields(bytes(data[start + wire.HEAD.size : body]))
                call.set_result(Answer(status, fields, bytes(data[body:end])))
            elif call_id == wire.CONTROL and not self.news.done():
                self.news.set_result(bytes(data[body:end]).decode("utf-8", "replace"))
            start = end
        return start

    async def call(self, *parts: str | bytes | Headers) -> Answer:
        if self.lost or self._transport is None:
            raise FunctionAbortedError
        self._last_id = call_id = self._last_id % 0xFFFF_FFFF + 1
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._calls[call_id] = answer
        self.idle.clear()
        self._transport.write(wire.pack_request(call_id, *parts))
        try:
            return await answer
        except asyncio.CancelledError:
            if not self.lost:
                self._transport.write(wire.pack_request(call_id))
            raise
        finally:
            del self._calls[call_id]
            if not self._calls:
                self.idle.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._lose()
        self._on_loss()  # some code may have closed it in a process that lives on

    def close(self) -> None:
        self._lose()
        if self._transport:
            self._transport.abort()

    def _lose(self) -> None:
        self.lost = True
        if not self.news.done():
            self.news.set_result(None)
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(FunctionAbortedError())


class Life(asyncio.Protocol):
    """Open as long as the worker's guard lives; its last words are the exit status."""

    def __init__(self, ended: Callable[[bytes], None]) -> None:
        self._ended = ended
        self._words = b""
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._words += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.closed.is_set():
            self.closed.set()
            self._ended(self._words)

    def write_eof(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        if self._transport:
            self._transport.abort()


class LogReader(asyncio.Protocol):
    """Cuts what a worker prints into lines."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rest = b""
        self._transport: asyncio.BaseTransport | None = None
        self.closed = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._put(line)
        while len(self._rest) >= _LONGEST_LINE:
            self._put(self._rest[:_LONGEST_LINE])
            self._rest = self._rest[_LONGEST_LINE:]

    def _put(self, line: bytes) -> None:
        self._log(line.removesuffix(b"\r").decode("utf-8", "replace"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._rest:
            self._put(self._rest)
            self._rest = b""
        self.closed.set()

    def close(self) -> None:
        if self._transport:
            self._transport.close()
