"""From an event that was read to its settling: match, fan out, order, keep, acknowledge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from faas_connector.audience import Audience
from faas_connector.call_ids import call_ids, stable_call_id
from faas_connector.carrying import Carrier
from faas_connector.cloudevents import as_cloudevent
from faas_connector.config import ControllerConfig
from faas_connector.discovery import TopicMapBuilder
from faas_connector.entries import journal_position
from faas_connector.errors import ConnectorError
from faas_connector.gate import OutageGate
from faas_connector.intake import InHand, Intake, Tracked
from faas_connector.invoker import Invoker
from faas_connector.journal import Journal
from faas_connector.keeper import Keeper
from faas_connector.keeping import Keeping
from faas_connector.key_order import ParkedKeys
from faas_connector.leaving import Leaving
from faas_connector.names import FunctionName
from faas_connector.planning import from_outside
from faas_connector.pursuit import Fate, Pending, Pursuit, Verdict, patiently
from faas_connector.settling import Settler
from faas_connector.source import Delivery
from faas_connector.store import Entry, Reason, State
from faas_connector.tasks import Grouping, Tasks, Work


class Dispatcher:
    """Delivers what is begun."""

    def __init__(
        self,
        config: ControllerConfig,
        builder: TopicMapBuilder,
        invoker: Invoker,
        pursuit: Pursuit,
        gate: OutageGate,
        keeper: Keeper | None,
        *,
        fatal: Callable[[ConnectorError], None],
        parked: Callable[[], None],
        keys: ParkedKeys,
        intakes: Mapping[str, Intake],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            config: the policies.
            builder: has the map of topics to functions, and knows who asked lately.
            invoker: knows what holds for each function.
            pursuit: calls until there is a verdict.
            gate: knows whether the gateway is down.
            keeper: the store; None for none.
            fatal: is told what ends the run.
            parked: is told that something in the store may be due.
            keys: of the ordered events that are parked.
            intakes: of the sources, by their names.
            clock: seconds since the epoch.
        """
        self._in_hand = InHand()
        self.settler = Settler(keeper, self._in_hand, clock=clock)
        self.keeping = Keeping(
            config, invoker, keeper, self.settler, keys, intakes,
            fatal=fatal, parked=parked, clock=clock,
        )  # fmt: skip
        self.journal = Journal(keeper, self.keeping, self.settler, clock)
        self.leaving = Leaving(keeper, self.keeping, self.settler, gate, clock)
        self._tasks = tasks = Tasks(self.ended)
        self._journalling = Grouping(tasks, self._journal_all, "journal")
        self._ending = Grouping(tasks, self._end_all, "end of journalled events")
        self._acknowledging = Grouping(tasks, self._acknowledge_all, "acknowledgements")
        self._carrier = Carrier(invoker, pursuit, self.keeping, self.settler, self)
        self._audience = Audience(
            config, builder, invoker, self.keeping, self.leaving, clock,
            can_hold=keeper is not None,
        )  # fmt: skip
        self._invoker = invoker
        self._pursuit = pursuit
        self._keeper = keeper
        self._clock = clock
        self._call_ids = call_ids()
        self._loop = asyncio.get_running_loop()  # in CPython a system call each time

    # Beginning

    def begin(self, intake: Intake, delivery: Delivery) -> None:
        """Deliver an event that a source read."""
        intake.counts.read += 1
        position = delivery.position
        key = None
        if position is not None:
            key = intake.name, position
            running = self._in_hand.get(key)
            if running is not None:
                self._begin_again(running, delivery)
                return
        event = from_outside(delivery.event, intake.connector)
        if intake.cloudevents:
            event = as_cloudevent(event, source=intake.name, position=position)
        tracked = Tracked(intake, delivery, event, self._clock(), intake.name, key)
        if event.time is not None:
            intake.last_time = event.time, tracked.first
        self._take(tracked, delivery)
        # What comes from the store is not in hand in this sense: a redelivery of the same event may
        # be about other functions, and finds in the store what is kept of it.
        if key is not None:
            self._in_hand[key] = tracked
            if self.settler.was_finished(key):
                self.keeping.counts.redelivered += 1
                self.start(tracked, self.settler.settle(tracked))
                return
        if intake.traits.journal and self.journal.backlog.is_open and not delivery.damage:
            self.journal.backlog.begin()
            self.start(tracked, self.journal.put_off(tracked))
            return
        self._audience.find(tracked)
        if intake.traits.journal and key is None and delivery.once is None and not delivery.damage:
            self._journalling.add(tracked)
        elif self._is_plain(tracked):
            self._carry(tracked)
        else:
            self.start(tracked, self._deliver(tracked))

    @staticmethod
    def _is_plain(tracked: Tracked) -> bool:
        """Whether it is new and for one function, and has to wait for nobody: the usual case."""
        delivery = tracked.delivery
        if len(tracked.functions) != 1 or tracked.tickets is not None or delivery.damage:
            return False
        if tracked.intake.traits.journal:
            return tracked.is_journalled
        return delivery.redelivered is False or tracked.key is None

    def _carry(self, tracked: Tracked) -> None:
        tracked.intake.counts.matched += 1
        self._carrier.begin(tracked)

    def begin_entry(self, intake: Intake, entry: Entry, *, is_probe: bool = False) -> Tracked:
        """Deliver what the store had kept; to a paused function, if it is the probe."""
        assert entry.event is not None  # noqa: S101
        self.keeping.held.add(entry.id)
        position = entry.position
        if position is None and (entry.function is None or entry.state is State.JOURNAL):
            position = self._journal_position(entry.id)
        delivery = Delivery(entry.event, position=position, redelivered=True)
        key = None if position is None else (entry.source, position)
        tracked = Tracked(intake, delivery, entry.event, entry.first, entry.source, key)
        intake.take(tracked)
        if entry.function is None:
            tracked.entry_id = entry.id
            tracked.is_held = entry.state is State.PARKED and entry.ordered
            self._audience.find(tracked)
            self.start(tracked, self._deliver(tracked))
            return tracked
        pending = Pending(
            entry.function, entry.event, entry.call_id or self.call_id(tracked, entry.function),
            entry.first, entry.source, entry.attempts, entry.calls, mode=entry.mode,
            entry_id=entry.id, kept_calls=entry.calls, is_probe=is_probe,
        )  # fmt: skip
        if entry.ordered and entry.event.key is not None:
            self._audience.line_up(tracked, entry.function, entry.event.key)
        self.start(tracked, self._deliver_entry(tracked, pending))
        return tracked

    def _begin_again(self, running: Tracked, delivery: Delivery) -> None:
        """It came again while it is in hand: settle the new handle, and call nobody."""
        self.keeping.counts.redelivered += 1
        intake = running.intake
        is_safe = running.is_finished or running.is_told
        if not is_safe or intake.has_placed(running):
            self._take(running, delivery)
            return
        # The old handle is settled, or about to be, and this one is no concern of its task.
        key = intake.name, delivery.position or ""
        again = Tracked(intake, delivery, running.event, running.first, running.source, key)
        self._take(again, delivery)
        self._in_hand[key] = again
        self.start(again, self.settler.settle(again))

    def _take(self, tracked: Tracked, delivery: Delivery) -> None:
        """Hold it by this handle, and settle that when it is done."""
        intake = tracked.intake
        tracked.delivery = delivery
        if delivery.deadline is not None:
            tracked.deadline_at = self._loop.time() + delivery.deadline
            intake.has_deadlines.set()
        intake.take(tracked)
        if intake.by_position:
            intake.place(tracked)

    # What all ways of delivering share (`Delivering`)

    def call_id(self, tracked: Tracked, function: FunctionName) -> str:
        """The name of all calls of an event and a function."""
        if tracked.key is None:
            return next(self._call_ids)
        return stable_call_id(*tracked.key, function)

    def start(self, tracked: Tracked, work: Work) -> None:
        """Run the rest of an event in a task."""
        self._tasks.start(tracked, work)

    async def settle(self, tracked: Tracked) -> None:
        """Each function has a verdict that is safe: tell its broker, or the journal."""
        await self.settler.settle(tracked)
        if tracked.entry_id:
            self._let_go(tracked)

    def acknowledge(self, tracked: Tracked) -> None:
        """Have done what is left of that, with that of others where it may be."""
        if tracked.entry_id:
            self._ending.add(tracked)
        elif tracked.intake.traits.confirms_acks or tracked.line is not None:
            self.start(tracked, self._acknowledge_all([tracked]))
        else:
            self._acknowledging.add(tracked)

    def ended(self, tracked: Tracked) -> None:
        """Nothing runs for it any more, whatever became of it: let go of what it holds."""
        if tracked.tickets:
            for ticket in tracked.tickets.values():
                ticket.leave()
        # What is finished is forgotten once it is acknowledged, which may be later.
        if not tracked.is_finished:
            self._in_hand.forget(tracked)
        tracked.intake.ended(tracked)
        tracked.delivery.ended()

    # Delivering

    async def _deliver(self, tracked: Tracked) -> None:
        if tracked.delivery.damage:
            if None not in await self._known_of(tracked):
                await self.keeping.bury_damaged(tracked)
        elif tracked.intake.traits.journal and not tracked.entry_id:
            if not await self._journal(tracked):
                return
        elif not await self._deliver_to_all(tracked):
            return
        await self.settle(tracked)

    def _let_go(self, tracked: Tracked) -> None:
        """Its own entry is gone."""
        self.keeping.held.discard(tracked.entry_id)
        self.keeping.is_held_no_more(tracked)

    async def _acknowledge_all(self, events: list[Tracked]) -> None:
        for tracked in events:
            tracked.turn = None
        await self.settler.acknowledge_all(events)

    async def _end_all(self, events: list[Tracked]) -> None:
        """Their entries are done with."""
        for tracked in events:
            tracked.turn = None
        await self.settler.end(events)
        for tracked in events:
            self._let_go(tracked)

    async def _deliver_to_all(self, tracked: Tracked) -> bool:
        """Whether each function has a verdict that is safe; else it stays as it is."""
        known = await self._known_of(tracked)
        if None in known and not tracked.entry_id:
            return True  # the whole event is in the store already
        while not tracked.functions:
            if (settled := await self._audience.missing(tracked)) is not None:
                return settled
            self._audience.find(tracked)
        if tracked.tickets and self.keeping.is_behind_held(tracked):
            await self._audience.turn(tracked)
            return await self.keeping.hold(tracked, 0.0)
        self.keeping.home(tracked).counts.matched += 1
        functions = tracked.functions
        if known:
            functions = tuple(function for function in functions if function not in known)
            self._audience.leave(tracked, known)
        waits = self._waits(tracked)
        tracked.open = [
            Pending(
                function, tracked.event, self.call_id(tracked, function), tracked.first,
                tracked.source, waits=waits,
            )
            for function in functions
        ]  # fmt: skip
        if len(tracked.open) == 1:
            await self._deliver_to(tracked, tracked.open[0])
        elif tracked.open:
            async with asyncio.TaskGroup() as group:
                for pending in tracked.open:
                    group.create_task(
                        self._deliver_to(tracked, pending), name=f"delivery to {pending.function}"
                    )
        return True

    async def _known_of(self, tracked: Tracked) -> dict[FunctionName | None, Entry]:
        """What the store knows of an event that may have come before."""
        keeper, is_new = self._keeper, tracked.delivery.redelivered is False
        if keeper is None or tracked.key is None or is_new or tracked.is_journalled:
            return {}
        if not keeper.store.has_verdicts:
            return {}
        source, position = tracked.key
        entries = await keeper.insist(lambda: keeper.store.known(source, position))
        return {entry.function: entry for entry in entries}

    async def _deliver_entry(self, tracked: Tracked, pending: Pending) -> None:
        tracked.open.append(pending)
        try:
            await self._deliver_to(tracked, pending)
        finally:
            tracked.intake.release(tracked)
            self.keeping.held.discard(pending.entry_id)
        self.keeping.parked()

    async def _deliver_to(self, tracked: Tracked, pending: Pending) -> None:
        """See one function's share through, in its turn."""
        ticket = tracked.tickets.get(pending.function) if tracked.tickets else None
        if ticket is None:
            verdict = await self._pursuit.verdict(pending)
            await self.keeping.keep(tracked, pending, verdict)
            return
        parked = done = 0
        try:
            ahead = await patiently(ticket.turn, pending.waits)
            verdict = await self._verdict_in_turn(tracked, pending, ahead)
            await self.keeping.keep(tracked, pending, verdict)
            if verdict.fate is Fate.PARK:
                parked = pending.entry_id
            else:
                done = pending.entry_id
        finally:
            ticket.leave(parked=parked, done=done)

    async def _verdict_in_turn(self, tracked: Tracked, pending: Pending, ahead: int) -> Verdict:
        key, entry_id = tracked.event.key, pending.entry_id
        if entry_id and not tracked.functions:
            # From the store: of what stands there before it, all that is due is in hand as well.
            is_behind = 0 < ahead < entry_id
        else:
            own = 1 if entry_id else 0  # its deadline came before its turn
            is_behind = ahead > 0 or (
                key is not None and self.keeping.keys.holds(pending.function, key, besides=own)
            )
            tickets = tracked.tickets or {}
            if is_behind and 0 < entry_id < tickets[pending.function].last:
                await self.keeping.park_anew(tracked, pending)
        if is_behind:
            return Verdict(Fate.PARK, Reason.ORDER, self._clock())
        return await self._pursuit.verdict(pending)

    async def _journal(self, tracked: Tracked) -> bool:
        """Write the event down, acknowledge it, and deliver it; whether that is all done."""
        entry_id = await self.journal.write(tracked)
        if entry_id is None:
            return False
        key = tracked.key
        self._is_journalled(tracked, entry_id)
        try:
            await self.settler.accept(tracked)
            return await self._deliver_to_all(tracked)
        finally:
            if key is not None:
                self._in_hand.pop(key, None)

    def _journal_position(self, entry_id: int) -> str:
        assert self._keeper is not None  # noqa: S101  # entries are in a store
        return journal_position(self._keeper.store, entry_id)

    def _is_journalled(self, tracked: Tracked, entry_id: int) -> None:
        tracked.entry_id = entry_id
        tracked.intake.journal(tracked)
        self.keeping.held.add(entry_id)
        tracked.key = tracked.source, self._journal_position(entry_id)

    async def _journal_all(self, events: list[Tracked]) -> None:
        """Write new events down together, and acknowledge them; then deliver each."""
        ids = await self.journal.append(events)
        results = [*zip(events, ids, strict=True)]
        written = [(tracked, entry_id) for tracked, entry_id in results if entry_id is not None]
        events[:] = [tracked for tracked, entry_id in results if entry_id is None]
        plain = list[Tracked]()
        for tracked, entry_id in written:
            self._is_journalled(tracked, entry_id)
            tracked.task = None
            if self._is_plain(tracked) and self.settler.accept_nowait(tracked):
                plain.append(tracked)
            else:
                self.start(tracked, self._deliver_journalled(tracked))
        for tracked in plain:
            self._carry(tracked)

    async def _deliver_journalled(self, tracked: Tracked) -> None:
        if not tracked.is_told:
            await self.settler.accept(tracked)
        if await self._deliver_to_all(tracked):
            await self.settle(tracked)

    def _waits(self, tracked: Tracked) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """What is done before one of several functions starts a long wait."""
        if self._keeper is None or tracked.key is None or len(tracked.functions) < 2:
            return None
        return lambda: self._remember(tracked)

    async def _remember(self, tracked: Tracked) -> None:
        if not tracked.remembers:
            tracked.remembers = True
            await self.settler.remember([tracked])
