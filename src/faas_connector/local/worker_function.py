"""A function that a worker process runs: started, called, started again, stopped."""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path

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

_RETRY_FAILED = 1.0  # s before a function that can't start is tried again
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.05, 2.0


class CantStartError(Exception):
    """The function can't work; the message is one line."""


class WorkerRunner(abc.ABC):
    """Keeps one worker process for a function.

    A call that comes while there is no process waits for a new one. A function that can't start is
    a 500 with the reason, and is tried again a second later. A process that dies takes its own
    calls with it; after several deaths without an answer the next one is started later, by at most
    two seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        environment: dict[str, str],
        secrets: tuple[str, ...],
        secret: SecretValue,
        log: Log,
    ) -> None:
        self.instance = pod_name(name)
        self._name = name
        self._environment = environment
        self._secrets = secrets
        self._secret = secret
        self._log = log
        self._watchdog = watchdog_of(environment)
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

    @abc.abstractmethod
    def _worker(self, home: Path) -> tuple[str, list[str], Path]:
        """The worker's program, its arguments, and the folder where it starts."""

    async def start(self) -> None:
        """Begin to start; calls wait until it is done."""
        self._begin()

    async def call(self, call: Call) -> Answer:
        limit = self._watchdog.max_inflight
        if limit and self._running >= limit:
            return self._watchdog.too_many()
        self._running += 1
        started = time.perf_counter()
        try:
            answer = await self._answer(call)
        finally:
            self._running -= 1
        took = f"{time.perf_counter() - started:.6f}"
        return Answer(answer.status, (*answer.headers, ("X-Duration-Seconds", took)), answer.body)

    async def _answer(self, call: Call) -> Answer:
        try:
            process = self._process
            if process is None or not process.usable:
                process = await self._started()
        except CantStartError as error:
            text = f"The function {self._name} can't start: {error}\n"
            return Answer(500, (("Content-Type", "text/plain; charset=utf-8"),), text.encode())
        answer = await process.call(call)
        self._deaths = 0
        return answer

    async def _started(self) -> WorkerProcess:
        while True:
            starting = self._begin()
            await asyncio.wait([starting])  # it goes on when this call is cancelled
            if not starting.cancelled():  # else it was replaced, or all is stopped
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

    def _spawn(self, coroutine: Coroutine[None, None, None], what: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=f"{self.instance} {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

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
            raise CantStartError(self._failure)
        if self._deaths > 1:
            wait = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(self._deaths - 2, 10))
            await asyncio.sleep(wait)
        try:
            process = await self._launch()
        except CantStartError as error:
            if str(error) != self._failure:
                self._log(f"the function can't start: {error}")
            self._failure = str(error)
            self._retry_at = now() + _RETRY_FAILED
            raise
        self._failure = ""
        if self._process and self._process.usable:  # another one was quicker
            self._spawn(self._discard(process), "discard")
            return self._process
        self._process = process
        return process

    async def _launch(self) -> WorkerProcess:
        try:
            home = make_home(self._secrets, self._secret, self._log)
        except OSError as error:
            raise CantStartError(f"there is no place for its secrets: {error}") from error
        program, arguments, folder = self._worker(home)
        environment = process_environment(
            self._environment, hostname=self.instance, secrets=secrets_in(home)
        )
        process = WorkerProcess(
            program,
            arguments,
            home=home,
            environment=environment,
            folder=folder,
            log=self._log,
            on_end=self._ended,
        )
        self._processes.add(process)
        try:
            failure = await process.start()
        except asyncio.CancelledError:
            await self._discard(process)
            raise
        if failure:
            await self._discard(process)
            raise CantStartError(failure)
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
