"""`/async-function/NAME`: a queue in memory, its workers, and their callbacks (section 6)."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from typing import Final
from urllib.parse import urljoin, urlsplit

import msgspec

from faas_connector.errors import ConnectorError
from faas_connector.gateway.http1 import RawResponse, Request, request_head
from faas_connector.gateway.origin import Origin
from faas_connector.gateway.transport import Transport
from faas_connector.local.forwarding import SERVED_BY
from faas_connector.local.function import Headers
from faas_connector.local.guard import field
from faas_connector.local.target import TargetError, escape, second_look, url_error
from faas_connector.serving.reply import Reply, text

_log = logging.getLogger("faas_connector.local")

MAX_BODY: Final = 256_000
_MAX_MESSAGE = 1024 * 1024  # what NATS carries
_MAX_QUEUED = 256 * 1024 * 1024
_MAX_ANSWER = 256 * 1024 * 1024
_MAX_REDIRECTS = 10
_AS_GET = frozenset({301, 302, 303})
_REDIRECTS = _AS_GET | {307, 308}
_AGENT = ("User-Agent", "openfaas-ce/nats-queue-worker")
_CALLBACK_AGENT = ("User-Agent", "Go-http-client/1.1")
_FRAMING = frozenset({"host", "connection", "content-length", "transfer-encoding", "expect"})


class _Message(msgspec.Struct):
    """One queued call; `acked` once a worker has finished it for the first time."""

    name: str
    path: str
    query: str | None
    headers: Headers
    body: bytes
    callback_url: str
    call_id: str
    acked: bool = False
    timer: asyncio.TimerHandle | None = None


class AsyncQueue:
    """Takes calls at once and makes them later, through the gateway's own front door.

    At least once, as the real one: a call that takes longer than `ack_wait` is made again.
    """

    def __init__(
        self,
        *,
        url: str,
        full_name: Callable[[str], str],
        workers: int = 1,
        ack_wait: float = 30.0,
    ) -> None:
        """Prepare.

        Args:
            url: the gateway's.
            full_name: makes a name from a URL one with a namespace.
            workers: how many calls are made at a time.
            ack_wait: seconds until a call that is not finished is made again.
        """
        self.full_name = full_name
        self._url = url
        self._workers = workers
        self._ack_wait = ack_wait
        self._messages: asyncio.Queue[_Message] = asyncio.Queue()
        self._queued_bytes = 0
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers."""
        loop = asyncio.get_running_loop()
        for number in range(self._workers):
            name = f"local gateway queue worker {number}"
            self._tasks.append(loop.create_task(self._work(), name=name))

    async def join(self) -> None:
        """Wait until every queued call has been made, and its callback sent."""
        await self._messages.join()

    async def close(self) -> None:
        """End the workers; what is queued is lost."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()

    # Taking calls

    def enqueue(self, request: Request, *, name: str, path: str, query: str | None) -> Reply:
        """Answer 202 and keep the call, whether the function exists or not."""
        callback = field(request, "x-callback-url") or ""
        wrong = url_error(callback)
        if wrong is not None:
            return Reply(400, body=wrong.encode("latin-1"))
        sent_id = field(request, "x-call-id")
        call_id = sent_id or str(uuid.uuid4())
        start = ("X-Start-Time", str(time.time_ns()))
        kept = tuple(pair for pair in request.headers if pair[0].lower() != "x-call-id" or pair[1])
        own = () if sent_id else (("X-Call-Id", call_id),)
        message = _Message(name, path, query, (*kept, *own, start), request.body, callback, call_id)
        refused = self._refused(message)
        if refused is not None:
            return text(500, f"Error queuing request: {refused}\n")
        self._put(message)
        return Reply(202, (*own, start, SERVED_BY))

    def _refused(self, message: _Message) -> str | None:
        size = len(message.body)
        if size > MAX_BODY:
            return (
                f"request body too large for OpenFaaS CE ({size} bytes), maximum: {MAX_BODY} bytes"
            )
        if _encoded_size(message) > _MAX_MESSAGE:
            return "nats: maximum payload exceeded"
        if self._queued_bytes + _encoded_size(message) > _MAX_QUEUED:
            return "nats: outbound buffer limit exceeded"
        return None

    def _put(self, message: _Message) -> None:
        self._queued_bytes += _encoded_size(message)
        self._messages.put_nowait(message)

    # Making calls

    async def _work(self) -> None:
        while True:
            message = await self._messages.get()
            try:
                self._expect_ack(message)
                await self._deliver(message)
            except Exception:
                _log.exception("the queue could not call %s", message.name)
            finally:
                self._acknowledge(message)
                self._queued_bytes -= _encoded_size(message)
                self._messages.task_done()

    def _expect_ack(self, message: _Message) -> None:
        if message.timer is None and not message.acked:
            self._arm(message)

    def _arm(self, message: _Message) -> None:
        loop = asyncio.get_running_loop()
        message.timer = loop.call_later(self._ack_wait, self._redeliver, message)
        self._timers.add(message.timer)

    def _redeliver(self, message: _Message) -> None:
        if message.timer is not None:
            self._timers.discard(message.timer)
        self._arm(message)
        self._put(message)

    def _acknowledge(self, message: _Message) -> None:
        message.acked = True
        if message.timer is not None:
            message.timer.cancel()
            self._timers.discard(message.timer)

    async def _deliver(self, message: _Message) -> None:
        try:
            path, query = second_look(message.path, message.query)
        except TargetError as error:
            _log.warning("the queue drops a call of %s: %s", message.name, error)
            return
        begun = time.perf_counter()
        url = f"{self._url}/function/{message.name}{escape(path)}" + (f"?{query}" if query else "")
        fields = (*_without(message.headers, _FRAMING | {"user-agent"}), _AGENT)
        try:
            answer = await _follow("POST", url, fields, message.body)
            status, headers, body = answer.status, answer.headers.fields, answer.body
        except ConnectorError as error:
            _log.warning("the queue could not call %s: %s", message.name, error)
            status, headers, body = 503, (), b""
        if message.callback_url:
            seconds = time.perf_counter() - begun
            await self._call_back(message, status, headers, body, seconds)

    async def _call_back(
        self, message: _Message, status: int, headers: Headers, body: bytes, seconds: float
    ) -> None:
        own = (
            ("X-Call-Id", message.call_id),
            ("X-Duration-Seconds", f"{seconds:.6f}"),
            ("X-Function-Status", str(status)),
            ("X-Function-Name", message.name),
        )
        fields = (*_without(headers, _FRAMING | {name.lower() for name, _ in own}), *own)
        if all(name.lower() != "user-agent" for name, _ in fields):
            fields = (*fields, _CALLBACK_AGENT)
        try:
            await _follow("POST", message.callback_url, fields, body)
        except (ConnectorError, ValueError) as error:
            _log.warning("no callback of %s: %s", message.name, error)


def _encoded_size(message: _Message) -> int:
    """Bytes of the message as JSON, with the body in base64."""
    fields = sum(len(name) + len(value) + 8 for name, value in message.headers)
    return 200 + len(message.name) + len(message.path) + fields + 4 * (len(message.body) // 3 + 1)


def _without(headers: Headers, names: frozenset[str] | set[str]) -> Headers:
    return tuple(pair for pair in headers if pair[0].lower() not in names)


async def _follow(method: str, url: str, fields: Headers, body: bytes) -> RawResponse:
    """The answer to a request as Go's client gives it: redirects followed, a POST as a GET."""
    redirects = 0
    while True:
        answer = await _once(method, url, fields, body)
        place = answer.headers.get("location")
        if answer.status not in _REDIRECTS or not place or redirects == _MAX_REDIRECTS:
            return answer
        redirects += 1
        url = urljoin(url, place)
        if answer.status in _AS_GET:
            method, body = "GET", b""


async def _once(method: str, url: str, fields: Headers, body: bytes) -> RawResponse:
    parts = urlsplit(url)
    origin = Origin.parse(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    framing = (("Host", origin.host_header), ("Connection", "close"))
    length = (("Content-Length", str(len(body))),) if body or method == "POST" else ()
    head = request_head(method, target, (*framing, *fields, *length))
    async with Transport(origin, max_response_bytes=_MAX_ANSWER, read_timeout=None) as transport:
        return await transport.request(head, body)
