"""A Python function: its handler in a process of its own, replaced when a file is saved."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path

import msgspec

from faas_connector.local.environment import (
    SecretValue,
    make_home,
    process_environment,
    secrets_in,
    watchdog_of,
)
from faas_connector.local.function import (
    Answer,
    Call,
    FunctionAbortedError,
    Log,
    pod_name,
)
from faas_connector.local.process import WorkerProcess, describe_status

KINDS = {
    "python3-http": "http",
    "python3-http-debian": "http",
    "python3-flask": "flask",
    "python3-flask-debian": "flask",
    "python3": "body",
    "python3-debian": "body",
}
"""The templates that run here, and how they call the handler."""

_POLL = 0.3  # s between looks at the handler's folder
_DRAIN = 60.0  # s that a replaced process may still work; the gateway waits no longer either
_RETRY_IMPORT = 1.0  # s before a handler that can't be imported is tried again
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.05, 2.0
_SKIPPED = frozenset({"__pycache__", "node_modules", "venv"})
_SCRATCH = ("~", ".swp", ".tmp", ".pyc")  # what editors and Python leave
_MOST_FILES = 5_000


class PythonFunction(msgspec.Struct, frozen=True, kw_only=True):
    """What a `PythonRunner` needs to know."""

    name: str
    kind: str
    """One of `KINDS`' values."""
    folder: Path
    """Of `handler.py`; absolute."""
    environment: dict[str, str] = {}
    secrets: tuple[str, ...] = ()


class _CantStartError(Exception):
    """The handler can't be used; the message is one line."""


class PythonRunner:
    """Runs a Python function as the official templates do.

    A call that comes while there is no process waits for a new one. A handler that can't be
    imported is a 500 with the reason, and is tried again after a second or when a file changes.
    """

    def __init__(self, function: PythonFunction, *, secret: SecretValue, log: Log) -> None:
        self.instance = pod_name(function.name)
        self._function = function
        self._secret = secret
        self._log = log
        self._watchdog = watchdog_of(function.environment)
        self._running = 0
        self._process: WorkerProcess | None = None
        self._processes: set[WorkerProcess] = set()
        self._starting: asyncio.Task[WorkerProcess] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaths = 0
        """Processes that ended without an answer since the last one."""
        self._failure = ""
        self._retry_at = 0.0
        self._stopped = False

    async def start(self) -> None:
        """Begin to start; calls wait until it is done."""
        seen = _snapshot(self._function.folder)
        self._begin()
        self._spawn(self._watch(seen), "watch")

    async def call(self, call: Call) -> Answer:
        limit = self._watchdog.max_inflight
        if limit and self._running >= limit:
            return self._watchdog.too_many()
        self._running += 1
        started = time.perf_counter()
        try:
            answer = await self._timed_call(call)
        finally:
            self._running -= 1
        took = f"{time.perf_counter() - started:.6f}"
        return Answer(answer.status, (*answer.headers, ("X-Duration-Seconds", took)), answer.body)

    async def _timed_call(self, call: Call) -> Answer:
        if not (seconds := self._watchdog.exec_timeout):
            return await self._answer(call)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._answer(call)
        except TimeoutError:
            if not limit.expired():
                raise
            self._log(f"a call took longer than exec_timeout ({seconds} s)")
            return Answer(504, (("X-OpenFaaS-Internal", "of-watchdog"),))

    async def _answer(self, call: Call) -> Answer:
        try:
            process = self._process
            if process is None or not process.usable:
                process = await self._started()
        except _CantStartError as error:
            text = f"The function {self._function.name} can't start: {error}\n"
            return Answer(500, (("Content-Type", "text/plain; charset=utf-8"),), text.encode())
        answer = await process.call(call)
        self._deaths = 0
        return answer

    async def _started(self) -> WorkerProcess:
        starting = self._begin()
        await asyncio.wait([starting])  # it goes on when this call is cancelled
        if starting.cancelled():
            raise FunctionAbortedError
        return starting.result()

    async def stop(self) -> None:
        self._stopped = True
        tasks = [task for task in (*self._tasks, self._starting) if task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._starting and not self._starting.cancelled():
            self._starting.exception()  # it has been logged
        await asyncio.gather(*(process.stop() for process in self._processes))
        self._processes.clear()

    def _spawn(self, coroutine: Coroutine[None, None, None], what: str) -> None:
        task = asyncio.create_task(coroutine, name=f"{self.instance} {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self) -> asyncio.Task[WorkerProcess]:
        """The task that gives a process that can be called; there is one at a time."""
        if self._stopped:
            raise FunctionAbortedError
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(
                self._usable_process(), name=f"{self.instance} start"
            )
            # Nobody may be waiting; it has been logged.
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._starting

    async def _usable_process(self) -> WorkerProcess:
        if self._process and self._process.usable:
            return self._process
        now = asyncio.get_running_loop().time
        if self._failure and now() < self._retry_at:
            raise _CantStartError(self._failure)
        if self._deaths > 1:
            wait = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(self._deaths - 2, 10))
            await asyncio.sleep(wait)
        try:
            self._process = await self._launch()
        except _CantStartError as error:
            if str(error) != self._failure:
                self._log(f"the function can't start: {error}")
            self._failure = str(error)
            self._retry_at = now() + _RETRY_IMPORT
            raise
        self._failure = ""
        return self._process

    async def _launch(self) -> WorkerProcess:
        function = self._function
        try:
            home = make_home(function.secrets, self._secret, self._log)
        except OSError as error:
            raise _CantStartError(f"there is no place for its secrets: {error}") from error
        if function.folder.is_dir():
            (home / "function").symlink_to(function.folder)  # as in the template's image
        process = WorkerProcess(
            "python",
            [function.kind, str(function.folder)],
            home=home,
            environment=process_environment(
                function.environment, hostname=self.instance, secrets=secrets_in(home)
            ),
            folder=home,
            log=self._log,
            on_end=self._ended,
        )
        self._processes.add(process)
        if failure := await process.start():
            await self._discard(process)
            raise _CantStartError(failure)
        return process

    async def _discard(self, process: WorkerProcess) -> None:
        await process.stop()
        self._processes.discard(process)

    def _ended(self, process: WorkerProcess) -> None:
        if process is self._process:
            self._process = None
        self._deaths += 1
        self._log(
            f"the function's process ended ({describe_status(process.status)}); "
            "the next call starts it again"
        )
        if not self._stopped:
            self._spawn(self._discard(process), "discard")

    async def _watch(self, seen: object) -> None:
        pause = _POLL
        while True:
            await asyncio.sleep(pause)
            begun = time.perf_counter()
            now = _snapshot(self._function.folder)
            pause = max(_POLL, 20 * (time.perf_counter() - begun))
            if now != seen:
                seen = now
                await self._replace()

    async def _replace(self) -> None:
        if self._starting and not self._starting.done():
            await asyncio.wait([self._starting])
        self._log("a file has changed: starting the function anew")
        old = self._process
        if old is None or not old.usable:
            self._failure, self._deaths = "", 0
            await asyncio.wait([self._begin()])
            return
        try:
            new = await self._launch()
        except _CantStartError as error:
            self._log(f"the changed function can't start, so the old one stays: {error}")
            return
        self._process, self._failure, self._deaths = new, "", 0
        self._spawn(self._drain(old), "drain")

    async def _drain(self, process: WorkerProcess) -> None:
        try:
            async with asyncio.timeout(_DRAIN):
                await process.drained()
        except TimeoutError:
            self._log(f"a replaced process still had calls after {_DRAIN:.0f} s; it was ended")
        await self._discard(process)


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file below the folder was changed, and its size."""
    found: dict[str, tuple[int, int]] = {}
    pending = [str(folder)]
    while pending and len(found) < _MOST_FILES:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    _look_at(entry, found, pending)
        except OSError:
            continue  # the folder was removed meanwhile
    return found


def _look_at(
    entry: os.DirEntry[str], found: dict[str, tuple[int, int]], pending: list[str]
) -> None:
    if entry.name.startswith(".") or entry.name in _SKIPPED or entry.name.endswith(_SCRATCH):
        return
    if entry.is_dir(follow_symlinks=False):
        pending.append(entry.path)
        return
    with suppress(OSError):  # the file was removed meanwhile
        status = entry.stat()
        found[entry.path] = (status.st_mtime_ns, status.st_size)
