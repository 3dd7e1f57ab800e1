"""Sends dead letters again: side by side, in order, at a rate, and writes down what came of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from faas_connector.dead_letters.caller import Called, Caller, call_id_of
from faas_connector.dead_letters.shelf import Fate, Ledger, Shelf, Split
from faas_connector.dead_letters.store_shelf import CLAIM_SECONDS
from faas_connector.dead_letters.turns import Pace, Turns, size
from faas_connector.errors import StoreError
from faas_connector.outcome import Kind
from faas_connector.store import MAX_ANSWER_BYTES, Entry, Reason

_log = logging.getLogger("faas_connector.dead_letters")

# Entries and bytes that are read ahead, and the most that are asked for at a time.
_MOST_WAITING = 1024
_MOST_WAITING_BYTES = 16 * 1024 * 1024
_BATCH = 256
_FIRST_BATCH = 32


class Progress(msgspec.Struct, frozen=True):
    """What became of one dead letter, and of how many so far."""

    entry: Entry
    """As it is now; of a removed one, as it was."""
    fate: Fate
    what: str
    """The answer, or why there was no call; one line, empty after a success."""
    replayed: int
    failed: int
    left: int


class Replayed(msgspec.Struct, frozen=True):
    """What a replay has done."""

    replayed: int = 0
    failed: int = 0
    left: int = 0
    stopped: bool = False
    """Whether it was stopped; there may be more."""


class Replay:
    """One replay. It makes one call for each dead letter; `run` it once."""

    def __init__(
        self,
        caller: Caller,
        shelf: Shelf,
        *,
        rate: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        stopping: asyncio.Event | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            caller: calls functions.
            shelf: where the dead letters are.
            rate: the most to begin in a second; None for no limit.
            on_progress: is told what became of each.
            stopping: once it is set, no further call begins.
            clock: seconds since the epoch.

        Raises:
            ConfigError: `rate` is no number above 0.
        """
        self._caller = caller
        self._shelf = shelf
        self._pace = None if rate is None else Pace(rate)
        self._on_progress = on_progress
        self._clock = clock
        self._ledger = Ledger(shelf)
        self._turns = Turns()
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._stopping = stopping or asyncio.Event()
        self._all_taken = False
        self._most_bytes: int | None = None
        self._counts = dict.fromkeys(Fate, 0)

    async def run(self) -> Replayed:
        """Replay until there are no more.

        Cancelled, it gives up the calls in flight, and only these can be repeated by another
        replay: whatever had succeeded is written down first.

        Raises:
            StoreError: what became of a dead letter can't be written down.
            ConnectorError: no call can succeed.
        """
        try:
            async with asyncio.TaskGroup() as helpers:
                helpers.create_task(self._feed(), name="dead letters")
                helping = [
                    helpers.create_task(self._keep(), name="dead letters' claims"),
                    helpers.create_task(self._heed_stopping(), name="stop of the replay"),
                ]
                async with asyncio.TaskGroup() as workers:
                    for number in range(self._caller.max_in_flight):
                        workers.create_task(self._work(), name=f"replay {number}")
                self._room.set()
                for task in helping:
                    task.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            await self._end()
        counts = self._counts
        return Replayed(
            counts[Fate.REPLAYED],
            counts[Fate.FAILED],
            counts[Fate.LEFT],
            stopped=self._stopping.is_set(),
        )

    async def _end(self) -> None:
        try:
            await self._ledger.close()
        except StoreError:
            _log.exception("what has just succeeded can't be written down, and would be sent again")
        try:
            await self._shelf.give_back()
        except StoreError:
            _log.warning("dead letters stay taken for %.0f s", CLAIM_SECONDS, exc_info=True)

    async def _feed(self) -> None:
        """Keep some entries ready."""
        while not self._stopping.is_set():
            found = await self._shelf.take(self._wanted())
            if not found:
                break
            await self._admit(found)
            self._news.set()
            while not self._wanted():
                self._room.clear()
                await self._room.wait()
        self._all_taken = True
        self._news.set()

    def _wanted(self) -> int:
        """How many entries to ask for; 0 while enough of them wait."""
        if self._stopping.is_set():
            return 1
        if len(self._turns) > _MOST_WAITING - _BATCH:
            return 0
        if self._most_bytes is None:
            return _FIRST_BATCH
        room = _MOST_WAITING_BYTES // 2 - self._turns.bytes
        return max(0 if self._turns.bytes else 1, min(_BATCH, room // max(1, self._most_bytes)))

    async def _admit(self, found: Sequence[Entry]) -> None:
        """Line up what can be replayed, in order."""
        self._most_bytes = max(self._most_bytes or 0, *map(size, found))
        left = list[tuple[Entry, str]]()
        split = list[Split]()
        lined_up = list[Entry | None]()
        for entry in found:
            if why := self._obstacle(entry):
                left.append((entry, why))
            elif entry.function is None:
                split.append((entry, self._parts(entry)))
                lined_up.append(None)
            else:
                lined_up.append(entry)
        parts = iter(await self._shelf.split(split) if split else ())
        for place in lined_up:
            for entry in next(parts) if place is None else (place,):
                self._turns.add(entry)
        if left:
            await self._ledger.add(Fate.LEFT, *(entry for entry, _ in left))
        for entry, why in left:
            self._tell(entry, Fate.LEFT, why)

    def _obstacle(self, entry: Entry) -> str:
        """Why an entry can't be replayed; empty where it can."""
        unreadable = entry.reason is Reason.UNREADABLE and entry.function is None
        if entry.event is None or unreadable:
            why = entry.damage or entry.what
            return f"no event can be made of it{f': {why}' if why else ''}"
        if entry.function is None and not self._caller.matches(entry.event.topic):
            return f"no function asks for {entry.event.topic!r}"
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

    async def _heed_stopping(self) -> None:
        await self._stopping.wait()
        self._news.set()
        self._room.set()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            await self._shelf.renew()

    async def _work(self) -> None:
        while (entry := await self._next()) is not None:
            try:
                if self._shelf.holds(entry):
                    await self._replay(entry)
            finally:
                self._turns.done(entry)
                self._news.set()

    async def _next(self) -> Entry | None:
        """The next entry to begin with; None where there is none, and will be none."""
        async with self._turn:
            while not self._stopping.is_set():
                if self._turns.ready:
                    if self._pace is not None and not await self._pace.wait(self._stopping):
                        return None
                    entry = self._turns.take()
                    if not self._room.is_set() and self._wanted():
                        self._room.set()
                    return entry
                if self._all_taken and not len(self._turns):
                    return None
                self._news.clear()
                await self._news.wait()
        return None

    async def _replay(self, entry: Entry) -> None:
        event, function = entry.event, entry.function
        assert event is not None  # noqa: S101  # `_admit` has seen to both
        assert function is not None  # noqa: S101
        call_id = call_id_of(entry, function)
        called = await self._caller.call(function, event, call_id=call_id, number=entry.calls + 1)
        if called.outcome.succeeded:
            fate = Fate.REPLAYED
        else:
            fate = Fate.FAILED
            entry = after_failure(entry, call_id, called, self._clock())
        await self._ledger.add(fate, entry)
        self._tell(entry, fate, called.outcome.what)

    def _tell(self, entry: Entry, fate: Fate, what: str) -> None:
        counts = self._counts
        counts[fate] += 1
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    entry, fate, what,
                    counts[Fate.REPLAYED], counts[Fate.FAILED], counts[Fate.LEFT],
                )
            )  # fmt: skip


def after_failure(entry: Entry, call_id: str, called: Called, now: float) -> Entry:
    """The dead letter as it stands after it has failed again.

    A function that was not there is not charged with an attempt.
    """
    outcome = called.outcome
    charged = called.calls > 0 and outcome.kind in {Kind.FAILED, Kind.REFUSED}
    reason = entry.reason
    if charged:
        reason = Reason.REFUSED if outcome.kind is Kind.REFUSED else Reason.ATTEMPTS
    elif not called.calls:
        reason = Reason.UNREADABLE
    return msgspec.structs.replace(
        entry,
        call_id=call_id,
        attempts=entry.attempts + charged,
        calls=entry.calls + called.calls,
        reason=reason,
        status=outcome.status,
        what=outcome.what,
        answer=called.answer[:MAX_ANSWER_BYTES],
        last=now,
    )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
