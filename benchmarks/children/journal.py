"""Events made safe on disk: by the journal, or appended to a plain file in groups."""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import queue
import sqlite3
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from benchmarks.children.counting import Committing
from faas_connector import Event
from faas_connector.loops import event_runner
from faas_connector.store import Entry, State
from faas_connector.stores.codec import encode_head
from faas_connector.stores.sqlite import SqliteStore

_AT_A_TIME = 1000
Keep = Callable[[Event], Awaitable[None]]


class _File:
    """Appends what has gathered, and syncs it, in a thread of its own."""

    def __init__(self, path: str) -> None:
        self.syncs = 0
        self._descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    async def keep(self, event: Event) -> None:
        """Return once it is on disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        topic = event.topic.encode()
        self._jobs.put((b"".join([topic, encode_head(event), event.data]), done))
        await done

    def close(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        self._thread.join()
        os.close(self._descriptor)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            while not self._jobs.empty() and (more := self._jobs.get()) is not None:
                group.append(more)
            os.write(self._descriptor, b"".join(data for data, _ in group))
            os.fdatasync(self._descriptor)
            self.syncs += 1
            self._loop.call_soon_threadsafe(_tell, [done for _, done in group])


def _tell(waiting: list[asyncio.Future[None]]) -> None:
    for done in waiting:
        done.set_result(None)


@asynccontextmanager
async def _journal(folder: str) -> AsyncGenerator[tuple[Keep, Callable[[], int]]]:
    sqlite3.connect = functools.partial(sqlite3.connect, factory=Committing)  # type: ignore[assignment]
    async with SqliteStore(f"{folder}/state") as store:
        yield _Group(store).keep, lambda: Committing.commits


class _Group:
    """Appends what comes in a turn of the loop in one go, as the engine does."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._new: list[tuple[Entry, asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep(self, event: Event) -> None:
        """Return once it is on disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        if not self._new:
            task = self._loop.create_task(self._append())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._new.append((Entry(state=State.JOURNAL, source="push", event=event), done))
        await done

    async def _append(self) -> None:
        new, self._new = self._new, []
        for number in await self._store.append([entry for entry, _ in new]):
            assert isinstance(number, int), number
        _tell([done for _, done in new])


@asynccontextmanager
async def _plain(folder: str) -> AsyncGenerator[tuple[Keep, Callable[[], int]]]:
    file = _File(f"{folder}/events")
    try:
        yield file.keep, lambda: file.syncs
    finally:
        file.close()


_Subject = Callable[[str], AbstractAsyncContextManager[tuple[Keep, Callable[[], int]]]]
_SUBJECTS: dict[str, _Subject] = {"journal": _journal, "plain": _plain}


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """Events per second and per fsync, and microseconds of CPU per event."""
    event = Event("orders", b"x" * options.body, {"X-Message-Id": "1"})
    with tempfile.TemporaryDirectory() as folder:
        async with _SUBJECTS[options.subject](folder) as (keep, syncs):

            async def work(numbers: Iterator[int]) -> None:
                for _ in numbers:
                    await keep(event)

            async def load(count: int) -> None:
                numbers = iter(range(count))
                await asyncio.gather(*(work(numbers) for _ in range(_AT_A_TIME)))

            await load(_AT_A_TIME)
            before, began, cpu = syncs(), time.perf_counter(), time.process_time()
            await load(options.count)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            synced = syncs() - before
    return {
        "rate": options.count / seconds,
        "cpu": cpu / options.count * 1e6,
        "per_fsync": options.count / synced,
    }


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=tuple(_SUBJECTS))
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--body", type=int, default=1024)
    options = parser.parse_args()
    with event_runner() as runner:
        print(json.dumps(runner.run(measure(options))))


if __name__ == "__main__":
    main()
