"""One client's connection to a server: its requests in order, its limits, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

import msgspec

from faas_connector.gateway.http1 import Request, RequestError, RequestParser
from faas_connector.serving.clients import Clients
from faas_connector.serving.reply import PLAIN, Flaw, Reply, Wire, chunk, reason, to_wire

_log = logging.getLogger("faas_connector.http")

# Bytes that a client may send ahead while its request is being answered, or its answers unread.
_READ_AHEAD = 256 * 1024
_LINGER = 1.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may use. Times in seconds, sizes in bytes."""

    max_head_bytes: int = 1024 * 1024
    """A larger request head is answered 431."""
    max_body_bytes: int = 64 * 1024 * 1024
    """A larger request body is answered 413 (the real gateway has no limit)."""
    read_timeout: float = 60.0
    """For a whole request to come, and for an idle connection to stay open."""
    write_timeout: float = 60.0
    """For an answer to be given, from the request's end on; later the connection is closed."""
    max_connections: int | None = None
    """Clients at a time; for a further one the one goes that has been idle longest, and where all
    wait for answers it is answered 503 itself. None for no limit."""
    max_held_bytes: int | None = None
    """Of requests of all clients that are unfinished or sent ahead; above it, who sends on is
    answered 503. None for no limit."""
    answers_half_closed: bool = False
    """Whether who has sent its last byte gets its answer; else that is a hang-up, as for Go."""


Handler = Callable[[Request, str], "Reply | asyncio.Future[Reply] | Coroutine[None, None, Reply]"]
"""Answers a request of a peer (`ip:port`), at once or later. A coroutine is cancelled when the
client hangs up, a future is left alone."""

BadRequest = Callable[[RequestError, str | None], Reply]
"""Answers a request that can't be read; the target is given once the head was read."""


def refusal(error: RequestError, _target: str | None = None) -> Reply:
    """The answer to what is no request, in Go's form."""
    body = f"{error.status} {reason(error.status)}: {error.text}"
    return Reply(error.status, (PLAIN,), body.encode())


class Serving(Protocol):
    """What a connection has of its server."""

    handler: Handler
    bad_request: BadRequest
    limits: ServerLimits
    name: str
    clients: Clients[Connection]
    tasks: set[asyncio.Future[Any]]
    held_bytes: int
    internal_errors: int

    def admit(self, connection: Connection) -> bool:
        """Whether a new client may stay; if need be, another goes for it."""
        ...

    def read_no_further_ahead(self) -> None:
        """Too much is held: each of many that wait for an answer could add a little to it."""
        ...


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: Serving) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        limits = server.limits
        self._parser = RequestParser(
            max_head_bytes=limits.max_head_bytes, max_body_bytes=limits.max_body_bytes
        )
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._task: asyncio.Future[Any] | None = None
        self._held = 0  # bytes that the server counts as held here
        self._paused = False  # whether nothing is read for now
        self._begun = False  # whether bytes of the next request have come
        self._ended = False  # whether the client has sent its last byte
        self._closing = False  # whether nothing more is to be read
        self._writable = asyncio.Event()
        self._writable.set()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self._peer = _peer_text(name)
        if self._server.admit(self):
            self._expect_by(self._server.limits.read_timeout)
        else:
            self._turn_away()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._parser.feed(data)
        if self._task is not None or not self._writable.is_set():
            self._count()
            if self._holds_too_much:
                self._server.read_no_further_ahead()
            else:
                self.read_on_or_pause()
            return
        self._advance()

    def eof_received(self) -> bool:
        self._ended = True
        is_hang_up = not self._server.limits.answers_half_closed and self._parser.idle
        if is_hang_up and isinstance(self._task, asyncio.Task):
            self._task.cancel()
        elif is_hang_up:
            return False
        return self._task is not None or not (self._closing or self._writable.is_set())

    def pause_writing(self) -> None:
        self._writable.clear()
        if self._task is None:
            self._expect_by(self._server.limits.write_timeout)

    def resume_writing(self) -> None:
        self._writable.set()
        if self._task is None:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._closing = True
        self._transport = None
        self._writable.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if isinstance(self._task, asyncio.Task):
            self._task.cancel()
        self._server.held_bytes -= self._held
        self._held = 0
        self._server.clients.leave(self)

    @property
    def _holds_too_much(self) -> bool:
        most = self._server.limits.max_held_bytes
        return most is not None and self._server.held_bytes > most

    def _count(self) -> None:
        """Tell the server what is held here now."""
        held = self._parser.held
        if held != self._held:
            self._server.held_bytes += held - self._held
            self._held = held

    def read_on_or_pause(self) -> None:
        """Read no further while enough lies here that can't be answered yet."""
        waits = self._task is not None or not self._writable.is_set()
        pauses = waits and (self._held > _READ_AHEAD or self._holds_too_much)
        if pauses is self._paused or self._transport is None:
            return
        self._paused = pauses
        if pauses:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # Requests, one after another

    def _advance(self) -> None:
        """Answer what has come, until an answer takes time or the client must read first."""
        while self._task is None and not self._closing and self._writable.is_set():
            try:
                request = self._parser.next_request()
            except RequestError as error:
                self._count()
                self._refuse(error)
                return
            if request is None:
                self._count()
                self._expect_more()
                return
            self._begun = False
            self._expect_by(self._server.limits.read_timeout)
            self._begin(request)
        self._count()
        if self._holds_too_much:
            self.read_on_or_pause()

    def _expect_more(self) -> None:
        """All requests that have come are answered; of a further one there is a part at most."""
        if not self._begun and not self._parser.idle:
            self._begun = True
            self._expect_by(self._server.limits.read_timeout)
            self._server.clients.sends(self)
        if self._begun and self._holds_too_much:
            self._refuse(RequestError(503, "too much is being received"))
            return
        if self._parser.take_expectation():
            self._write(_CONTINUE)
        if self._ended:
            self._close()

    def _begin(self, request: Request) -> None:
        try:
            reply = self._server.handler(request, self._peer)
        except Exception:
            reply = self._internal_error(request)
        if isinstance(reply, Reply):
            if reply.stream is None and not reply.pace:
                self._server.clients.idles(self)
                self._send(reply, request)
                return
            reply = _given(reply)
        self._server.clients.waits(self)
        if isinstance(reply, asyncio.Future):
            self._task = reply
            self._server.tasks.add(reply)
            reply.add_done_callback(functools.partial(self._came, request))
            return
        name = f"{self._server.name} request"
        task = self._loop.create_task(self._answer(reply, request), name=name)
        self._task = task
        self._server.tasks.add(task)
        task.add_done_callback(functools.partial(self._answered, reply))

    def _came(self, request: Request, answer: asyncio.Future[Reply]) -> None:
        """The answer that a handler had promised."""
        self._server.tasks.discard(answer)
        self._task = None
        self._server.clients.idles(self)
        if answer.cancelled():
            self._close()
        elif self._transport is not None:
            try:
                reply = answer.result()
            except Exception:
                reply = self._internal_error(request)
            self._send(reply, request)
            self._go_on()

    async def _answer(self, pending: Coroutine[None, None, Reply], request: Request) -> None:
        begun = self._loop.time()
        try:
            reply = await pending
        except Exception:
            reply = self._internal_error(request)
        limit = self._server.limits.write_timeout
        if self._loop.time() - begun >= limit:
            self._close()
        elif reply.stream is None and not reply.pace:
            self._send(reply, request)
        else:
            try:
                async with asyncio.timeout_at(begun + limit):
                    await self._send_slowly(reply, request)
            except TimeoutError:
                self._close()

    def _answered(self, pending: Coroutine[None, None, Reply], task: asyncio.Task[None]) -> None:
        pending.close()  # it never began if the client hung up first
        self._server.tasks.discard(task)
        self._task = None
        self._server.clients.idles(self)
        if task.cancelled():
            self._close()
        elif task.exception() is not None:
            self._server.internal_errors += 1
            _log.error("a connection failed", exc_info=task.exception())
            self.abort()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """To the next request, once the client has read enough of the answers."""
        if self._closing or self._transport is None:
            return
        if not self._writable.is_set():
            self._expect_by(self._server.limits.write_timeout)
            return
        self._expect_by(self._server.limits.read_timeout)
        self._advance()
        self.read_on_or_pause()

    def _internal_error(self, request: Request) -> Reply:
        self._server.internal_errors += 1
        _log.exception("%s %s failed", request.method, request.target)
        return Reply(500, (PLAIN,), f"the {self._server.name} failed; its log says why\n".encode())

    # Answers

    def _send(self, reply: Reply, request: Request) -> None:
        if reply.flaw is Flaw.HANG_UP:
            self._close()
            return
        wire = self._wire(reply, request)
        self._write(wire.head + wire.body)
        if not wire.keep_alive:
            self._close()

    async def _send_slowly(self, reply: Reply, request: Request) -> None:
        wire = self._wire(reply, request)
        self._write(wire.head)
        if reply.pace:
            for at in range(len(wire.body)):
                await asyncio.sleep(reply.pace)
                self._write(wire.body[at : at + 1])
        else:
            self._write(wire.body)
        if reply.stream is not None and request.method != "HEAD":
            async with contextlib.aclosing(reply.stream) as pieces:
                async for piece in pieces:
                    self._write(chunk(piece) if wire.chunked else piece)
                    await self._writable.wait()
            if wire.chunked:
                self._write(b"0\r\n\r\n")
        if not wire.keep_alive:
            self._close()

    def _wire(self, reply: Reply, request: Request) -> Wire:
        return to_wire(
            reply,
            method=request.method,
            version=request.version,
            keep_alive=request.keep_alive and not self._closing,
        )

    def _refuse(self, error: RequestError) -> None:
        """Answer, then read on for a while: closing at once could cost the client the answer."""
        reply = self._server.bad_request(error, self._parser.target)
        wire = to_wire(reply, method="GET", version="1.1", keep_alive=False)
        self._closing = True
        if reply.flaw is Flaw.HANG_UP or self._transport is None:
            self._close()
            return
        self._write(wire.head + wire.body)
        if self._ended or not self._transport.can_write_eof():
            self._close()
            return
        self._transport.write_eof()
        self._expect_by(_LINGER)

    def _turn_away(self) -> None:
        """Answer and close at once: each that was waited for would cost a file meanwhile."""
        reply = self._server.bad_request(RequestError(503, "there are too many connections"), None)
        wire = to_wire(reply, method="GET", version="1.1", keep_alive=False)
        self._write(wire.head + wire.body)
        self._close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._transport.write(data)

    # Ends

    def finish(self) -> None:
        """Close once the request that is being answered is done; at once when there is none."""
        if self._task is None:
            self._close()
        else:
            self._closing = True

    def abort(self) -> None:
        """Close now, whatever is being sent."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.close()
            self._expect_by(self._server.limits.write_timeout)

    def _expect_by(self, seconds: float) -> None:
        """Close unless something moves the deadline first. One timer serves many deadlines."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._at_deadline)
        elif self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._at_deadline)

    def _at_deadline(self) -> None:
        self._timer = None
        if self._transport is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._at_deadline)
        elif self._task is not None and not self._closing:
            self._expect_by(self._server.limits.read_timeout)
        elif self._closing or not self._writable.is_set():
            self.abort()
        else:
            self._close()


async def _given(reply: Reply) -> Reply:
    return reply


def _peer_text(name: object) -> str:
    if isinstance(name, tuple):
        parts = cast("tuple[object, ...]", name)
        host = str(parts[0])
        return f"[{host}]:{parts[1]}" if ":" in host else f"{host}:{parts[1]}"
    return ""
