"""A Python function: its handler in a process of its own, replaced when a file is saved."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from faas_connector.local.environment import SecretValue
from faas_connector.local.function import Answer, Call, Log
from faas_connector.local.process import WorkerProcess
from faas_connector.local.worker_function import CantStartError, WorkerRunner

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


class PythonRunner(WorkerRunner):
    """Runs a Python function as the official templates do.

    When a file in its folder changes, a new process takes over as soon as it has imported the
    handler; the old one ends when its calls are answered, or stays when the new one can't start.
    """

    def __init__(self, function: PythonFunction, *, secret: SecretValue, log: Log) -> None:
        super().__init__(
            function.name,
            environment=function.environment,
            secrets=function.secrets,
            secret=secret,
            log=log,
        )
        self._folder = function.folder
        self._kind = function.kind

    async def start(self) -> None:
        """Begin to start; calls wait until it is done."""
        seen = _snapshot(self._folder)
        await super().start()
        self._spawn(self._watch(seen), "watch")

    def _worker(self, home: Path) -> tuple[str, list[str], Path]:
        if self._folder.is_dir():
            (home / "function").symlink_to(self._folder)  # as in the template's image
        return "python", [self._kind, str(self._folder)], home

    async def _answer(self, call: Call) -> Answer:
        if not (seconds := self._watchdog.exec_timeout):
            return await super()._answer(call)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await super()._answer(call)
        except TimeoutError:
            if not limit.expired():
                raise
            self._log(f"a call took longer than exec_timeout ({seconds} s)")
            return Answer(504, (("X-OpenFaaS-Internal", "of-watchdog"),))

    async def _watch(self, seen: object) -> None:
        pause = _POLL
        replacing: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(pause)
            begun = time.perf_counter()
            now = _snapshot(self._folder)
            pause = max(_POLL, 20 * (time.perf_counter() - begun))
            if now != seen:
                seen = now
                if replacing:  # it may hang in its import for ever
                    replacing.cancel()
                    await asyncio.wait([replacing])
                replacing = self._spawn(self._replace(), "replace")

    async def _replace(self) -> None:
        self._log("a file has changed: starting the function anew")
        if self._process is None or not self._process.usable:
            if self._starting and not self._starting.done():
                self._starting.cancel()
                await asyncio.wait([self._starting])
            self._failure, self._deaths = "", 0
            await asyncio.wait([self._begin()])
            return
        try:
            new = await self._launch()
        except CantStartError as error:
            self._log(f"the changed function can't start, so the old one stays: {error}")
            return
        self._switch_to(new)

    def _switch_to(self, new: WorkerProcess) -> None:
        old, self._process = self._process, new
        self._failure, self._deaths = "", 0
        if old is not None:  # it may have ended meanwhile
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
