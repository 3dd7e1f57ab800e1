"""Sends dead letters again: side by side, in order, at a rate, and writes down what came of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from faas_connector.dead_letters.caller import Called, Caller, call_id_of
from faas_connector.dead_letters.shelf import Fate, Ledger, Settled, Shelf, Split
from faas_connector.dead_letters.store_shelf import CLAIM_SECONDS
from faas_connector.dead_letters.turns import Pace, Turns
from faas_connector.errors import StoreError
from faas_connector.outcome import Kind
from faas_connector.store import MAX_ANSWER_BYTES, Entry, Reason

_log = logging.getLogger("faas_connector.dead_letters")

# Entries and bytes that are asked for at a time, and what is read ahead at most beside them.
_PAGE = 64  # so that what became of others need not wait long for the same thread
_PAGE_BYTES = 8 * 1024 * 1024
_AHEAD = 768

# Looked up once: Python 3.11 takes its time over members of an Enum.
_REPLAYED, _FAILED, _LEFT = Fate.REPLAYED, Fate.FAILED, Fate.LEFT


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
        self._ledger = Ledger(self._write)
        self._turns = Turns()
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._stopping = stopping or asyncio.Event()
        self._all_taken = False
        self._replayed = self._failed = self._left = 0

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
        return Replayed(self._replayed, self._failed, self._left, stopped=self._stopping.is_set())

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
            found = await self._shelf.take(_PAGE, _PAGE_BYTES)
            if not found:
                break
            await self._admit(found)
            self._news.set()
            self._room.clear()
            if not self._has_room() and not self._stopping.is_set():
                await self._room.wait()
        self._all_taken = True
        self._news.set()

    def _has_room(self) -> bool:
        """Whether few enough wait for more to be read."""
        return self._turns.count <= _AHEAD and self._turns.bytes <= _PAGE_BYTES

    async def _admit(self, found: Sequence[Entry]) -> None:
        """Line up what can be replayed, in order."""
        left = dict[int, asyncio.Future[None]]()
        split = list[Split]()
        for entry in found:
            if why := self._obstacle(entry):
                left[entry.id] = self._ledger.add(Settled(entry, _LEFT, why))
            elif entry.function is None:
                split.append((entry, self._parts(entry)))
        parts = iter(await self._shelf.split(split) if split else ())
        for entry in found:
            if entry.id in left:
                continue
            for each in next(parts) if entry.function is None else (entry,):
                self._turns.add(each)
        for written in left.values():
            await written

    def _obstacle(self, entry: Entry) -> str:
        """Why an entry can't be replayed; empty where it can."""
        event, function = entry.event, entry.function
        if event is not None and function is not None:
            return ""
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

    async def _heed_stopping(self) -> None:
        await self._stopping.wait()
        self._news.set()
        self._room.set()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            await self._shelf.renew()

    async def _work(self) -> None:
        """Call for one after another, each once what became of the one before is written.

        So that never more are called and not written yet than calls may be in flight.
        """
        turns, shelf, caller, ledger = self._turns, self._shelf, self._caller, self._ledger
        while (entry := self._at_once() or await self._next()) is not None:
            try:
                if not shelf.holds(entry):
                    continue
                event, function = entry.event, entry.function
                assert event is not None  # noqa: S101  # `_admit` has seen to both
                assert function is not None  # noqa: S101
                call_id = call_id_of(entry, function)
                number = entry.calls + 1
                called = await caller.call(function, event, call_id=call_id, number=number)
                await ledger.add(settled(entry, call_id, called, self._clock))
            finally:
                if entry.ordered:
                    turns.done(entry)
                    self._news.set()

    def _at_once(self) -> Entry | None:
        """The next entry, where it may begin without waiting."""
        if self._pace is None and not self._stopping.is_set():
            return self._turns.take()
        return None

    async def _next(self) -> Entry | None:
        """The next entry to begin with; None where there is none, and will be none."""
        async with self._turn:
            while not self._stopping.is_set():
                if self._turns.ready:
                    if self._pace is not None and not await self._pace.wait(self._stopping):
                        return None
                    return self._turns.take()
                if self._all_taken and not self._turns.count:
                    return None
                if self._has_room():
                    self._room.set()
                self._news.clear()
                await self._news.wait()
        return None

    async def _write(self, group: Sequence[Settled]) -> None:
        """Write down what became of entries, then tell it."""
        await self._shelf.settle(group)
        if self._has_room():
            self._room.set()
        for each in group:
            if each.fate is _REPLAYED:
                self._replayed += 1
            elif each.fate is _FAILED:
                self._failed += 1
            else:
                self._left += 1
            if self._on_progress is not None:
                self._on_progress(
                    Progress(
                        each.entry, each.fate, each.what, self._replayed, self._failed, self._left
                    )
                )


def settled(entry: Entry, call_id: str, called: Called, clock: Callable[[], float]) -> Settled:
    """What became of an entry with a call."""
    if called.outcome.succeeded:
        return Settled(entry, _REPLAYED)
    failed = after_failure(entry, call_id, called, clock())
    return Settled(failed, _FAILED, called.outcome.what)


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
