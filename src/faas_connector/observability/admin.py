"""The admin port: health, readiness and metrics over HTTP, for probes and for Prometheus.

It is served from a thread of its own. So `/healthz` is answered while the event loop is stuck, and
says so; nothing else of it depends on what the loop does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from faas_connector.errors import ConfigError, MissingExtraError
from faas_connector.gateway.http1 import Request
from faas_connector.metrics import Report
from faas_connector.observability.definitions import Render
from faas_connector.serving.connection import ServerLimits
from faas_connector.serving.listener import Port, PortInUseError, address_of
from faas_connector.serving.reply import PLAIN, Reply
from faas_connector.serving.server import Server

_log = logging.getLogger("faas_connector.admin")

STUCK_AFTER: Final = 10.0
"""Seconds without progress of the event loop after which it counts as stuck."""
# Seconds that the loop may take to say how it stands.
_PATIENCE = 5.0
_LIMITS = ServerLimits(
    max_head_bytes=16 * 1024,
    max_body_bytes=0,
    read_timeout=10.0,
    write_timeout=10.0,
    max_connections=64,
    answers_half_closed=True,
)
_PAGES = "/healthz, /readyz, /metrics"

TakeReport = Callable[[], Coroutine[Any, Any, Report]]
"""How a connector stands now; called on its event loop."""


def admin_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `:PORT` or `PORT`; without a host it is loopback.

    Raises:
        ConfigError: it is none.
    """
    host, colon, port = text.rpartition(":")
    try:
        return address_of(text if host and colon else f"127.0.0.1:{port}")
    except ConfigError as error:
        raise ConfigError(
            f"admin must be an address to listen on, got {text!r}; for example 127.0.0.1:9090, or "
            "0.0.0.0:9090 for all who reach this machine"
        ) from error


class _Pulse:
    """Beats while the event loop makes progress; felt from any thread."""

    def __init__(self, stuck_after: float) -> None:
        self._stuck_after = stuck_after
        self._loop = asyncio.get_running_loop()
        self._last = 0.0
        self._beat()

    def _beat(self) -> None:
        self._last = time.monotonic()
        self._next = self._loop.call_later(min(1.0, self._stuck_after / 4), self._beat)

    def stuck_for(self) -> float | None:
        """Seconds without progress; None while that is nothing to worry about."""
        silence = time.monotonic() - self._last
        return silence if silence > self._stuck_after else None

    def stop(self) -> None:
        self._next.cancel()


class _Pages:
    """What is answered, on the loop of the admin thread."""

    def __init__(self, pulse: _Pulse, take: TakeReport) -> None:
        self._pulse = pulse
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._render = _renderer()

    def __call__(self, request: Request, _peer: str) -> Reply | Coroutine[None, None, Reply]:
        path = request.target.partition("?")[0]
        if request.method not in {"GET", "HEAD"}:
            return _said(405, "this port is for reading", ("Allow", "GET, HEAD"))
        if path == "/healthz":
            return self._stuck() or _said(200, "ok")
        if path == "/readyz":
            return self._readiness()
        if path == "/metrics":
            return self._metrics()
        return _said(404, f"there is only {_PAGES}")

    def _stuck(self) -> Reply | None:
        seconds = self._pulse.stuck_for()
        if seconds is None:
            return None
        return _said(503, f"the event loop has made no progress for {seconds:.0f} s")

    async def _readiness(self) -> Reply:
        report = await self._report()
        if isinstance(report, Reply):
            return report
        reasons = report.unready()
        return _said(503, "\n".join(reasons)) if reasons else _said(200, "ok")

    async def _metrics(self) -> Reply:
        if isinstance(self._render, Reply):
            return self._render
        report = await self._report()
        if isinstance(report, Reply):
            return report
        kind, text = self._render(report)
        return Reply(200, (("Content-Type", kind),), text)

    async def _report(self) -> Report | Reply:
        """How the connector stands, asked on its own loop."""
        if stuck := self._stuck():
            return stuck
        asked = asyncio.run_coroutine_threadsafe(self._take(), self._loop)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.wrap_future(asked)
        except TimeoutError:
            return self._stuck() or _said(503, f"there was no report within {_PATIENCE:g} s")


def _renderer() -> Render | Reply:
    """What writes the metrics, or what is answered where that is not installed.

    Not only when somebody asks: importing it takes as long as thousands of events.
    """
    try:
        from faas_connector.observability.prometheus import renderer  # noqa: PLC0415  # an extra
    except MissingExtraError as error:
        return _said(501, str(error))
    return renderer()


def _said(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    return Reply(status, (PLAIN, *headers), f"{text}\n".encode("utf-8", "replace"))


@asynccontextmanager
async def serve_admin(
    address: str, take: TakeReport, *, stuck_after: float = STUCK_AFTER
) -> AsyncGenerator[tuple[str, int]]:
    """Serve `/healthz`, `/readyz` and `/metrics` until this is left; gives host and port.

    - `/healthz`: 503 once the event loop has made no progress for `stuck_after` seconds, else 200.
    - `/readyz`: 503, with the reasons a line each, while there are any (see `Report.unready`).
    - `/metrics`: Prometheus' text format.

    Args:
        address: `HOST:PORT`; port 0 takes a free one.
        take: how the connector stands; called on the running loop.
        stuck_after: seconds.

    Raises:
        ConfigError: the address can't work.
        PortInUseError: somebody else listens there.
    """
    host, number = admin_address(address)
    try:
        port = Port(host, number)
    except PortInUseError as error:
        raise PortInUseError(error.errno, f"admin: {error.strerror}") from error
    try:
        pulse = _Pulse(stuck_after)
        try:
            pages = _Pages(pulse, take)
            with _serving(port, pages):
                _log.info("admin: http://%s (%s)", _authority(port), _PAGES)
                yield port.host, port.number
        finally:
            pulse.stop()
    finally:
        port.close()


def _authority(port: Port) -> str:
    return f"[{port.host}]:{port.number}" if ":" in port.host else f"{port.host}:{port.number}"


@contextmanager
def _serving(port: Port, pages: _Pages) -> Generator[None]:
    """A thread with a loop of its own that serves the pages."""
    loop, over = asyncio.new_event_loop(), asyncio.Event()
    listening = port.listen()

    def serve() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_serve(listening, pages, over))

    thread = threading.Thread(target=serve, name="faas-connector admin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # it has failed, and its loop is closed
            loop.call_soon_threadsafe(over.set)
        thread.join()  # it waits for nothing that this thread would have to do


async def _serve(listening: socket.socket, pages: _Pages, over: asyncio.Event) -> None:
    server = Server(pages, _LIMITS, name="admin port")
    try:
        await server.listen(listening)
        await over.wait()
    finally:
        await server.close()
