"""Reads dead letters as they are needed, and lines them up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from faas_connector.dead_letters.caller import Caller, call_id_of
from faas_connector.dead_letters.shelf import Fate, Settled, Shelf, Split
from faas_connector.dead_letters.turns import Turns
from faas_connector.store import Entry, Reason

# Entries and bytes that are asked for at a time, and entries that wait for others at most. With
# larger pages, or with one ahead, events are out of the processor's cache when they are sent.
_PAGE = 64
_PAGE_BYTES = 8 * 1024 * 1024
_MOST_WAITING = 768


class Feed:
    """Takes dead letters from the shelf, and lines up what can be replayed.

    Few are taken ahead: whoever takes them keeps them from others.
    """

    def __init__(
        self,
        caller: Caller,
        shelf: Shelf,
        turns: Turns,
        *,
        leave: Callable[[Sequence[Settled]], Awaitable[None]],
        added: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            caller: knows who asks for a topic.
            shelf: where they are.
            turns: lines them up.
            leave: writes down which can't be replayed.
            added: is told when there is something new, or when there is no more.
            clock: seconds since the epoch.
        """
        self.is_over = False
        """Whether there are no more."""
        self._caller = caller
        self._shelf = shelf
        self._turns = turns
        self._leave = leave
        self._added = added
        self._clock = clock
        self._page = max(_PAGE, caller.max_in_flight)
        self._is_ending = False
        self._taking: asyncio.Task[list[Entry]] | None = None
        """The page that is on its way or being lined up; the last, empty one stays."""
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Take a page whenever `look` finds that none is left, until there are no more."""
        self.look()
        while self._taking is not None:
            await asyncio.wait([self._taking])
            if not (found := self._taking.result()):
                break
            await self._line_up(found)
            self._taking = None
            self._changed.clear()
            self._added()
            if not self._is_ending:
                await self._changed.wait()
        self.is_over = True
        self._added()

    def look(self) -> None:
        """Take more if it is nobody's turn.

        The best moment is just before what became of others is written: that is one transaction.
        """
        turns = self._turns
        if (
            not (turns.ready or self._is_ending)
            and self._taking is None
            and turns.count <= _MOST_WAITING
            and turns.bytes <= _PAGE_BYTES
        ):
            self._taking = self._shelf.take(self._page, _PAGE_BYTES)
            self._changed.set()

    def end(self) -> None:
        """Take no more."""
        self._is_ending = True
        self._changed.set()

    async def _line_up(self, found: Sequence[Entry]) -> None:
        left, split = list[Settled](), list[Split]()
        able = list[Entry]()
        for entry in found:
            if entry.event is not None and entry.function is not None:
                able.append(entry)
            elif why := self._obstacle(entry):
                left.append(Settled(entry, Fate.LEFT, why))
            else:
                able.append(entry)
                split.append((entry, self._parts(entry)))
        parts = iter(await self._shelf.split(split) if split else ())
        for entry in able:
            if entry.function is None:
                for part in next(parts):
                    self._turns.add(part)
            else:
                self._turns.add(entry)
        if left:
            await self._leave(left)

    def _obstacle(self, entry: Entry) -> str:
        """Why an entry without its event, or for all that match, can't be replayed; or empty."""
        event = entry.event
        if event is None or entry.reason is Reason.UNREADABLE:
            why = entry.damage or entry.what
            return f"no event can be made of it{f': {why}' if why else ''}"
        if not self._caller.matches(event.topic):
            return f"no function asks for {event.topic!r}"
        return ""

    def _parts(self, entry: Entry) -> list[Entry]:
        event = entry.event
        if event is None:
            return []
        return [
            msgspec.structs.replace(
                entry,
                id=0,
                function=match.function,
                call_id=call_id_of(entry, match.function),
                ordered=match.ordered and event.key is not None,
                last=self._clock(),
            )
            for match in self._caller.matches(event.topic)
        ]
