"""What a replay takes its dead letters from, and where it writes down what became of them."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

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


class Settled(msgspec.Struct, frozen=True):
    """What became of a dead letter, to be written down."""

    entry: Entry
    """As it is now; of a removed one, as it was."""
    fate: Fate
    what: str = ""
    """The answer, or why there was no call; one line, empty after a success."""


class Shelf(Protocol):
    """What a replay takes its entries from."""

    async def take(self, limit: int, max_bytes: int) -> list[Entry]:
        """The next entries, in order; none means that there are no more.

        Args:
            limit: of entries.
            max_bytes: of their events' bodies, after which no more are taken; one always is.
        """
        ...

    async def split(self, split: Sequence[Split]) -> list[list[Entry]]:
        """Put one entry for each function in place of each for all, and give those still to do."""
        ...

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Write down what became of entries: what is written outlives this process.

        After a power cut, the last 256 of them may be as if they had not been called.
        """
        ...

    def holds(self, entry: Entry) -> bool:
        """Whether an entry that was taken is still ours."""
        ...

    async def renew(self) -> None:
        """Keep what was taken and isn't settled."""
        ...

    async def give_back(self) -> None:
        """Give back what was taken and isn't settled; what was settled is on disk afterwards."""
        ...


class _Group:
    """What is written together."""

    __slots__ = ("settled", "written")

    def __init__(self) -> None:
        self.settled: list[Settled] = []
        self.written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, error: Exception | None) -> bool:
        """Tell those who wait; whether there is anybody."""
        if self.written.done():
            return False  # they were cancelled
        if error is None:
            self.written.set_result(None)
        else:
            self.written.set_exception(error)
        return True


class Ledger:
    """Writes down what became of dead letters: what comes while a group is written is the next."""

    def __init__(self, write: Callable[[Sequence[Settled]], Awaitable[None]]) -> None:
        """Prepare.

        Args:
            write: writes down a group, all or none.
        """
        self._write = write
        self._group: _Group | None = None
        # It goes on when those who wait are cancelled: what succeeded must not be lost.
        self._writer: asyncio.Task[None] | None = None
        self._unheard: Exception | None = None

    def add(self, settled: Settled) -> asyncio.Future[None]:
        """Write it down; what is returned is done once it is written, or can't be (StoreError)."""
        if self._group is None:
            self._group = _Group()
            if self._writer is None:
                self._writer = asyncio.create_task(self._write_all(), name="ledger")
        self._group.settled.append(settled)
        return self._group.written

    async def _write_all(self) -> None:
        while (group := self._group) is not None:
            self._group = None
            error = None
            try:
                await self._write(group.settled)
            except Exception as failure:  # whatever it is, those who wait must hear
                error = failure
            if not group.end(error):
                self._unheard = error or self._unheard
        self._writer = None

    async def close(self) -> None:
        """Wait until all is written.

        Raises:
            StoreError: some of it isn't, and nobody waited for it.
        """
        if self._writer is not None:
            await asyncio.wait([self._writer])
        if self._unheard is not None:
            raise self._unheard
