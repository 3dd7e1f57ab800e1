"""The clients of a server, and which of them goes when there is room for no more. No I/O."""

from __future__ import annotations

from typing import Generic, TypeVar

C = TypeVar("C")


class Clients(Generic[C]):
    """Who is connected, and what each of them is at."""

    def __init__(self) -> None:
        self.all = set[C]()
        # In the order in which they became so.
        self._idle = dict[C, None]()
        self._sending = dict[C, None]()

    def enter(self, client: C) -> None:
        """It is connected, and idle."""
        self.all.add(client)
        self._idle[client] = None

    def leave(self, client: C) -> None:
        """It is connected no more."""
        self.all.discard(client)
        self.waits(client)

    def idles(self, client: C) -> None:
        """It has been answered."""
        self.waits(client)
        if client in self.all:
            self._idle[client] = None

    def sends(self, client: C) -> None:
        """A part of a request has come."""
        self.waits(client)
        if client in self.all:
            self._sending[client] = None

    def waits(self, client: C) -> None:
        """It waits for an answer."""
        self._idle.pop(client, None)
        self._sending.pop(client, None)

    def next_to_go(self) -> C | None:
        """Who has been idle longest; where nobody is, who has been sending longest.

        Nobody goes who waits for an answer.
        """
        return next(iter(self._idle or self._sending), None)
