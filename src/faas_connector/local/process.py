"""A worker process and the channel to it, on the gateway's side."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import IO, cast

import faas_connector
from faas_connector.local.function import Answer, Call, FunctionAbortedError, Headers, Log
from faas_connector.local.worker import wire
from faas_connector.local.worker.guard import GRACE, end_session, remove_folder

_PACKAGE = str(Path(faas_connector.__file__).parent)
# Starts a worker without running the package's own __init__, which imports far more than a worker
# needs, and hides nothing from a handler that imports faas_connector itself.
BOOT = """\
import sys
package, program, *arguments = sys.argv[1:]
for name, path in (("faas_connector", package), ("faas_connector.local", package + "/local")):
    sys.modules[name] = type(sys)(name)
    sys.modules[name].__path__ = [path]
main = __import__("faas_connector.local.worker." + program, fromlist=["main"]).main
for name in [name for name in sys.modules if name.startswith("faas_connector")]:
    del sys.modules[name]
main(arguments)
"""
_LONGEST_LINE = 64 * 1024  # of a log; a longer one is cut into several
_END_TIMEOUT = GRACE + 2.0
_LOG_TIMEOUT = 0.5  # s that a log may stay open once its processes are dead


class WorkerProcess:
    """One worker: started once, called many times, stopped once.

    Its calls fail with `FunctionAbortedError` when it goes away. `stop` leaves no process and no
    file of it behind; should the gateway be killed, the worker sees to that itself.
    """

    def __init__(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        home: Path,
        environment: Mapping[str, str],
        folder: Path,
        log: Log,
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        """Prepare.

        Args:
            program: the module in `faas_connector.local.worker`.
            arguments: what its `main` gets after channel, life and home.
            home: a folder of its own, removed at the end.
            environment: its variables, all of them.
            folder: where it starts.
            log: takes its output, line by line.
            on_end: called once, when it was ready and has ended without being stopped.
        """
        self._program = program
        self._arguments = arguments
        self._home = home
        self._environment = environment
        self._folder = folder
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._life = _Life(self._ended)
        self._channel = _Channel(self._life.write_eof)
        self._log = _LogReader(log)
        self._stopping = False
        self._status: int | None = None
        self._ready = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def usable(self) -> bool:
        """Whether it takes calls: it is ready and has not ended."""
        return self._ready and not self._channel.lost

    @property
    def status(self) -> int | None:
        """The exit status once it has ended (negative: the signal), None when nobody knows it."""
        return self._status

    async def start(self) -> str | None:
        """Start it and wait until it can be called; the reason in one line if it can't work."""
        channel, its_channel = socket.socketpair()
        life, its_life = socket.socketpair()
        log_fd, its_log_fd = os.pipe()
        log = os.fdopen(log_fd, "rb", buffering=0)
        ours: list[socket.socket | FileIO] = [channel, life, log]
        try:
            with its_channel, its_life, os.fdopen(its_log_fd, "wb") as its_log:
                failure = self._spawn(its_channel.fileno(), its_life.fileno(), its_log)
            if failure:
                return failure
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self._channel, sock=channel)
            ours.remove(channel)
            await loop.create_connection(lambda: self._life, sock=life)
            ours.remove(life)
            await loop.connect_read_pipe(lambda: self._log, log)
            ours.remove(log)
        finally:
            for end in ours:
                end.close()
        news = await self._channel.news
        if news is None:
            await self._life.closed.wait()
            return f"its process ended while it started, {describe_status(self._status)}"
        self._ready = not news
        return news or None

    def _spawn(self, channel: int, life: int, output: IO[bytes]) -> str | None:
        command = [sys.executable, "-P", "-c", BOOT, _PACKAGE, self._program]
        arguments = [str(channel), str(life), str(self._home), *self._arguments]
        try:
            self._process = subprocess.Popen(  # noqa: S603  (our own program)
                command + arguments,
                env=dict(self._environment),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(channel, life),
                start_new_session=True,
            )
        except OSError as error:
            return f"the process can't be started: {error}"
        return None

    async def call(self, call: Call) -> Answer:
        """The answer to one call.

        Raises:
            FunctionAbortedError: the process went away.
        """
        return await self._channel.call(call.method, call.path, call.query, call.headers, call.body)

    async def drained(self) -> None:
        """Wait until no call is running."""
        await self._channel.idle.wait()

    async def stop(self) -> None:
        """End it, within 3.5 s whatever it does."""
        self._stopping = True
        self._channel.close()
        self._life.write_eof()
        try:
            if self._life.connected:
                async with asyncio.timeout(_END_TIMEOUT):
                    await self._life.closed.wait()
        except TimeoutError:
            pass
        finally:
            self._finish()
        try:
            if self._log.connected:
                async with asyncio.timeout(_LOG_TIMEOUT):
                    await self._log.closed.wait()
        except TimeoutError:
            pass
        finally:
            self._log.close()

    def _ended(self, news: bytes) -> None:
        if news.removeprefix(b"-").isdigit():
            self._status = int(news)
        self._channel.close()
        self._finish()
        if self._ready and not self._stopping:
            self._on_end(self)

    def _finish(self) -> None:
        if self._process and self._process.returncode is None:
            if self._status is None:  # the guard didn't end by itself: nobody has tidied up
                end_session(self._process.pid)
            self._process.wait()
        self._life.close()
        remove_folder(str(self._home))


class _Channel(asyncio.Protocol):
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


class _Life(asyncio.Protocol):
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


class _LogReader(asyncio.Protocol):
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


def describe_status(status: int | None) -> str:
    """How a process ended: `exit status 3`, `killed by SIGKILL`."""
    if status is None:
        return "killed"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
