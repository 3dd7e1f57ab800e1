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
from typing import IO

from faas_connector.local.channel import Channel, Life, LogReader
from faas_connector.local.function import Answer, Call, Log
from faas_connector.local.worker import boot
from faas_connector.local.worker.guard import GRACE, end_session, remove_folder

_BOOT = str(Path(boot.__file__).absolute())
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
        self._life = Life(self._ended)
        self._channel = Channel(self._life.write_eof)
        self._log = LogReader(log)
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
        command = [sys.executable, "-P", _BOOT, self._program]
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
        except (OSError, ValueError) as error:  # ValueError: a NUL in a variable
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
