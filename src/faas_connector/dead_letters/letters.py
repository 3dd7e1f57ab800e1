"""What can be done with dead letters."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from faas_connector.dead_letters.caller import CanReplay
from faas_connector.dead_letters.file_shelf import FileShelf
from faas_connector.dead_letters.lines import UnreadableLine, encode_line, read_lines
from faas_connector.dead_letters.replay import Replay, Replayed
from faas_connector.dead_letters.shelf import Shelf
from faas_connector.dead_letters.store_shelf import CLAIM_SECONDS, StoreShelf
from faas_connector.dead_letters.tally import Progress
from faas_connector.store import Entry, Query, State, Store

_PAGE = 100
_EVERY_ONE = Query()

OnProgress = Callable[[Progress], None]


class DeadLetters:
    """The dead letters of a store: look at them, send them again, remove or export them.

    A query says which ones; its `state` is not looked at. Have one of these for each store, so
    that two replays never take the same dead letter.

    Example:
        ```python
        async with SqliteStore(lock_wait=None) as store:
            letters = DeadLetters(store)
            async with Controller() as controller:
                done = await letters.replay(controller, Query(function="mail"), rate=50)
                print(done.replayed, "sent,", done.failed, "failed again")
        ```
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        """Take a store that is open; it is left open.

        Args:
            store: where they are.
            clock: seconds since the epoch.
        """
        self._store = store
        self._clock = clock
        self._taken = set[int]()

    async def list(self, query: Query = _EVERY_ONE) -> AsyncIterator[Entry]:
        """Dead letters, oldest first, those that can't be decoded included."""
        query = msgspec.structs.replace(query, state=State.DEAD)
        left = query.limit
        while left is None or left > 0:
            page = msgspec.structs.replace(query, limit=min(_PAGE, _PAGE if left is None else left))
            found = await self._store.select(page)
            for entry in found:
                yield entry
            if not found:
                return
            query = msgspec.structs.replace(query, after_id=found[-1].id)
            left = None if left is None else left - len(found)

    async def get(self, number: int) -> Entry | None:
        """The dead letter with this id; None where there is none."""
        found = await self._store.select(Query(ids=(number,)))
        return found[0] if found else None

    async def count(self, query: Query = _EVERY_ONE) -> int:
        """How many there are; what costs nothing for all costs reading them for some."""
        if msgspec.structs.replace(query, state=State.DEAD) == _EVERY_ONE:
            return (await self._store.counts()).dead
        return sum([1 async for _ in self.list(query)])

    async def remove(self, query: Query) -> int:
        """Remove dead letters for good, but for those that a replay has taken; how many.

        Raises:
            StoreError: some are not removed.
        """
        query = msgspec.structs.replace(query, state=State.DEAD)
        left = query.limit
        removed = 0
        while left is None or removed < left:
            room = _PAGE if left is None else min(_PAGE, left - removed)
            found = await self._store.claim(
                msgspec.structs.replace(query, limit=room), seconds=CLAIM_SECONDS
            )
            if not found:
                break
            query = msgspec.structs.replace(query, after_id=found[-1].id)
            ids = [entry.id for entry in found if entry.id not in self._taken]
            if ids:
                await self._store.write(removes=ids)
            removed += len(ids)
        return removed

    async def export(self, query: Query, file: BinaryIO) -> int:
        """Write dead letters to a binary file, one line of JSON each; how many."""
        count = 0
        async for entry in self.list(query):
            file.write(f"{encode_line(entry)}\n".encode())
            count += 1
        return count

    @staticmethod
    def load(file: Iterable[bytes]) -> Iterator[Entry | UnreadableLine]:
        """What `export` wrote; a line that is no dead letter comes as such, with its number."""
        return (found for _, _, found in read_lines(file))

    async def replay(
        self,
        controller: CanReplay,
        query: Query = _EVERY_ONE,
        *,
        rate: float | None = None,
        on_progress: OnProgress | None = None,
        stopping: asyncio.Event | None = None,
    ) -> Replayed:
        """Send dead letters to their functions again, with their own call ids, one call for each.

        Calls run side by side and begin in the order of the dead letters; those of one key, where
        their function keeps that order, one after another. What no function had asked for goes to
        every function that asks for it now. A success removes the dead letter; what fails again
        stays, with its new status and reason. While the gateway is down, nothing is called.

        Cancelled or killed, it gives up the calls in flight; another replay repeats these at most.
        A power cut may repeat those that were not counted yet: each is once it is on disk.

        Args:
            controller: one that is running.
            query: which ones.
            rate: the most to begin in a second; None for no limit.
            on_progress: is told what became of each, once that is on disk.
            stopping: once it is set, no further call begins, and those in flight are waited for.

        Raises:
            StoreError: what became of some can't be written down; these are sent again next time.
            ConnectorError: the gateway can take none of them; the message says why.
            ConfigError: `rate` is no number above 0.
        """
        shelf = StoreShelf(self._store, query, taken=self._taken, clock=self._clock)
        return await _replay(controller, shelf, rate, on_progress, stopping, self._clock)


async def replay_file(
    controller: CanReplay,
    path: str | Path,
    query: Query = _EVERY_ONE,
    *,
    rate: float | None = None,
    on_progress: OnProgress | None = None,
    on_unreadable: Callable[[UnreadableLine], None] = lambda _: None,
    stopping: asyncio.Event | None = None,
) -> Replayed:
    """Send the dead letters of an exported file again, which is not changed.

    What succeeds is noted in `<path>.replayed`, so that replaying the file again sends the rest
    only. An entry's id is the number of its line.

    Args:
        controller: one that is running.
        path: the file.
        query: which ones; its `ids` are not looked at.
        rate: the most to begin in a second; None for no limit.
        on_progress: is told what became of each.
        on_unreadable: is told each line that is no dead letter.
        stopping: once it is set, no further call begins, and those in flight are waited for.

    Raises:
        OSError: the file can't be read.
        StoreError: what succeeded can't be noted, or another replay of this file is running.
        ConnectorError: the gateway can take none of them; the message says why.
        ConfigError: `rate` is no number above 0.
    """
    with _opened(path, query, on_unreadable) as shelf:
        return await _replay(controller, shelf, rate, on_progress, stopping, time.time)


@contextlib.contextmanager
def _opened(
    path: str | Path, query: Query, on_unreadable: Callable[[UnreadableLine], None]
) -> Generator[FileShelf]:
    with (
        Path(path).open("rb") as file,
        FileShelf(file, query, notes=notes_of(path), unreadable=on_unreadable) as shelf,
    ):
        yield shelf


def notes_of(path: str | Path) -> Path:
    """Where it is noted what of an exported file was replayed."""
    return Path(f"{path}.replayed")


async def _replay(
    controller: CanReplay,
    shelf: Shelf,
    rate: float | None,
    on_progress: OnProgress | None,
    stopping: asyncio.Event | None,
    clock: Callable[[], float],
) -> Replayed:
    async with controller.replaying() as caller:
        replay = Replay(
            caller, shelf, rate=rate, on_progress=on_progress, stopping=stopping, clock=clock
        )
        return await replay.run()
