"""Journalled events that memory has no room for: they wait on the disk, in their order."""

from __future__ import annotations

from collections.abc import Callable


class Backlog:
    """Whether further events are to wait behind those that only the journal holds.

    It opens when there is no room, for example in an outage of the gateway. It closes when there is
    room and the journal holds nothing but what is being delivered: no event overtakes another.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.put_off = 0
        """Events that were left to the journal so far."""
        self._writing = 0
        self._has_room = list[Callable[[], bool]]()

    def open(self, has_room: Callable[[], bool]) -> None:
        """There is no room.

        Args:
            has_room: tells whether there is some again.
        """
        self.is_open = True
        self._has_room.append(has_room)

    def begin(self) -> None:
        """An event is being written, to wait behind the others."""
        self._writing += 1

    def end(self) -> None:
        """It is written, or was refused."""
        self._writing -= 1
        self.put_off += 1

    def close(self, put_off: int) -> None:
        """Everything was begun that the journal held when so many had been put off."""
        if put_off == self.put_off and not self._writing and all(has() for has in self._has_room):
            self.is_open = False
            self._has_room.clear()
