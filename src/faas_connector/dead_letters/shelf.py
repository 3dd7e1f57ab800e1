"""What a replay takes its dead letters from, and where it writes down what became of them."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Sequence
from typing import Protocol

from faas_connector.store import Entry

Split = tuple[Entry, Sequence[Entry]]
"""An entry for all functions, and one for each that matches now."""


class Fate(enum.Enum):
    """What became of a dead letter."""

    REPLAYED = "replayed"
    """Its function, or the gateway's queue, has the event."""
    FAILED = "failed"
    """It failed again, and stays."""
    LEFT = "left"
    """It can't be replayed now, and stays as it was."""


class Shelf(Protocol):
    """What a replay takes its entries from."""

    async def take(self, limit: int) -> list[Entry]:
        """At most so many of the next entries, in order; none means that there are no more."""
        ...

    async def split(self, split: Sequence[Split]) -> list[list[Entry]]:
        """Put one entry for each function in place of each for all, and give those still to do."""
        ...

    async def settle(
        self, done: Sequence[Entry], failed: Sequence[Entry], left: Sequence[Entry]
    ) -> None:
        """Write down what became of entries: done, failed again, or not touched."""
        ...

    def holds(self, entry: Entry) -> bool:
        """Whether an entry that was taken is still ours."""
        ...

    async def renew(self) -> None:
        """Keep what was taken and isn't settled."""
        ...

    async def give_back(self) -> None:
        """Give back what was taken and isn't settled."""
        ...


class _Group:
    """What is written together."""

    def __init__(self) -> None:
        self.entries: dict[Fate, list[Entry]] = {fate: [] for fate in Fate}
        self.has_writer = False
        self.written = asyncio.Event()


class Ledger:
    """Groups what is written at the same time; each `add` returns once it is written."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._group = _Group()
        self._one_at_a_time = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None

    async def add(self, fate: Fate, *entries: Entry) -> None:
        """Write down what became of these.

        Raises:
            StoreError: it isn't written; only one of those who wait for the same group hears of it.
        """
        group = self._group
        group.entries[fate].extend(entries)
        if group.has_writer:
            await group.written.wait()
            return
        group.has_writer = True
        async with self._one_at_a_time:
            self._group = _Group()
            self._writing = asyncio.create_task(self._write(group), name="ledger")
            # It goes on when whoever waits is cancelled: what succeeded must not be lost.
            await asyncio.shield(self._writing)
            group.written.set()

    async def close(self) -> None:
        """Write what isn't written yet; nobody waits any more.

        Raises:
            StoreError: it isn't written.
        """
        if self._writing is not None and not self._writing.done():
            await self._writing
        group, self._group = self._group, _Group()
        if any(group.entries.values()):
            await self._write(group)

    async def _write(self, group: _Group) -> None:
        entries = group.entries
        await self._shelf.settle(entries[Fate.REPLAYED], entries[Fate.FAILED], entries[Fate.LEFT])
