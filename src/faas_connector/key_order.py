"""Events of one key, one after another."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable

from faas_connector.names import FunctionName

_BUCKETS = 65_536
_Who = tuple[FunctionName, str]


class Ticket:
    """A place in the line of one function and key. Always `leave` it."""

    __slots__ = ("_ahead", "_lines", "_who", "last", "next")

    def __init__(self, lines: dict[_Who, Ticket], who: _Who) -> None:
        self._lines = lines
        self._who = who
        self.last = 0
        """Of those that were ahead, the last entry that was parked; once it has its turn."""
        ahead = lines.get(who)
        self._ahead: asyncio.Future[tuple[int, int]] | None = None
        self.next: asyncio.Future[tuple[int, int]] | None = None
        if ahead is not None:
            self._ahead = ahead.next = asyncio.get_running_loop().create_future()
        lines[who] = self

    async def turn(self) -> int:
        """Wait until whoever is ahead has left; the first entry that waits on in the store, or 0.

        Who is in the store before that entry need not wait behind it.
        """
        if self._ahead is None:
            return 0
        first, self.last = await asyncio.shield(self._ahead)
        return first

    def leave(self, *, parked: int, entry_id: int = 0) -> None:
        """Let the next one have its turn.

        Args:
            parked: the first entry, of this event or of those ahead, that has to wait on in the
                store; 0 for none.
            entry_id: of this event, where it has to wait on in the store.
        """
        self.last = max(self.last, entry_id)
        if self._ahead is not None and not self._ahead.done():
            # It never had its turn: its place is kept until whoever is ahead has left.
            self._ahead.add_done_callback(self._pass_on)
        else:
            self._give_way(parked)

    def _pass_on(self, ahead: asyncio.Future[tuple[int, int]]) -> None:
        parked, self.last = (0, 0) if ahead.cancelled() else ahead.result()
        self._give_way(parked)

    def _give_way(self, parked: int) -> None:
        if self._lines.get(self._who) is self:
            del self._lines[self._who]
        if self.next is not None and not self.next.done():
            self.next.set_result((parked, self.last))


class KeyOrder:
    """Hands out places in line, in the order of asking, one line for each function and key."""

    def __init__(self) -> None:
        self._lines: dict[_Who, Ticket] = {}

    def ticket(self, function: FunctionName, key: str) -> Ticket:
        """The next place in line."""
        return Ticket(self._lines, (function, key))


class ParkedKeys:
    """Which functions have ordered events in the store, and with which keys.

    Keys are counted by a hash of 16 bits, so that it stays small whatever the backlog; two keys
    that share one may make an event wait in the store without need, never out of order.
    """

    def __init__(self, chains: Iterable[tuple[FunctionName, str, int]] = ()) -> None:
        self._counts: dict[tuple[FunctionName, int], int] = {}
        for function, key, count in chains:
            self.add(function, key, count)

    def add(self, function: FunctionName, key: str, count: int = 1) -> None:
        """So many more are parked, or fewer."""
        bucket = (function, _hash(key))
        now = self._counts.get(bucket, 0) + count
        if now > 0:
            self._counts[bucket] = now
        else:
            self._counts.pop(bucket, None)

    def holds(self, function: FunctionName, key: str, *, besides: int = 0) -> bool:
        """Whether an event of this key may be parked for the function, besides so many."""
        return bool(self._counts) and self._counts.get((function, _hash(key)), 0) > besides


def _hash(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % _BUCKETS
