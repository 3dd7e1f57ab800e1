"""The pending store in a SQLite database: what it has confirmed is on disk."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from heapq import merge
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from faas_connector.errors import ConnectorError, StoreError, StoreFullError
from faas_connector.names import FunctionName
from faas_connector.store import (
    ONCE,
    Entry,
    Query,
    State,
    StoreCounts,
    finished,
    fits,
    in_turn,
    once_entry,
    within,
)
from faas_connector.stores import packs, parked, schema, statements
from faas_connector.stores.codec import string, text
from faas_connector.stores.folder import DATABASE, default_folder, prepare, run_lock
from faas_connector.stores.records import is_packable
from faas_connector.stores.rows import (
    Append,
    Removal,
    Row,
)
from faas_connector.stores.thread import StoreThread, Sync, Unsynced, Work

_T = TypeVar("_T")

_GIB = 1024**3


class SqliteStore:
    """Keeps entries in a folder of its own, 0700, in files that only their owner may read.

    Writes that come at a time share one transaction; each is on disk (`synchronous=FULL`) before
    its call returns. One thread does it all; it lives inside `async with`.

    Example:
        ```python
        async with SqliteStore("/var/lib/my-connector") as store:
            await controller.run(source, store=store)
        ```
    """

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        lock_wait: float | None = 60.0,
        max_journal_bytes: int = _GIB,
    ) -> None:
        """Choose the folder; nothing is touched before it is entered.

        Args:
            folder: of the state; None for the user's own (`$XDG_STATE_HOME/faas-connector`, else
                `~/.local/state/faas-connector`).
            lock_wait: seconds to wait until no other run uses the folder; None to look at it
                beside a run, as `dead-letters` does.
            max_journal_bytes: of the events in the journal; further ones are refused.
        """
        self.folder = default_folder() if folder is None else Path(folder).expanduser()
        self.path = self.folder / DATABASE
        self._lock_wait = lock_wait
        self._max_journal_bytes = max_journal_bytes
        self._owner = uuid.uuid4().hex
        self._stack = AsyncExitStack()
        self._thread: StoreThread | None = None
        self._journal_bytes = 0
        self._has_verdicts = False
        self._identity = ""

    async def __aenter__(self) -> Self:
        """Open it, or make it.

        Raises:
            StoreLockedError: another run has the folder, still after `lock_wait`.
            StoreVersionError: a newer version wrote it; it is left as it is.
            StoreError: it can't be made, read or written; the message says why.
        """
        async with AsyncExitStack() as stack:
            prepare(self.folder)
            if self._lock_wait is not None:
                await stack.enter_async_context(run_lock(self.folder, self._lock_wait))
            thread = StoreThread(self.path, self._opened, self._append, self._remove)
            self._thread = thread
            stack.push_async_callback(thread.aclose)
            await thread.do(lambda _: None)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the thread, and let go of the folder."""
        await self._stack.aclose()
        self._thread = None

    def _opened(self, connection: sqlite3.Connection) -> None:
        """Learn its identity, and count what is kept up to date from here on; in the thread."""
        (size,) = connection.execute(
            "SELECT coalesce(sum(size), 0) FROM entries WHERE state = 0"
        ).fetchone()
        self._journal_bytes = size + packs.totals(connection)[1]
        (name,) = connection.execute("SELECT name FROM identity").fetchone()
        self._identity = string(name)
        self._has_verdicts = bool(
            connection.execute(
                "SELECT EXISTS (SELECT 1 FROM entries WHERE position IS NOT NULL AND state <> 0)"
            ).fetchone()[0]
        )

    @overload
    def _do(self, work: Append) -> Awaitable[list[int | StoreError]]: ...

    @overload
    def _do(self, work: Removal) -> Awaitable[list[int]]: ...

    @overload
    def _do(self, work: Sync) -> Awaitable[None]: ...

    @overload
    def _do(self, work: Unsynced) -> Awaitable[Any]: ...

    @overload
    def _do(self, work: Callable[[sqlite3.Connection], _T]) -> Awaitable[_T]: ...

    def _do(self, work: Work) -> Awaitable[Any]:
        if self._thread is None:
            raise ConnectorError("the store is not open; use it inside `async with SqliteStore()`")
        return self._thread.do(work)

    @property
    def identity(self) -> str:
        """Tells this store from all others; known once it is entered."""
        return self._identity

    @property
    def has_verdicts(self) -> bool:
        """Whether `known` could find anything for any position; told without waiting."""
        return self._has_verdicts

    # Writing

    async def write(self, puts: Sequence[Entry] = (), removes: Sequence[int] = ()) -> list[int]:
        """Put and remove entries, all or none; see `Store.write`."""
        if not puts:
            return await self._do(Removal(removes)) if removes else []
        if len(puts) == 1 and not removes and is_packable(puts[0]):
            [number] = await self._do(Append(puts))
            if isinstance(number, StoreError):
                raise number
            return [number]
        rows = [Row(entry) for entry in puts]
        return await self._do(lambda connection: self._write(connection, rows, removes))

    async def append(self, entries: Sequence[Entry]) -> list[int | StoreError]:
        """Put new JOURNAL entries, each by itself; see `Store.append`."""
        return await self._do(Append(entries))

    def _append(
        self, connection: sqlite3.Connection, entries: Sequence[Entry]
    ) -> Sequence[int | StoreFullError]:
        """Put new journal entries; the id of each, or why it is refused. In the thread."""
        results = list[int | StoreFullError]()
        for may_share, run in groupby(entries, is_packable):
            some = [*run]
            results += (self._append_packed(connection, some) if may_share else ()) or [
                self._append_one(connection, entry) for entry in some
            ]
        return results

    def _append_packed(
        self, connection: sqlite3.Connection, entries: Sequence[Entry]
    ) -> Sequence[int]:
        """Their ids; none where they are not to share rows."""
        if len(entries) >= packs.LEAST:
            with contextlib.suppress(UnicodeEncodeError):
                new = packs.packs_of(entries)
                if self._has_room(sum(len(records) for _, records in new)):
                    return packs.put(connection, new)
        return ()

    def _append_one(self, connection: sqlite3.Connection, entry: Entry) -> int | StoreFullError:
        row = Row(entry)
        return statements.put(connection, row) if self._has_room(row.size) else self._is_full()

    def _has_room(self, size: int) -> bool:
        """Whether the journal has room for so many bytes, which are then taken."""
        grown = self._journal_bytes + size
        if size and grown > self._max_journal_bytes:
            return False
        self._journal_bytes = grown
        return True

    def _is_full(self) -> StoreFullError:
        return StoreFullError(
            f"the journal in {self.folder} holds {self._journal_bytes} bytes and may hold "
            f"{self._max_journal_bytes}: it takes events again when others are settled, or raise "
            "max_journal_bytes"
        )

    def _write(
        self, connection: sqlite3.Connection, rows: Sequence[Row], removes: Sequence[int]
    ) -> list[int]:
        grown = sum(row.size for row in rows if row.state == schema.JOURNAL)
        if grown and self._journal_bytes + grown > self._max_journal_bytes:
            raise self._is_full()
        self._remove(connection, removes)
        replaced = [row.id for row in rows if row.id]
        self._journal_bytes -= statements.journal_size(connection, replaced)
        if replaced:
            for row in rows:
                if row.keeps_event:
                    packs.unpack_damaged(connection, row.id)
            freed, _ = packs.remove(connection, replaced)
            self._journal_bytes -= freed
        ids = [statements.put(connection, row) for row in rows]
        statements.unclaim(connection, replaced)
        self._journal_bytes += grown
        self._has_verdicts = self._has_verdicts or any(row.is_verdict for row in rows)
        return ids

    def _remove(self, connection: sqlite3.Connection, ids: Sequence[int]) -> None:
        if not ids:
            return
        freed, others = packs.remove(connection, ids)
        self._journal_bytes -= freed
        if others:
            self._journal_bytes -= statements.journal_size(connection, others)
            statements.remove(connection, others)
        statements.unclaim(connection, ids)

    async def write_once(self, entry: Entry, key: str, *, now: float, until: float) -> int | None:
        """Put a new entry, unless its source has this key; see `Store.write_once`."""
        remembered = Row(once_entry(entry.source, key, now, until))
        rows = [Row(entry), remembered]
        place = (text(entry.source), text(f"{ONCE}{key}"), now)

        def put(connection: sqlite3.Connection) -> int | None:
            if connection.execute(statements.HAS_KEY, place).fetchone():
                return None
            return self._write(connection, rows, ())[0]

        return await self._do(put)

    async def finish(
        self,
        ids: Sequence[int],
        *,
        until: float,
        puts: Sequence[Entry] = (),
        removes: Sequence[int] = (),
        synced: bool = True,
    ) -> None:
        """Make entries of functions DONE until then; see `Store.finish`."""
        rows = [Row(entry) for entry in puts]

        def finish(connection: sqlite3.Connection) -> None:
            if rows or removes:
                self._write(connection, rows, removes)
            if ids:
                statements.unclaim(connection, ids)
                if self._journal_bytes:
                    self._journal_bytes -= statements.journal_size(connection, ids)
                    journalled = packs.find(connection, ids)
                    if journalled:
                        done = [Row(finished(entry, until)) for entry in journalled]
                        self._write(connection, done, ())
                statements.finish(connection, ids, until)
                self._has_verdicts = True

        await self._do(finish if synced else Unsynced(finish))

    def sync(self) -> Awaitable[None]:
        """Have on disk what was written without that; see `Store.sync`."""
        return self._do(Sync())

    async def forget(self, now: float) -> int:
        """Remove the DONE entries whose time is over; how many there were."""
        return await self._do(
            lambda connection: (
                connection.execute(
                    "DELETE FROM entries WHERE state = 3 AND due <= ?", (now,)
                ).rowcount
            )
        )

    # Reading

    async def known(self, source: str, position: str) -> list[Entry]:
        """The entries of one event of a source, in any state, without their events."""
        where = "source = ? AND position = ?"
        values = (text(source), text(position))
        return await self._do(
            lambda connection: statements.entries(connection, where, values, bare=True)
        )

    async def due(
        self,
        now: float,
        *,
        limit: int,
        held: Collection[int] = (),
        paused: Collection[FunctionName] = (),
        only: FunctionName | None = None,
        max_bytes: float = math.inf,
    ) -> list[Entry]:
        """JOURNAL entries, then PARKED ones that are due; see `Store.due`."""
        ours = frozenset(held)
        in_hand = json.dumps([*ours])

        def find(connection: sqlite3.Connection) -> list[Entry]:
            found = list[Entry]()
            if only is None:
                rows = statements.each(connection, statements.JOURNAL_BUT, (in_hand,))
                alone = (entry for entry in rows if entry.function not in paused)
                journal = merge(alone, packs.read(connection, but=ours), key=_id_of)
                found = within(islice(journal, limit), max_bytes)
            left = max_bytes - sum(len(each.event.data) for each in found if each.event)
            if len(found) < limit and left > 0:
                room = limit - len(found)
                asked = (
                    [parked.raw(only)] if only else parked.functions(connection, paused, until=now)
                )
                ids = in_turn(
                    [
                        parked.due_ids(connection, function, now, in_hand, room)
                        for function in asked
                    ],
                    room,
                )
                first = json.dumps(ids)
                found += within(statements.each(connection, statements.OF_IDS, (first,)), left)
            return found

        return await self._do(find)

    async def next_due(
        self, *, held: Collection[int] = (), paused: Collection[FunctionName] = ()
    ) -> float | None:
        """From when on `due` has a PARKED entry, asked the same; None where it never will."""
        in_hand = json.dumps(list(held))

        def find(connection: sqlite3.Connection) -> float | None:
            firsts = [
                parked.next_due(connection, function, in_hand)
                for function in parked.functions(connection, paused)
            ]
            return min((first for first in firsts if first is not None), default=None)

        return await self._do(find)

    async def chains(self) -> list[tuple[FunctionName, str, int]]:
        """How many ordered entries are parked: (function, key, count)."""
        rows = await self._do(
            lambda connection: connection.execute(
                "SELECT name, namespace, key, count(*) FROM entries"
                " WHERE state = 1 AND ordered = 1 AND key IS NOT NULL"
                " GROUP BY name, namespace, key"
            ).fetchall()
        )
        return [
            (FunctionName(string(name), string(namespace)), string(key), count)
            for name, namespace, key, count in rows
        ]

    async def select(self, query: Query) -> list[Entry]:
        """The entries that fit, in the order of their ids; ask for many in parts (`limit`)."""
        where, values = statements.condition(query)
        limit = -1 if query.limit is None else query.limit

        def find(connection: sqlite3.Connection) -> list[Entry]:
            found = statements.entries(connection, f"{where} ORDER BY id LIMIT ?", (*values, limit))
            if query.state is State.JOURNAL:
                return _with_packed(connection, query, found)
            return found

        return await self._do(find)

    async def counts(self) -> StoreCounts:
        """How much there is."""

        def count(connection: sqlite3.Connection) -> tuple[tuple[int, ...], int]:
            return connection.execute(statements.COUNTS).fetchone(), packs.totals(connection)[0]

        counted, packed = await self._do(count)
        return StoreCounts(
            journal=counted[schema.JOURNAL] + packed,
            journal_bytes=self._journal_bytes,
            parked=counted[schema.PARKED],
            dead=counted[schema.DEAD],
            done=counted[schema.DONE],
        )

    # Claims

    def claim(
        self, query: Query, *, seconds: float, max_bytes: float = math.inf
    ) -> Awaitable[list[Entry]]:
        """Like `select`, and mark them as taken; leaves out what other processes took."""
        where, values = statements.condition(query)
        limit = -1 if query.limit is None else query.limit
        now = time.time()

        def take(connection: sqlite3.Connection) -> list[Entry]:
            connection.execute("DELETE FROM claims WHERE until <= ?", (now,))
            others = {each for (each,) in connection.execute(statements.OTHERS, (self._owner,))}
            free, but = where, list[object]()
            if others:
                free, but = f"{where} AND {statements.NOT_OF_IDS}", [statements.id_list(others)]
            rows = statements.each(
                connection, f"{free} ORDER BY id LIMIT ?", (*values, *but, limit)
            )
            found = within(rows, max_bytes)
            if query.state is State.JOURNAL:
                found = within(_with_packed(connection, query, found, but=others), max_bytes)
            ids = statements.id_list(entry.id for entry in found)
            connection.execute(statements.CLAIM, (self._owner, now + seconds, ids))
            return found

        # After a power cut, whoever claimed is gone, too.
        return self._do(Unsynced(take))

    async def release(self, ids: Collection[int]) -> None:
        """Give claimed entries back."""
        values = (statements.id_list(ids), self._owner)
        await self._do(lambda connection: connection.execute(statements.RELEASE, values))


def _with_packed(
    connection: sqlite3.Connection, query: Query, found: list[Entry], but: Collection[int] = ()
) -> list[Entry]:
    """The entries of rows, and those of packs that fit a query, too."""
    read = packs.read(connection, after=query.after_id, but=but)
    fitting = (entry for entry in read if fits(query, entry))
    return [*islice(merge(found, fitting, key=_id_of), query.limit)]


def _id_of(entry: Entry) -> int:
    return entry.id
