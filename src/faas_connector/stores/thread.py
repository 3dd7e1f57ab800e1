"""The thread that has the database's connection: what has gathered is done in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from faas_connector.errors import StoreError, StoreFullError
from faas_connector.store import Entry
from faas_connector.stores import schema
from faas_connector.stores.failures import explained, is_of_one, needs_reopening
from faas_connector.stores.rows import Append, Removal


class Unsynced:
    """Work that need not be on disk at once: it outlives the process, though not a power cut."""

    __slots__ = ("do",)

    def __init__(self, do: Callable[[sqlite3.Connection], Any]) -> None:
        self.do = do


class Sync:
    """Work that is nothing but having on disk what was done before."""

    __slots__ = ()


Work = Append | Removal | Unsynced | Sync | Callable[[sqlite3.Connection], Any]
"""What is to be done."""

# Operations that share one transaction, and so one fsync.
_MOST_GROUPED = 2000
# Seconds to wait for another process that holds the database.
_BUSY = 5.0
_SIMPLE = {Append, Removal}
_Job = tuple[Work, "asyncio.Future[Any]"]
_Remove = Callable[[sqlite3.Connection, Sequence[int]], None]
_Append = Callable[[sqlite3.Connection, Sequence[Entry]], Sequence[int | StoreFullError]]
_Result = tuple["asyncio.Future[Any]", Any]
"""Who waits, and for what; a StoreError is raised there."""


class StoreThread:
    """The thread that owns the connection: does what has gathered in one transaction."""

    def __init__(
        self,
        path: Path,
        opened: Callable[[sqlite3.Connection], None],
        append: _Append,
        remove: _Remove,
    ) -> None:
        self._path = path
        self._opened = opened
        self._append = append
        self._remove = remove
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._connection: sqlite3.Connection | None = None
        self._is_synced: bool | None = None
        """Whether the connection syncs what it commits, as it was told last."""
        self._has_unsynced = False
        """Whether a power cut would undo anything."""
        self._thread = threading.Thread(
            target=self._run, name=f"faas-connector store {path.parent.name}", daemon=True
        )
        self._ended = self._loop.create_future()
        self._thread.start()

    def do(self, work: Work) -> Awaitable[Any]:
        """Do it within a transaction; what this returns is on disk."""
        done: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((work, done))
        return done

    async def aclose(self) -> None:
        """Do what was asked for, and end."""
        self._jobs.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                jobs, is_last = self._gather(job)
                work = [each for each in jobs if not isinstance(each[0], Sync)]
                if work:
                    self._tell(self._do_all(work))
                if len(work) < len(jobs):  # last, so that the others need not wait for the disk
                    self._tell(self._sync([each for each in jobs if isinstance(each[0], Sync)]))
                if is_last:
                    break
        finally:
            self._close()
            self._tell([(self._ended, None)])

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        jobs = [first]
        with contextlib.suppress(queue.Empty):
            while len(jobs) < _MOST_GROUPED:
                job = self._jobs.get_nowait()
                if job is None:
                    return jobs, True
                jobs.append(job)
        return jobs, False

    def _tell(self, results: list[_Result]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(_finish, results)

    def _do_all(self, jobs: list[_Job]) -> list[_Result]:
        """All of them; where that fails, and one of them may be why, each by itself."""
        try:
            return self._transaction(jobs)
        except Exception as error:  # whatever it is, who asked must hear, and the thread live on
            if is_of_one(error):
                if len(jobs) > 1:
                    return [result for job in jobs for result in self._do_all([job])]
                work, done = jobs[0]
                if isinstance(work, Append) and len(work.entries) > 1:
                    return [(done, [self._append_alone(entry, done) for entry in work.entries])]
            return self._failed(jobs, error)

    def _failed(self, jobs: list[_Job], error: Exception) -> list[_Result]:
        failure = explained(error, self._path)
        if needs_reopening(error):
            self._close()
        return [(done, failure) for _, done in jobs]

    def _append_alone(self, entry: Entry, done: asyncio.Future[Any]) -> int | StoreError:
        [(_, result)] = self._do_all([(Append([entry]), done)])
        return result if isinstance(result, StoreError) else result[0]

    def _transaction(self, jobs: list[_Job]) -> list[_Result]:
        connection = self._open()
        results: list[_Result] = []
        is_synced = not all(isinstance(work, Unsynced) for work, _ in jobs)
        if self._is_synced is not is_synced:
            schema.set_synced(connection, is_synced=is_synced)
            self._is_synced = is_synced
        connection.execute("BEGIN IMMEDIATE")
        try:
            if is_synced and self._has_unsynced:
                schema.touch(connection)
            for is_simple, some in _runs(jobs):
                results += (self._change if is_simple else self._work)(connection, some)
            connection.execute("COMMIT")
            self._has_unsynced = not is_synced
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self._recount(connection)
            raise
        return results

    def _sync(self, jobs: list[_Job]) -> list[_Result]:
        """Bring to the disk what isn't there, into the file itself if that can be."""
        try:
            is_done = not self._has_unsynced or schema.checkpoint(self._open())
        except Exception as error:  # what a disk failed to take once, it may seem to have later
            return self._failed(jobs, error)
        if not is_done:  # others read the file: it stays in the log
            return self._do_all(jobs)
        self._has_unsynced = False
        return [(done, None) for _, done in jobs]

    def _change(self, connection: sqlite3.Connection, jobs: Iterable[_Job]) -> list[_Result]:
        """Removals together, then new journal entries together.

        Nobody knows an entry's id before it is on disk: no removal is of one of these.
        """
        results: list[_Result] = []
        removed = list[int]()
        entries, waiting = list[Entry](), list[tuple["asyncio.Future[Any]", int]]()
        for work, done in jobs:
            if isinstance(work, Append):
                entries += work.entries
                waiting.append((done, len(work.entries)))
            elif isinstance(work, Removal):
                removed += work.ids
                results.append((done, []))
        self._remove(connection, removed)
        appended = iter(self._append(connection, entries))
        for done, count in waiting:
            own = [next(appended)] if count == 1 else [*islice(appended, count)]
            results.append((done, own))
        return results

    def _work(self, connection: sqlite3.Connection, jobs: Iterable[_Job]) -> list[_Result]:
        """Everything else, one after another."""
        results: list[_Result] = []
        for work, done in jobs:
            assert not isinstance(work, Append | Removal)  # noqa: S101
            do = work.do if isinstance(work, Unsynced) else work
            try:
                results.append((done, None if isinstance(do, Sync) else do(connection)))
            except StoreFullError as refusal:  # before anything was written
                results.append((done, refusal))
        return results

    def _recount(self, connection: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._opened(connection)

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and not self._path.exists():
            self._close()
            raise StoreError(
                f"the store {self._path} was removed while it was in use: put it back, or start "
                "again to begin with an empty one"
            )
        if self._connection is None:
            if not self._path.exists():
                schema.create(self._path)
            version = schema.version_of(self._path)
            if version < len(schema.MIGRATIONS):
                schema.migrate(self._path, version)
            connection = schema.open_database(self._path, _BUSY)
            self._opened(connection)
            self._connection = connection
            self._is_synced = None
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _runs(jobs: list[_Job]) -> Iterable[tuple[bool, Iterable[_Job]]]:
    """Jobs of one kind that follow each other; whether they are simple, as nearly all are."""
    if {type(work) for work, _ in jobs} <= _SIMPLE:
        return [(True, jobs)]
    return groupby(jobs, key=lambda job: type(job[0]) in _SIMPLE)


def _finish(results: list[_Result]) -> None:
    for done, result in results:
        if done.done():
            continue  # whoever asked was cancelled
        if isinstance(result, StoreError):
            done.set_exception(result)
        else:
            done.set_result(result)
