"""Acknowledging what is safe: once, and by position up to the first gap only."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from faas_connector.entries import done_entry, is_of_broker
from faas_connector.errors import StoreError
from faas_connector.intake import InHand, Intake, Line, Tracked
from faas_connector.keeper import Keeper
from faas_connector.metrics import Histogram
from faas_connector.source import Delivery
from faas_connector.store import Entry
from faas_connector.unacked import Unacked

# Events that are finished and could not be acknowledged; remembered until they come again.
_MOST_REMEMBERED = 65_536


class Settler:
    """Tells the broker what is done, and remembers what could not be told."""

    def __init__(
        self,
        keeper: Keeper | None,
        in_hand: InHand,
        *,
        clock: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            keeper: the store; None for none.
            in_hand: forgets each event that is settled as far as it will be.
            clock: seconds since the epoch.
        """
        self.acked = 0
        self.unacked = Unacked()
        self.durations = Histogram()
        """From an event's reading until each function has it, or the store keeps it."""
        self._keeper = keeper
        self._clock = clock
        self._in_hand = in_hand
        self._finished: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._unwritten: dict[Tracked, None] = {}
        """What comes again, and is being written down."""

    def was_finished(self, key: tuple[str, str]) -> bool:
        """Whether each function has the event, though its broker doesn't know it."""
        return bool(self._finished) and key in self._finished

    async def settle(self, tracked: Tracked) -> None:
        """Each function has a verdict that is safe: acknowledge it, as far as may be."""
        if not self.settle_nowait(tracked):
            await self.acknowledge(tracked)

    def settle_nowait(self, tracked: Tracked) -> bool:
        """The same, if that takes no waiting; where this is false, `acknowledge` is to follow."""
        tracked.is_finished = True
        self.durations.observe(self._clock() - tracked.first)
        if tracked.entry_id:
            return False
        line = tracked.line
        if tracked.is_told:
            self._release(tracked)
            return True
        if line is None:
            return self._ack_nowait([tracked])
        if line.is_over:
            return False
        line.passed += line.frontier.finish(tracked)
        if line.is_acking or not line.passed:
            return True  # whoever is at it sees what was added
        passed = line.passed
        is_acked = self._ack_nowait(passed)
        if is_acked:
            line.passed = []
        return is_acked

    async def acknowledge(self, tracked: Tracked) -> None:
        """Wait for what `settle_nowait` could not do."""
        if tracked.entry_id:
            await self.end([tracked])
        elif tracked.line is None:
            await self.ack([tracked])
        elif tracked.line.is_over:
            await self._come_again([tracked])
        else:
            await self._ack_line(tracked.line)

    async def acknowledge_all(self, events: Sequence[Tracked]) -> None:
        """The same for several, one after another."""
        for done, tracked in enumerate(events, 1):
            try:
                await self.acknowledge(tracked)
            except asyncio.CancelledError:
                await self._come_again(events[done:])
                raise

    async def end(self, events: Sequence[Tracked]) -> None:
        """Each function has them: their own entries are done with."""
        if self._keeper is not None:
            await self._keeper.write(
                [verdict for tracked in events for verdict in self.end_of(tracked)],
                removes=[tracked.entry_id for tracked in events],
            )
        for tracked in events:
            self._release(tracked)

    def end_of(self, tracked: Tracked) -> list[Entry]:
        """What takes the place of its own entry, when each function has it."""
        # A broker may not know yet that it was kept here, and deliver it again.
        is_known = tracked.key is not None and is_of_broker(tracked.key[1])
        return self.done(tracked) if is_known else []

    def _release(self, tracked: Tracked) -> None:
        tracked.intake.release(tracked)
        self._in_hand.forget(tracked)

    async def _ack_line(self, line: Line) -> None:
        if line.is_acking:
            return
        line.is_acking = True
        try:
            while line.passed:
                passed, line.passed = line.passed, []
                await self.ack(passed)
        finally:
            line.is_acking = False

    def _ack_nowait(self, covered: list[Tracked]) -> bool:
        is_acked = covered[-1].delivery.ack_nowait()
        if is_acked:
            self._acked(covered)
        return is_acked

    async def ack(self, covered: list[Tracked]) -> None:
        """Acknowledge the last of them, which covers all."""
        last = covered[-1]
        handle = last.delivery
        try:
            await handle.ack()
        except asyncio.CancelledError:
            await self._come_again(covered)
            raise
        except Exception as error:
            self.unacked.add(covered, error)
            if _is_held_by(handle, last):
                await self._come_again(covered)
        else:
            self._acked(covered, is_settled=_is_held_by(handle, last))

    def _acked(self, covered: list[Tracked], *, is_settled: bool = True) -> None:
        self.acked += len(covered)
        if self._finished:
            for each in covered:
                if each.key is not None:
                    self._finished.pop(each.key, None)
        if is_settled:
            for each in covered:
                each.is_told = True
                self._release(each)

    def accept_nowait(self, tracked: Tracked) -> bool:
        """Do what `accept` does, if that takes no waiting; where this is false, it is to follow."""
        try:
            is_acked = tracked.delivery.ack_nowait()
        except Exception as error:
            self.unacked.add([tracked], error)
        else:
            if not is_acked:
                return False
            self.acked += 1
        tracked.is_told = True
        return True

    async def accept(self, tracked: Tracked) -> None:
        """It is in the journal, and delivered from there, whether its broker can be told or not."""
        tracked.is_told = True
        try:
            await tracked.delivery.ack()
        except Exception as error:
            self.unacked.add([tracked], error)
        else:
            self.acked += 1

    async def lose_session(self, intake: Intake) -> None:
        """Remember what is finished, and can't be acknowledged any more: it comes again."""
        await self._come_again(intake.lose_session())

    async def _come_again(self, covered: Sequence[Tracked]) -> None:
        for each in covered:
            each.is_told = True
            self._release(each)
            if each.key is not None:
                self._finished[each.key] = None
                if len(self._finished) > _MOST_REMEMBERED:
                    self._finished.popitem(last=False)
        self._unwritten.update(dict.fromkeys(covered))
        await self.remember(covered)
        for each in covered:
            self._unwritten.pop(each, None)

    async def remember(self, events: Iterable[Tracked]) -> None:
        """Write down what succeeded, so that a redelivery doesn't repeat it; try once."""
        events = [*events]
        done = [entry for tracked in events for entry in self.done(tracked)]
        if done and self._keeper is not None:
            new = [each for tracked in events for each in tracked.succeeded]
            try:
                await self._keeper.store.write(done)
            except StoreError as error:
                self._keeper.failed(error)
            else:
                for pending in new:
                    pending.is_remembered = True

    def done(self, tracked: Tracked) -> list[Entry]:
        """The verdicts of its successes, where it can be told from others; of the new ones."""
        if tracked.key is None:
            return []
        now = self._clock()
        return [
            done_entry(tracked, pending, now)
            for pending in tracked.succeeded
            if not pending.is_remembered
        ]

    async def remember_beyond(self, intakes: Iterable[Intake]) -> None:
        """At a stop: write down what is finished above a gap, or comes again."""
        self.unacked.tell()
        unwritten, self._unwritten = self._unwritten, {}
        await self.remember(unwritten)
        for intake in intakes:
            for line in intake.lines.values():
                await self.remember(line.frontier.beyond())


def _is_held_by(handle: Delivery, tracked: Tracked) -> bool:
    """Whether settling a handle settled the event: it may have come again meanwhile."""
    return tracked.delivery is handle or tracked.line is not None
