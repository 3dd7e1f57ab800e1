"""Events that are let go before they are done: at their deadline, at the end of a run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from faas_connector.entries import function_entry, whole_entry
from faas_connector.gate import OutageGate
from faas_connector.intake import Intake, Tracked
from faas_connector.keeper import Keeper
from faas_connector.keeping import Keeping
from faas_connector.names import FunctionName
from faas_connector.settling import Settler
from faas_connector.source import Delivery
from faas_connector.store import Reason, State

_log = logging.getLogger("faas_connector.delivery")

# Seconds that writes which have begun may take when the time of a drain is over.
_LAST_WRITE = 1.0


def with_those_ahead(running: dict[Tracked, None], leaving: Iterable[Tracked]) -> list[Tracked]:
    """What leaves, and what is ahead of it in the order of a key: so they are parked in it.

    Args:
        running: in the order of their keys.
        leaving: of those.
    """
    asked, lines = set(leaving), set[tuple[FunctionName, str | None]]()
    found: list[Tracked] = []
    for tracked in reversed(running):
        own = {(function, tracked.event.key) for function in tracked.tickets or ()}
        if tracked in asked or not lines.isdisjoint(own):
            lines |= own
            found.append(tracked)
    found.reverse()
    return found


class Leaving:
    """Lets events go so that none is lost, and none is repeated that needn't be."""

    def __init__(
        self,
        keeper: Keeper | None,
        keeping: Keeping,
        settler: Settler,
        gate: OutageGate,
        clock: Callable[[], float],
    ) -> None:
        self._keeper = keeper
        self._keeping = keeping
        self._settler = settler
        self._gate = gate
        self._clock = clock

    async def detach_ahead(self, tracked: Tracked) -> None:
        """It is to be held for whoever asks: first park what runs of its key and came before it.

        Given back or redelivered instead, that would come behind it.
        """
        if tracked.event.key is None or tracked.entry_id:
            return
        for other in [*tracked.intake.running]:
            if other is tracked:
                return
            if other.tickets and other.event.key == tracked.event.key:
                await self.detach(other, Reason.ORDER)

    async def detach(self, tracked: Tracked, reason: Reason = Reason.DEADLINE) -> None:
        """Park what is open, acknowledge it, and go on: its broker will wait no longer, say."""
        is_settling = tracked.keeping or tracked.detaching or tracked.is_told
        if self._keeper is None or is_settling or tracked.is_finished:
            return
        if tracked.task is not None and (tracked.task.cancelling() or tracked.task.done()):
            return  # it is being handed back
        if tracked.turn is not None:
            tracked.turn.pending()
        if not tracked.open:
            return  # nobody knows yet who is to have it, or it is about to be settled
        # Whoever asks may be gone before it is written: half of it would repeat calls.
        tracked.detaching = asyncio.create_task(
            self._park_open(tracked, self._keeper, reason), name="park what is open"
        )
        await asyncio.shield(tracked.detaching)

    async def _park_open(self, tracked: Tracked, keeper: Keeper, reason: Reason) -> None:
        try:
            new = [pending for pending in tracked.open if not pending.entry_id]
            now = self._clock()
            ids = await keeper.write(
                [
                    function_entry(
                        tracked, each, State.PARKED, reason, due=max(now, each.due), now=now
                    )
                    for each in new
                ]
            )
            self._keeping.counts.parked += len(new)
            for pending, entry_id in zip(new, ids, strict=True):
                # A call that runs is to be written down when it has failed.
                pending.entry_id, pending.kept_calls = entry_id, max(0, pending.calls - 1)
                self._keeping.held.add(entry_id)
                self._keeping.count_key(tracked, pending, 1)
            if not tracked.intake.by_position:  # it would acknowledge what is before it, too
                await self._settler.ack([tracked])
        finally:
            tracked.detaching = None
            tracked.intake.tell()

    async def abort(self, *intakes: Intake) -> list[Tracked]:
        """Stop all that runs, and leave it unsettled; what that was."""
        left = [tracked for intake in intakes for tracked in intake.running]
        # First those that wait for a call to end: it would hand its place on to them.
        for tracked in left:
            if tracked.turn is not None and tracked.turn.is_waiting:
                tracked.turn.give_up()
        for tracked in left:
            if tracked.turn is not None and tracked.task is None:
                tracked.turn.give_up()
        tasks = {task for each in left for task in (each.task, each.detaching) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for tracked in left:
            if tracked.turn is not None:
                tracked.turn.give_up()
        return left

    async def refuse(self, intake: Intake, delivery: Delivery) -> None:
        """It came after a stop: give it back, though not in an outage."""
        if not (intake.by_position or self._gate.is_closed):
            await delivery.nack()

    async def hand_back(self, intake: Intake) -> None:
        """The time of a drain is over: stop all that runs, and give back what can be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WRITE):
                await intake.writes()
        left = await self.abort(intake)
        await self._keeping.end_stopped(left)
        for tracked in left:
            if not (tracked.is_finished or tracked.is_told or tracked.entry_id):
                try:
                    await self._give_back(tracked)
                except Exception as error:
                    _log.warning("%s: could not hand back an event (%s)", tracked.source, error)

    async def _give_back(self, tracked: Tracked) -> None:
        """Let it come again, without what is done; park the rest where it could not be told."""
        keeper, is_told_apart = self._keeper, tracked.key is not None
        is_partly_told = not is_told_apart and (
            tracked.succeeded or tracked.tickets or 0 < len(tracked.open) < len(tracked.functions)
        )
        if tracked.intake.by_position:
            await self._settler.remember([tracked])
        elif tracked.succeeded and not tracked.open:
            await self._settler.ack([tracked])
        elif keeper is not None and (tracked.delivery.is_last or is_partly_told):
            now = self._clock()
            entries = [
                function_entry(
                    tracked, each, State.PARKED, Reason.BACKOFF, due=max(now, each.due), now=now
                )
                for each in tracked.open
            ] or [whole_entry(tracked, State.PARKED, Reason.HELD, due=now, now=now)]
            await keeper.store.write(entries)
            await self._settler.ack([tracked])
        elif keeper is not None or not tracked.succeeded:
            # All of a key come again, in their order: none of them is kept here, or comes later.
            await self._settler.remember([tracked])
            if not self._gate.is_closed:
                due = (
                    0.0
                    if tracked.tickets
                    else max((each.due for each in tracked.open), default=0.0)
                )
                await tracked.delivery.nack(max(0.0, due - self._clock()))
