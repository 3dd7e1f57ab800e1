"""Sends dead letters again: side by side, in order, at a rate, and writes down what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import cast

import msgspec

from faas_connector.call import Call
from faas_connector.dead_letters.caller import Called, Caller, Letter, call_id_of
from faas_connector.dead_letters.feed import Feed
from faas_connector.dead_letters.ledger import Ledger
from faas_connector.dead_letters.shelf import Fate, Settled, Shelf
from faas_connector.dead_letters.store_shelf import CLAIM_SECONDS
from faas_connector.dead_letters.tally import Progress, Tally
from faas_connector.dead_letters.turns import Pace, Turns
from faas_connector.outcome import Kind
from faas_connector.response import InvokerResponse
from faas_connector.store import MAX_ANSWER_BYTES, Entry, Reason

_log = logging.getLogger("faas_connector.dead_letters")

# Looked up once: Python 3.11 takes its time over members of an Enum.
_REPLAYED, _FAILED = Fate.REPLAYED, Fate.FAILED


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
        self._clock = clock
        self._now = asyncio.get_running_loop().time
        self._turns = Turns()
        self._news = asyncio.Event()
        self._feed = Feed(
            caller, shelf, self._turns, leave=self._write, added=self._news.set, clock=clock
        )
        self._ledger = Ledger(self._write, self._written, lambda: bool(self._begun))
        self._tally = Tally(shelf.sync, on_progress)
        self._stopping = stopping or asyncio.Event()
        # Each call takes a place until what became of it is written: no more can be repeated.
        self._places = self._free = caller.max_in_flight
        self._begun = dict[Letter, Call]()
        self._unusual = deque[Letter]()

    async def run(self) -> Replayed:
        """Replay until there are no more.

        Cancelled, it gives up the calls in flight, and only these can be repeated by another
        replay: whatever had succeeded is written down first.

        Raises:
            StoreError: what became of a dead letter can't be written down.
            ConnectorError: no call can succeed.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed.run(), name="dead letters")
                helping = [
                    tasks.create_task(self._keep(), name="dead letters' claims"),
                    tasks.create_task(self._heed_stopping(), name="stop of the replay"),
                ]
                try:
                    await self._send_all(tasks)
                    await self._tally.close()
                finally:
                    self._feed.end()
                    self._give_up()
                for task in helping:
                    task.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            await self._end()
        tally = self._tally
        stopped = self._stopping.is_set()
        return Replayed(tally.replayed, tally.failed, tally.left, stopped=stopped)

    def _give_up(self) -> None:
        """End the calls that were begun."""
        self._caller.tell()  # what came of those that have ended counts
        begun, self._begun = self._begun, {}
        for call in begun.values():
            call.give_up()

    async def _end(self) -> None:
        """Write down what is known, and let go of the rest, whatever goes wrong with the former."""
        try:
            for each in (self._ledger, self._tally):
                with _logged("what has just succeeded may be sent again"):
                    await each.close()
        finally:
            with _logged(f"dead letters stay taken for {CLAIM_SECONDS:.0f} s"):
                await self._shelf.give_back()

    async def _heed_stopping(self) -> None:
        await self._stopping.wait()
        self._feed.end()
        self._news.set()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            await self._shelf.renew()

    async def _send_all(self, tasks: asyncio.TaskGroup) -> None:
        """Send as many at a time as there are places, until what became of all is written."""
        while True:
            self._ledger.check()
            while self._unusual:
                letter = self._unusual.popleft()
                tasks.create_task(self._call(letter), name=f"replay of {letter.entry.id}")
            left = self._seconds_left()
            if left == 0.0:
                self._begin()
                continue
            if self._free == self._places and self._is_over():
                return
            if self._free:
                self._feed.look()
            self._news.clear()
            if left is None:
                await self._news.wait()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()

    def _seconds_left(self) -> float | None:
        """Seconds until one may begin; None where that takes something else than time."""
        if not (self._free and self._turns.ready) or self._stopping.is_set():
            return None
        return 0.0 if self._pace is None else self._pace.left(self._now())

    def _is_over(self) -> bool:
        """Whether there is no more to begin."""
        return self._stopping.is_set() or (self._feed.is_over and not self._turns.count)

    def _begin(self) -> None:
        """Begin with the next; without a rate, with as many as there are places for."""
        while self._free and (entry := self._turns.take()) is not None:
            if self._shelf.holds(entry):
                self._begin_with(entry)
            else:
                self._turns.done(entry)
            if self._pace is not None:
                self._pace.begin(self._now())
                break

    def _begin_with(self, entry: Entry) -> None:
        event, function = entry.event, entry.function
        assert event is not None  # noqa: S101  # the feed has seen to both
        assert function is not None  # noqa: S101
        self._free -= 1
        letter = Letter(entry, function, event, entry.call_id or call_id_of(entry, function))
        call = self._caller.begin(letter, partial(self._hear, letter))
        if call is None:
            self._unusual.append(letter)
        else:
            self._begun[letter] = call

    def _hear(self, letter: Letter, response: InvokerResponse) -> None:
        """Its call, which was begun, has ended."""
        del self._begun[letter]
        letter.response = response
        if self._caller.is_delivered(letter):
            self._ledger.add(Settled(letter.entry, _REPLAYED))
        else:
            self._unusual.append(letter)
            self._news.set()

    async def _call(self, letter: Letter) -> None:
        """Do what takes waiting."""
        called = await self._caller.call(letter)
        self._ledger.add(settled(letter.entry, letter.call_id, called, self._clock))

    async def _write(self, group: Sequence[Settled]) -> None:
        """Write down what became of entries."""
        self._feed.look()
        self._tally.look()
        await self._shelf.settle(group)
        await self._tally.add(group)

    def _written(self, group: Sequence[Settled]) -> None:
        """Others have their places, and their turns."""
        self._free += len(group)
        for each in group:
            if each.entry.ordered:
                self._turns.done(each.entry)
        self._news.set()


@contextlib.contextmanager
def _logged(what: str) -> Generator[None]:
    """For the end of a replay: what it has failed with itself is raised already."""
    try:
        yield
    except Exception:
        _log.exception("%s", what)


def settled(entry: Entry, call_id: str, called: Called, clock: Callable[[], float]) -> Settled:
    """What became of an entry with a call."""
    if called.outcome.succeeded:
        return Settled(entry, _REPLAYED)
    failed = after_failure(entry, call_id, called, clock())
    return Settled(failed, _FAILED, called.outcome.what)


def after_failure(entry: Entry, call_id: str, called: Called, now: float) -> Entry:
    """The dead letter as it stands after it has failed again.

    As in a run, only the function's own failures are charged as attempts.
    """
    outcome = called.outcome
    reason = entry.reason
    if not called.calls:
        reason = Reason.UNREADABLE
    elif outcome.kind is Kind.REFUSED:
        reason = Reason.REFUSED
    elif outcome.kind is Kind.FAILED:
        reason = Reason.ATTEMPTS
    return msgspec.structs.replace(
        entry,
        call_id=call_id,
        attempts=entry.attempts + (outcome.kind is Kind.FAILED),
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
