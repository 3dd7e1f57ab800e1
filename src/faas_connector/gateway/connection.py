"""One connection to the origin: writes a request, reads its answer, and says when it is free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any, Final, Protocol, cast

import msgspec

from faas_connector.errors import TransportError
from faas_connector.gateway.http1 import RawResponse, ResponseParser
from faas_connector.gateway.origin import Origin
from faas_connector.gateway.peek import peek

# Requests up to this size go out in one write; larger ones in slices, as fast as the peer reads.
_SLICE: Final = 128 * 1024
# Bytes taken off a connection at a time, where that can be chosen.
_READ: Final = 32 * 1024


class Exchange(msgspec.Struct, eq=False, kw_only=True):
    """A request, and what becomes of it: a subclass says what its end is.

    It is told its end from within the loop, maybe when nobody waits for that any more, and must
    raise nothing then.
    """

    head: bytes = b""
    body: bytes = b""
    timeout: float | None = None
    deadline: float = inf
    """On the monotonic clock; set once the exchange has a connection or may open one."""
    connection: Connection | None = None
    resent: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it was told its end, or nobody waits for that any more."""
        raise NotImplementedError

    def answered(self, answer: RawResponse) -> None:
        """Its answer is complete."""
        raise NotImplementedError

    def failed(self, error: TransportError) -> None:
        """There is none."""
        raise NotImplementedError

    def fail(self, error: TransportError) -> None:
        """End without an answer, unless it has ended already."""
        if not self.is_over:
            self.failed(error)


class Owner(Protocol):
    """Who is told about a connection."""

    def released(self, connection: Connection) -> None:
        """Its answer is complete, and it can take another request."""

    def lost(
        self, connection: Connection, exchange: Exchange | None, cause: Exception | None
    ) -> None:
        """It has ended, maybe within an exchange."""

    def watch(self, deadline: float) -> None:
        """Look at `due` of every connection at this time, on the monotonic clock."""


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one exchange at a time.

    Whatever is not a complete answer, at its right time and with nothing after it, closes it: so
    no answer can go to another request.
    """

    __slots__ = (
        "_heard_at",
        "_origin",
        "_owner",
        "_parser",
        "_paused",
        "_read_timeout",
        "_transport",
        "_unsent",
        "closed",
        "deadline",
        "exchange",
        "peek",
        "sent_at",
        "used",
    )

    _transport: asyncio.Transport
    peek: Callable[[], int]
    """Tells whether anything has come that the loop hasn't told yet, a hang-up included; 0: no."""

    def __init__(
        self, owner: Owner, origin: Origin, parser: ResponseParser, read_timeout: float | None
    ) -> None:
        self._owner = owner
        self._origin = origin
        self._parser = parser
        self._read_timeout = read_timeout
        self._unsent: memoryview | None = None
        self._paused = False
        self._heard_at = inf
        self.exchange: Exchange | None = None
        self.used = False
        """Whether it has carried an answer before."""
        self.sent_at = 0.0
        self.deadline = inf
        """When it has been idle, or its exchange has lasted, for too long."""
        self.closed = False
        """Whether it is closed or being closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if hasattr(transport, "max_size"):
            # asyncio makes room for 256 KiB at each read, which costs more than all the rest.
            cast("Any", transport).max_size = _READ
        self.peek = peek(transport.get_extra_info("socket").fileno())

    def send(self, exchange: Exchange, now: float) -> None:
        """Begin an exchange."""
        self.exchange = exchange
        exchange.connection = self
        self.sent_at = now
        self.deadline = exchange.deadline
        self._heard_at = inf
        head, body = exchange.head, exchange.body
        self._parser.start(head_only=head.startswith(b"HEAD "))
        if len(body) < _SLICE:
            self._transport.write(head + body)
        else:
            self._unsent = memoryview(body)
            self._transport.write(head)
            self._send_more()

    def _send_more(self) -> None:
        while self._unsent is not None and not self._paused:
            part, rest = self._unsent[:_SLICE], self._unsent[_SLICE:]
            self._unsent = rest or None
            self._transport.write(part)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send_more()

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self.close()  # nobody asked
            return
        try:
            response = self._parser.feed(data)
        except TransportError as error:
            self.exchange = None
            exchange.fail(type(error)(f"{self._origin}: {error}"))
            self.close()
            return
        if response is not None:
            self._complete(exchange, response)
        elif self._read_timeout is not None:
            self._heard_at = monotonic()
            self._owner.watch(self._heard_at + self._read_timeout)

    def eof_received(self) -> None:
        exchange = self.exchange
        if exchange is not None and (response := self._parser.eof()) is not None:
            self._complete(exchange, response)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        exchange, self.exchange = self.exchange, None
        self._unsent = None
        self._owner.lost(self, exchange, exc)

    def _complete(self, exchange: Exchange, response: RawResponse) -> None:
        self.exchange = None
        exchange.answered(response)
        if (
            self._parser.keep_alive
            and self._unsent is None
            and not self._transport.get_write_buffer_size()
        ):
            self.used = True
            self._owner.released(self)
        else:
            self.close()

    @property
    def begun(self) -> bool:
        """Whether a byte of the answer has come."""
        return self._parser.begun

    def due(self) -> float:
        """When to give up on it: idle, within an exchange, or silent within an answer."""
        if self._read_timeout is None:
            return self.deadline
        return min(self.deadline, self._heard_at + self._read_timeout)

    def abandon(self) -> Exchange | None:
        """Close it; what it carried is no longer its business."""
        exchange, self.exchange = self.exchange, None
        self.close()
        return exchange

    def close(self) -> None:
        """Close it at once; `Owner.lost` follows."""
        self.closed = True
        self._unsent = None
        self._transport.abort()
