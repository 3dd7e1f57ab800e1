"""A small HTTP/1.1 client for one origin, with a pool of keep-alive connections.

It does what invoking needs and no more: no redirects, no cookies, no proxies, no `.netrc`. A
transport belongs to the loop that it is used in. Host names are looked up by that loop (asyncio
does so in threads that live as long as the loop).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from contextvars import Context
from functools import cache, partial
from math import inf
from time import monotonic
from types import TracebackType
from typing import Final, NamedTuple, Self

from faas_connector.errors import (
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    TransportError,
)
from faas_connector.gateway.connection import Connection, Exchange
from faas_connector.gateway.failures import connect_error, late_error, lost_error
from faas_connector.gateway.http1 import (
    MAX_HEAD_BYTES,
    MAX_RESPONSE_BYTES,
    RawResponse,
    ResponseParser,
    request_head,
)
from faas_connector.gateway.origin import Origin

__all__ = ["Origin", "RawResponse", "Transport", "request_head"]

# A reused connection that ends this soon after a request was sent had been closed before.
_STALE_SECONDS: Final = 0.25


_Opening = asyncio.Task[tuple[asyncio.Transport, Connection]]


class Awaited(Exchange, eq=False, gc=False):
    """One whose end is awaited: `send` it; where that is cancelled, `abandon` it."""

    end: asyncio.Future[RawResponse | TransportError]

    @property
    def is_over(self) -> bool:
        """Whether it has its end, or whoever waited was cancelled."""
        return self.end.done()

    def answered(self, answer: RawResponse) -> None:
        """Its answer is complete."""
        if not self.end.done():
            self.end.set_result(answer)

    def failed(self, error: TransportError) -> None:
        """There is none."""
        self.end.set_result(error)


class _Attempt(NamedTuple):
    """A connection that is being opened for one exchange."""

    task: _Opening
    deadline: float


@cache
def _system_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class Transport:
    """Sends requests to one origin and reads their answers.

    A free connection goes to the request that has waited longest; of several free ones the one
    used last is taken, so that the others can idle out. There are never more than
    `max_connections`, those that are still connecting included.

    A request is sent a second time only when it met a connection that had carried an answer
    before and that ended within 250 ms, before any byte of this answer; then once, on a fresh one.

    Where one request is made after another, and answers come within `look_out`, the loop stays
    awake for the next one: to fall asleep and be woken takes longer, and hardly less CPU.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        tls: ssl.SSLContext | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float | None = None,
        idle_timeout: float = 50.0,
        max_connections: int = 64,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        max_head_bytes: int = MAX_HEAD_BYTES,
        look_out: float = 0.0002,
    ) -> None:
        """Prepare; nothing is connected before the first request.

        Args:
            origin: where requests go.
            tls: for https; None means the system's CAs.
            connect_timeout: seconds to connect, TLS included.
            read_timeout: seconds of silence within an answer that has begun; None for no limit.
            idle_timeout: seconds after which an idle connection is closed. The gateway closes its
                own after 60.
            max_connections: connections at a time; further requests wait.
            max_response_bytes: bytes of an answer's body.
            max_head_bytes: bytes of an answer's head.
            look_out: seconds that the loop stays awake at most for an answer, if the last one that
                left a connection free took less; 0 for not at all.
        """
        self._origin = origin
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._idle_timeout = idle_timeout
        self._max_connections = max_connections
        self._max_response_bytes = max_response_bytes
        self._max_head_bytes = max_head_bytes
        self._look_out_for = look_out
        self._last_took = inf  # seconds, of the last answer
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._opening: dict[Exchange, _Attempt] = {}
        self._waiting: OrderedDict[Exchange, None] = OrderedDict()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._closed = False
        self._emptied: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def in_flight(self) -> int:
        """Requests that have a connection, or are opening one."""
        busy = sum(connection.exchange is not None for connection in self._connections)
        return busy + len(self._opening)

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return len(self._waiting)

    async def request(
        self, head: bytes, body: bytes = b"", *, timeout: float | None = None
    ) -> RawResponse:
        """Send a request and return its complete answer, whatever its status.

        Cancelling it closes its connection.

        Args:
            head: the whole head, from `request_head`.
            body: what follows it, of the length that the head says.
            timeout: seconds until the answer is complete, counted from when the request has got a
                connection or may open one; None for no limit.

        Raises:
            ConnectError: there is no connection; nothing was sent.
            CallTimeoutError: the answer is not complete in time.
            ConnectionLostError: the peer hung up first, or the transport was closed.
            ProtocolError: the answer is no HTTP/1.1.
            ResponseTooLargeError: the answer is over a limit.
        """
        told = asyncio.get_running_loop().create_future()
        exchange = Awaited(told, head=head, body=body, timeout=timeout)
        self.send(exchange)
        try:
            end = await exchange.end
        except asyncio.CancelledError:
            self.abandon(exchange)
            raise
        if isinstance(end, TransportError):
            raise end
        return end

    def send(self, exchange: Exchange) -> None:
        """Do the same for who can't await: the exchange is told what `request` returns or raises.

        It is not told before this returns.
        """
        if self._closed:
            loop = asyncio.get_running_loop()
            loop.call_soon(exchange.fail, self._no_connection("the transport is closed"))
        elif (connection := self._take_idle()) is not None:
            self._begin(connection, exchange)
        elif (
            not self._waiting
            and len(self._connections) + len(self._opening) < self._max_connections
        ):
            self._open(exchange)
        else:
            self._waiting[exchange] = None

    def abandon(self, exchange: Exchange) -> None:
        """Nobody wants its answer any more: free what it holds, which may close its connection."""
        self._waiting.pop(exchange, None)
        if (attempt := self._opening.get(exchange)) is not None:
            attempt.task.cancel()
        elif exchange.connection is not None and exchange.connection.exchange is exchange:
            exchange.connection.abandon()

    async def aclose(self) -> None:
        """Close every connection; nothing of this transport is left afterwards.

        What is in flight fails with ConnectionLostError; what has not been sent yet, and every
        later request, with ConnectError.
        """
        self._closed = True
        while self._waiting:
            exchange, _ = self._waiting.popitem(last=False)
            exchange.fail(self._no_connection("the transport is closed"))
        for exchange, attempt in self._opening.items():
            exchange.fail(self._no_connection("the transport is closed"))
            attempt.task.cancel()
        for connection in tuple(self._connections):
            if (cut := connection.abandon()) is not None:
                cut.fail(
                    ConnectionLostError(
                        f"the transport was closed before {self._origin} had answered; "
                        "the function may have run or not"
                    )
                )
        while self._connections or self._opening:
            emptied = asyncio.get_running_loop().create_future()
            self._emptied.append(emptied)
            await emptied
        self._idle.clear()
        self._silence()

    def _no_connection(self, why: str) -> ConnectError:
        return ConnectError(f"no connection to {self._origin}: {why}")

    # Requests and connections

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not connection.peek():
                return connection
            connection.close()
        return None

    def _begin(self, connection: Connection, exchange: Exchange) -> None:
        now = monotonic()
        if exchange.timeout is not None and exchange.deadline == inf:
            exchange.deadline = now + exchange.timeout
        connection.send(exchange, now)
        if connection.deadline < self._alarm_at:
            self.watch(connection.deadline)
        if self._last_took < self._look_out_for and self._has_one_in_flight():
            self._look_out(exchange, now + self._look_out_for)

    def _has_one_in_flight(self) -> bool:
        return len(self._connections) + len(self._opening) - len(self._idle) == 1

    def _look_out(self, exchange: Exchange, until: float) -> None:
        """Give the loop something to do while an answer is about to come."""
        if not exchange.is_over and monotonic() < until:
            asyncio.get_running_loop().call_soon(self._look_out, exchange, until)

    def _start_clock(self, exchange: Exchange, now: float) -> None:
        if exchange.timeout is not None and exchange.deadline == inf:
            exchange.deadline = now + exchange.timeout

    def _open(self, exchange: Exchange) -> None:
        """Open a connection for an exchange; it takes a place."""
        loop = asyncio.get_running_loop()
        now = monotonic()
        self._start_clock(exchange, now)
        secure = self._origin.scheme == "https"
        task = loop.create_task(
            loop.create_connection(
                self._new_connection,
                self._origin.host,
                self._origin.port,
                ssl=(self._tls or _system_tls()) if secure else None,
                server_hostname=self._origin.host if secure else None,
            ),
            name=f"connect to {self._origin}",
            context=Context(),  # it outlives the call that it is opened for
        )
        patience = now + self._connect_timeout
        self._opening[exchange] = _Attempt(task, patience)
        self.watch(min(exchange.deadline, patience))
        task.add_done_callback(partial(self._opened, exchange))

    def _new_connection(self) -> Connection:
        parser = ResponseParser(
            max_head_bytes=self._max_head_bytes, max_body_bytes=self._max_response_bytes
        )
        return Connection(self, self._origin, parser, self._read_timeout)

    def _opened(self, exchange: Exchange, task: _Opening) -> None:
        del self._opening[exchange]
        if task.cancelled():
            exchange.fail(self._no_connection("the attempt was cancelled"))
        elif (error := task.exception()) is not None:
            exchange.fail(connect_error(self._origin, error, again=exchange.resent))
        else:
            # Not before: uvloop closes what a cancelled attempt has made, and doesn't tell it.
            _, connection = task.result()
            self._take_in(connection, exchange)
        self._fill_places()

    def _take_in(self, connection: Connection, exchange: Exchange) -> None:
        if connection.closed:
            exchange.fail(lost_error(self._origin, None, begun=False))
            return
        self._connections.add(connection)
        if self._closed:
            connection.close()
        elif exchange.is_over:
            self.released(connection)
        else:
            self._begin(connection, exchange)

    def _fill_places(self) -> None:
        """Let those who wait longest open connections, while there are places."""
        while (
            self._waiting
            and len(self._connections) + len(self._opening) < self._max_connections
            and (exchange := self._next_waiting()) is not None
        ):
            self._open(exchange)
        if self._emptied and not self._connections and not self._opening:
            for emptied in self._emptied:
                if not emptied.done():
                    emptied.set_result(None)
            self._emptied.clear()

    def _next_waiting(self) -> Exchange | None:
        while self._waiting:
            exchange, _ = self._waiting.popitem(last=False)
            if not exchange.is_over:
                return exchange
        return None

    # What connections tell (`Owner`)

    def released(self, connection: Connection) -> None:
        """Its answer is complete: the next one who waits may have it."""
        if self._waiting and connection.peek():
            # More than its answer has come, or it has ended: `lost` opens another for who waits.
            connection.close()
            return
        exchange = self._next_waiting() if self._waiting else None
        if exchange is not None:
            self._begin(connection, exchange)
            return
        now = monotonic()
        self._last_took = now - connection.sent_at
        connection.deadline = now + self._idle_timeout
        self._idle.append(connection)
        if connection.deadline < self._alarm_at:
            self.watch(connection.deadline)

    def lost(
        self, connection: Connection, exchange: Exchange | None, cause: Exception | None
    ) -> None:
        """It has ended, maybe within an exchange."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if exchange is not None and not exchange.is_over:
            if self._was_stale(connection):
                exchange.resent = True
                self._open(exchange)
            else:
                exchange.fail(lost_error(self._origin, cause, begun=connection.begun))
        self._fill_places()

    def _was_stale(self, connection: Connection) -> bool:
        """Whether the peer had closed the connection before the request reached it.

        The next one is fresh, so that a request is never sent a third time.
        """
        return (
            connection.used
            and not connection.begun
            and monotonic() - connection.sent_at <= _STALE_SECONDS
        )

    # Time: one timer for the whole transport, since nearly all deadlines are met

    def watch(self, deadline: float) -> None:
        """Look at every deadline at this time, on the monotonic clock."""
        if deadline < self._alarm_at:
            self._silence()
            self._alarm_at = deadline
            delay = max(deadline - monotonic(), 0.0)
            self._alarm = asyncio.get_running_loop().call_later(delay, self._look_at_deadlines)

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        self._alarm_at = inf

    def _look_at_deadlines(self) -> None:
        self._silence()
        now = monotonic()
        nearest = inf
        for exchange, attempt in tuple(self._opening.items()):
            due = min(attempt.deadline, exchange.deadline)
            if due > now:
                nearest = min(nearest, due)
            elif not exchange.is_over:
                exchange.fail(
                    CallTimeoutError(f"{self._origin}: not connected within {exchange.timeout:g} s")
                    if exchange.deadline <= now
                    else late_error(self._origin, self._connect_timeout, again=exchange.resent)
                )
                attempt.task.cancel()
        for connection in tuple(self._connections):
            due = connection.due()
            if due > now:
                nearest = min(nearest, due)
            else:
                self._give_up(connection, now)
        if nearest < inf:
            self.watch(nearest)

    def _give_up(self, connection: Connection, now: float) -> None:
        connection.deadline = inf
        exchange = connection.abandon()
        if exchange is None:
            return
        if exchange.deadline <= now:
            what = f"no complete answer within {exchange.timeout:g} s"
        else:
            what = f"silent within its answer for {self._read_timeout:g} s"
        exchange.fail(CallTimeoutError(f"{self._origin}: {what}; the function may have run or not"))
