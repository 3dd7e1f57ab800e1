"""Listens for requests, and hands their events over to the engine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing

from faas_connector.errors import SourceError
from faas_connector.event import Event
from faas_connector.gateway.http1 import Request, RequestError
from faas_connector.handover import HandOver
from faas_connector.headers import Headers
from faas_connector.serving.connection import ServerLimits
from faas_connector.serving.files import LISTENERS, open_files
from faas_connector.serving.guard import Guard
from faas_connector.serving.listener import Port, PortInUseError, address_of, is_loopback
from faas_connector.serving.reply import Reply
from faas_connector.serving.server import Server
from faas_connector.source import Once, Session
from faas_connector.sources.webhook.access import Access
from faas_connector.sources.webhook.replies import (
    BUSY,
    DRAINING,
    RETRY_AFTER,
    ReplyWith,
    accepted,
    refusal,
    verdict,
)
from faas_connector.sources.webhook.settings import HttpSettings, access_to
from faas_connector.sources.webhook.waiting import RequestDelivery, WaitingRoom

_log = logging.getLogger("faas_connector.source")

_MAX_HEAD = 32 * 1024
_MAX_HELD = 64 * 1024 * 1024
# Seconds for the last answers to be written.
_LAST_ANSWERS = 1.0
# Seconds between two log lines on refused requests.
_QUIET = 60.0
_LET_IN = "let callers show credentials, or say open: true (--open)"

Handler = Callable[[Request, Headers], Reply | Sequence[tuple[Event, Once | None]]]
"""The events of a request that may be served, or why it has none."""


class Door:
    """Lets requests in: checks who calls, and lets them wait for what becomes of their events."""

    def __init__(
        self, name: str, http: HttpSettings, port: Port, handler: Handler, events: HandOver
    ) -> None:
        self._name = name
        self._access = access_to(http)
        self._guard = _guard(http, port, self._access)
        self._handler = handler
        self._events = events
        reply_of = verdict if http.reply is ReplyWith.VERDICT else accepted
        self._waiting = WaitingRoom(reply_of, http.reply_timeout)
        self._refused = 0
        self._reported_at = 0.0

    def __call__(self, request: Request, peer: str) -> Reply | asyncio.Future[Reply]:
        """Answer a request, now or when its events are settled."""
        headers = Headers(request.headers)
        if self._guard is not None:
            refused = self._guard.check(request.method, headers.get("host"), headers.get("origin"))
            if refused is not None:
                return refused
        flaw = self._access.flaw(headers, request.body, time.time())
        if flaw is not None and request.method != "OPTIONS":
            self._report(flaw, peer)
            return refusal(401, flaw, ("WWW-Authenticate", self._access.challenge))
        found = self._handler(request, headers)
        if isinstance(found, Reply):
            return found
        waiting = self._waiting.enter(len(found))
        deliveries = [RequestDelivery(event, waiting, once) for event, once in found]
        if not self._events.offer(deliveries):
            waiting.end(DRAINING)
            return self._no_room(deliveries)
        return waiting.answer

    def _no_room(self, deliveries: Sequence[RequestDelivery]) -> Reply:
        if not self._events.is_open:
            return DRAINING
        limit = self._events.limit_below(deliveries)
        return BUSY if limit is None else refusal(413, f"this could never wait here: {limit}")

    def close(self) -> None:
        """Answer all who still wait: nobody settles their events any more."""
        self._waiting.close()

    def _report(self, flaw: str, peer: str) -> None:
        """Say that requests are refused: at once, then now and then."""
        self._refused += 1
        now = time.monotonic()
        if self._reported_at and now - self._reported_at < _QUIET:
            return
        _log.warning(
            "%s: refused a request of %s: %s (%d so far)", self._name, peer, flaw, self._refused,
            extra={"source": self._name},
        )  # fmt: skip
        self._reported_at = now


@asynccontextmanager
async def listening(
    name: str, http: HttpSettings, session: Session, handler: Handler
) -> AsyncGenerator[HandOver]:
    """Listen until this is left, and give the events that are pushed.

    While the session stops, requests are answered 503 and those that wait are seen through.

    Raises:
        SourceError: somebody else listens there.
    """
    host, number = address_of(http.listen)
    try:
        port = Port(host, number)
    except PortInUseError as error:
        raise SourceError(f"{name}: can't listen on {http.listen}: {error.strerror}") from error
    with closing(port), LISTENERS.another():
        async with HandOver(
            session, max_waiting=http.max_waiting, max_waiting_bytes=http.max_waiting_bytes
        ) as events:
            door = Door(name, http, port, handler, events)
            server = Server(
                door, _limits(http), bad_request=_bad_request, name=name, part=LISTENERS.part
            )
            try:
                await server.listen(port.listen())
                _report_few_files(name, http)
                _log.info("%s listens on %s:%d", name, host, port.number, extra={"source": name})
                yield events
            finally:
                door.close()
                await server.close(_LAST_ANSWERS)


def _guard(http: HttpSettings, port: Port, access: Access) -> Guard | None:
    """What keeps web pages out, where nothing else keeps anybody out of a port of this machine."""
    host, _ = address_of(http.listen)
    if not access.is_open or http.open_to_all or not is_loopback(host):
        return None
    return Guard(host, port.number, what="this source", allow_host=_LET_IN, allow_origin=_LET_IN)


def _report_few_files(name: str, http: HttpSettings) -> None:
    most = LISTENERS.part()
    if most is not None and most < http.max_connections:
        _log.warning(
            "%s serves fewer than %d clients at a time: this process may open %d files "
            "(ulimit -n), which all that listen in it share",
            name, http.max_connections, open_files(), extra={"source": name},
        )  # fmt: skip


def _limits(http: HttpSettings) -> ServerLimits:
    return ServerLimits(
        max_head_bytes=_MAX_HEAD,
        max_body_bytes=http.max_body,
        read_timeout=http.request_timeout,
        write_timeout=http.request_timeout,
        max_connections=http.max_connections,
        max_held_bytes=_MAX_HELD,
        answers_half_closed=True,
    )


def _bad_request(error: RequestError, _target: str | None) -> Reply:
    return refusal(error.status, error.text, *((RETRY_AFTER,) if error.status == 503 else ()))
