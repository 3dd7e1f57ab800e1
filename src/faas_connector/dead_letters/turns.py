"""Which dead letter is next, and when: in order, one of a key at a time, at a rate."""

from __future__ import annotations

import heapq
import math
from collections import deque

from faas_connector.errors import ConfigError
from faas_connector.names import FunctionName
from faas_connector.store import Entry

_Chain = tuple[FunctionName | None, str | None]
_Place = tuple[int, Entry, int]
"""A number that rises, an entry, and its size."""


class Turns:
    """Holds entries until it is their turn.

    An ordered entry waits until the one before it of its function and key is done; the others
    overtake it meanwhile.
    """

    def __init__(self) -> None:
        self.count = 0
        """How many entries wait."""
        self.bytes = 0
        """Of their events."""
        self._added = 0
        # Whose turn it is: those that waited for none before them, and those that did.
        self._first: deque[_Place] = deque()
        self._followers: list[_Place] = []
        self._behind: dict[_Chain, deque[_Place]] = {}

    @property
    def ready(self) -> int:
        """Of how many it is the turn."""
        return len(self._first) + len(self._followers)

    def add(self, entry: Entry) -> None:
        """Put an entry at the end."""
        event = entry.event
        size = 0 if event is None else len(event.data) + len(entry.answer)
        self.count += 1
        self.bytes += size
        place = (self._added, entry, size)
        self._added += 1
        if entry.ordered and (chain := _chain(entry)) is not None:
            if chain in self._behind:
                self._behind[chain].append(place)
                return
            self._behind[chain] = deque()
        self._first.append(place)

    def take(self) -> Entry | None:
        """The next entry; None where it is nobody's turn. `done` must follow for an ordered one."""
        if self._followers and not (self._first and self._first[0] < self._followers[0]):
            _, entry, size = heapq.heappop(self._followers)
        elif self._first:
            _, entry, size = self._first.popleft()
        else:
            return None
        self.count -= 1
        self.bytes -= size
        return entry

    def done(self, entry: Entry) -> None:
        """An entry that was taken is out of the way."""
        chain = _chain(entry)
        if chain is None:
            return
        behind = self._behind[chain]
        if behind:
            heapq.heappush(self._followers, behind.popleft())
        else:
            del self._behind[chain]


def _chain(entry: Entry) -> _Chain | None:
    if not entry.ordered or entry.event is None:
        return None
    return entry.function, entry.event.key


# Seconds by which a beginning that came late is caught up with, since timers are late by as much.
_CATCH_UP = 0.01


class Pace:
    """Lets so many begin in a second, evenly."""

    def __init__(self, rate: float) -> None:
        """Prepare.

        Raises:
            ConfigError: `rate` is no number above 0.
        """
        given: object = rate
        if not isinstance(given, int | float) or not 0 < given < math.inf:
            raise ConfigError(f"rate must be a number above 0, got {rate!r}; for example 50")
        self._interval = 1 / rate
        self._next = -math.inf

    def left(self, now: float) -> float:
        """Seconds until the next may begin."""
        return max(0.0, self._next - now)

    def begin(self, now: float) -> None:
        """One begins, since nothing is left."""
        due = max(self._next, now - _CATCH_UP) if self._next > -math.inf else now
        self._next = due + self._interval
