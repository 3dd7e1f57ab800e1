"""The calls that functions received, for whoever looks or waits."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from faas_connector.local.function import Call
from faas_connector.names import FunctionName

_KEPT_BYTES = 128 * 1024 * 1024


class Received(msgspec.Struct, frozen=True):
    """One call that reached a function."""

    function: FunctionName
    call: Call
    call_id: str
    time: float
    """Seconds since the epoch."""

    def header(self, name: str) -> str | None:
        """The first value of a header field, whatever its case."""
        wanted = name.lower()
        return next((v for n, v in self.call.headers if n.lower() == wanted), None)

    @property
    def body(self) -> bytes:
        """What the function was given."""
        return self.call.body


class FinishedCall(msgspec.Struct, frozen=True):
    """One call that is over, as `on_call` is told."""

    time: float
    """When it ended: seconds since the epoch."""
    topic: str
    """What X-Topic said; empty without it."""
    function: FunctionName
    method: str
    status: int | None
    """None when the connection was closed without an answer."""
    duration: float
    """Seconds."""
    received_bytes: int
    sent_bytes: int


class CallLog:
    """The last calls that reached functions, oldest first; bounded in number and in bytes."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._calls: deque[Received] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    def add(self, call: Received) -> None:
        """Keep a call, and wake who waits."""
        self._calls.append(call)
        self._bytes += len(call.body)
        while len(self._calls) > self._kept or (self._bytes > _KEPT_BYTES and len(self._calls) > 1):
            self._bytes -= len(self._calls.popleft().body)
        self._news.set()
        self._news.clear()

    def of(self, name: FunctionName | None = None) -> list[Received]:
        """The kept calls, of all functions or of one."""
        return [call for call in self._calls if name is None or call.function == name]

    async def wait(self, count: int, name: FunctionName | None, within: float) -> list[Received]:
        """Wait for so many calls.

        Raises:
            TimeoutError: they did not come within so many seconds.
        """
        try:
            async with asyncio.timeout(within):
                while len(self.of(name)) < count:
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(
                f"{len(self.of(name))} of {count} calls came within {within} s"
            ) from None
        return self.of(name)
