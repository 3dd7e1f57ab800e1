"""Runs the handler of one Python function: a thread for each call, answers as they come."""

from __future__ import annotations

import atexit
import builtins
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, NoReturn

from faas_connector.local.worker import wire
from faas_connector.local.worker.event import (
    BadResponseError,
    Context,
    Event,
    Response,
    response_of,
)
from faas_connector.local.worker.guard import guard
from faas_connector.local.worker.handler import HandlerError, load_handler

MAX_THREADS = 256
"""Calls that run at a time; more wait their turn."""
_SECRETS = "/var/openfaas/secrets/"
_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_METHODS = {
    "http": ("GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"),
    "body": ("POST", "GET", "HEAD", "PUT", "PATCH", "DELETE"),
    "flask": ("POST", "GET", "HEAD"),
}


def main(arguments: list[str]) -> NoReturn:
    """The program: channel and life (descriptors), home, kind of template, folder."""
    channel, life = int(arguments[0]), int(arguments[1])
    home, kind, folder = arguments[2:5]
    for fd in (channel, life):
        os.set_inheritable(fd, False)
    guard(life, channel, home, lambda: _serve(channel, home, kind, folder))


def _serve(channel: int, home: str, kind: str, folder: str) -> NoReturn:
    _prepare(home)
    out = _Channel(channel)
    try:
        handle = load_handler(folder)
    except HandlerError as error:
        out.send(wire.pack_answer(wire.CONTROL, wire.FAILED, (), str(error).encode()))
        _end(1)
    out.send(wire.pack_answer(wire.CONTROL, wire.READY, (), b""))
    crew = _Crew(_Calls(handle, kind, out))
    buffer = wire.RequestBuffer()
    for chunk in out.chunks():
        for request in buffer.feed(chunk):
            if len(request) > 1:  # a cancelled call can't be taken from its thread
                crew.put(request)
    _end(0)


def _prepare(home: str) -> None:
    """Look like the template's image: its folder, its log, its secrets."""
    os.chdir(home)
    sys.argv = ["index.py"]
    sys.path.insert(0, home)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    if not os.path.isdir(_SECRETS):  # noqa: PTH112  (pathlib takes 5 ms)
        _redirect_secrets(os.environ["secret_mount_path"] + "/")  # noqa: SIM112


def _redirect_secrets(folder: str) -> None:
    """Let handlers open the secrets where OpenFaaS puts them: they write that path out."""
    real: Callable[..., Any] = io.open

    def open_secret(file: Any, *args: Any, **kwargs: Any) -> Any:
        path = "" if isinstance(file, int | bytes) else str(file)
        moved = folder + path[len(_SECRETS) :] if path.startswith(_SECRETS) else file
        return real(moved, *args, **kwargs)

    builtins.open = io.open = open_secret


def _end(status: int) -> NoReturn:
    # Without the interpreter's own way out: it would wait for threads that never end.
    try:
        run_exit_functions: Callable[[], None] = getattr(atexit, "_run_exitfuncs")  # noqa: B009
        run_exit_functions()
        sys.stdout.flush()
    finally:
        os._exit(status)


class _Channel:
    """The gateway's socket."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def chunks(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = os.read(self._fd, 262_144)
            except ConnectionResetError:
                return
            if not chunk:
                return
            yield chunk

    def send(self, frame: bytes) -> None:
        with self._lock:
            try:
                sent = os.write(self._fd, frame)
                if sent < len(frame):
                    rest = memoryview(frame)
                    while rest := rest[sent:]:
                        sent = os.write(self._fd, rest)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the gateway is gone, and the guard is on its way


class _Crew:
    """Threads for calls: as many as are needed at a time, and no call waits behind a slow one."""

    def __init__(self, work: Callable[[wire.Request], None]) -> None:
        self._work = work
        self._queue: SimpleQueue[wire.Request] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0  # threads less calls that are waiting or running

    def put(self, request: wire.Request) -> None:
        with self._lock:
            self._free -= 1
            hire = self._free < 0 and self._threads < MAX_THREADS
            if hire:
                self._threads += 1
                self._free += 1
        self._queue.put(request)
        if hire:
            threading.Thread(target=self._run, name="call", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._work(self._queue.get())
            with self._lock:
                self._free += 1


class _Calls:
    """Answers one call after the other, whatever the handler does."""

    def __init__(self, handle: Callable[..., Any], kind: str, out: _Channel) -> None:
        self._handle = handle
        self._kind = kind
        self._out = out
        self._context = Context(os.environ.get("HOSTNAME", "localhost"))
        self._methods = _METHODS[kind]
        self._raw = os.environ.get("RAW_BODY", "").lower() in {"true", "1"}

    def __call__(self, request: wire.Request) -> None:
        call_id, method, path, query, fields, body = request
        try:
            status, headers, content = self._answer(method, path, query, fields, body)
            if len(content) > wire.MAX_ANSWER:
                raise BadResponseError(
                    f"handle returned {len(content)} bytes; at most {wire.MAX_ANSWER} are possible"
                )
            frame = wire.pack_answer(call_id, status, headers, content)
        except BadResponseError as error:
            _log(f"{error}\n")
            frame = wire.pack_answer(call_id, 500, [_TEXT], _failure(error))
        except BaseException as error:  # sys.exit() in a handler ends its call only
            _log_traceback(error)
            frame = wire.pack_answer(call_id, 500, [_TEXT], _failure(error))
        self._out.send(frame)

    def _answer(
        self, method: str, path: str, query: str, fields: tuple[tuple[str, str], ...], body: bytes
    ) -> Response:
        if method not in self._methods:
            allowed = ("Allow", ", ".join((*self._methods, "OPTIONS")))
            return (200 if method == "OPTIONS" else 405), [_TEXT, allowed], b""
        if self._kind == "http":
            return response_of(
                self._handle(Event(method, path, query, fields, body), self._context)
            )
        result = self._handle(body if self._raw else body.decode("utf-8", "replace"))
        status, headers, content = response_of(result)
        if self._kind == "body" and isinstance(result, str | bytes | None):
            headers = []  # the classic watchdog answers with the caller's Content-Type
        return status, headers, content


def _failure(error: BaseException) -> bytes:
    return f"The function failed ({type(error).__name__}); its log says more.\n".encode()


def _log_traceback(error: BaseException) -> None:
    import traceback  # noqa: PLC0415  (8 ms that only a failing handler needs)

    trace = error.__traceback__
    for _ in range(2):  # our own frames
        trace = trace.tb_next if trace and trace.tb_next else trace
    _log("".join(traceback.format_exception(type(error), error, trace)))


def _log(text: str) -> None:
    sys.stderr.write(text)
