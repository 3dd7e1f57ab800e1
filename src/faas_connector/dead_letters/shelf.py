"""What a replay takes its dead letters from, and where it writes down what became of them."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Sequence
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


class Settled(msgspec.Struct, frozen=True, gc=False):
    """What became of a dead letter, to be written down."""

    entry: Entry
    """As it is now; of a removed one, as it was."""
    fate: Fate
    what: str = ""
    """The answer, or why there was no call; one line, empty after a success."""


class Shelf(Protocol):
    """What a replay takes its entries from."""

    def take(self, limit: int, max_bytes: int) -> asyncio.Task[list[Entry]]:
        """The next entries, in order; none means that there are no more.

        They are asked for at once, not when they are awaited. The task is the shelf's, and is not
        cancelled: `give_back` waits for it.

        Args:
            limit: of entries.
            max_bytes: of their events' bodies, after which no more are taken; one always is.
        """
        ...

    async def split(self, split: Sequence[Split]) -> list[list[Entry]]:
        """Put one entry for each function in place of each for all, and give those still to do."""
        ...

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Write down what became of entries: that outlives this process, and once `sync` has
        returned a power cut, too.
        """
        ...

    def sync(self) -> Awaitable[None]:
        """Have on disk what was settled before this is called."""
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
