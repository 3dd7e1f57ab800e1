"""Events of one key, one after another."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable

from faas_connector.names import FunctionName

_BUCKETS = 65_536
# Entries that are known to wait in the store, the first ones: those behind them are begun later.
_MOST_KNOWN = 1024
_Who = tuple[FunctionName, str]
_Ahead = tuple[set[int], int]
"""Entries that wait on in the store, and the last one that was parked."""


class Ticket:
    """A place in the line of one function and key. Always `leave` it."""

    __slots__ = ("_ahead", "_done", "_has_left", "_lines", "_parked", "_who", "last", "next")

    def __init__(self, lines: dict[_Who, Ticket], who: _Who) -> None:
        self._lines = lines
        self._who = who
        self.last = 0
        """Of those that were ahead, the last entry that was parked; once it has its turn."""
        ahead = lines.get(who)
        self._ahead: asyncio.Future[_Ahead] | None = None
        self.next: asyncio.Future[_Ahead] | None = None
        self._has_left = False
        self._parked = self._done = 0
        if ahead is not None:
            self._ahead = ahead.next = asyncio.get_running_loop().create_future()
        lines[who] = self

    async def turn(self) -> int:
        """Wait until whoever is ahead has left; the first entry that waits on in the store, or 0.

        Who is in the store before that entry need not wait behind it.
        """
        if self._ahead is None:
            return 0
        waiting, self.last = await asyncio.shield(self._ahead)
        return min(waiting, default=0)

    def leave(self, *, parked: int = 0, done: int = 0) -> None:
        """Let the next one have its turn; what counts is what is said first.

        Args:
            parked: its entry, where it has to wait on in the store.
            done: its entry, where it is done with.
        """
        if self._has_left:
            return
        self._has_left = True
        self._parked, self._done = parked, done
        if self._ahead is None:
            self._give_way(set(), 0)
        elif self._ahead.done():
            self._pass_on(self._ahead)
        else:
            # It never had its turn: its place is kept until whoever is ahead has left.
            self._ahead.add_done_callback(self._pass_on)

    def _pass_on(self, ahead: asyncio.Future[_Ahead]) -> None:
        self._give_way(*((set[int](), 0) if ahead.cancelled() else ahead.result()))

    def _give_way(self, waiting: set[int], last: int) -> None:
        waiting.discard(self._done)
        if self._parked:
            waiting.add(self._parked)
            if len(waiting) > _MOST_KNOWN:
                waiting.remove(max(waiting))
        if self._lines.get(self._who) is self:
            del self._lines[self._who]
        if self.next is not None and not self.next.done():
            self.next.set_result((waiting, max(last, self._parked)))


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
