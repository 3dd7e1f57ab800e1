"""From an event that was read to its settling: match, fan out, order, keep, acknowledge."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from typing import Any

import msgspec

from faas_connector.backlog import Backlog
from faas_connector.cloudevents import as_cloudevent
from faas_connector.config import ControllerConfig, OnFailure, Unmatched
from faas_connector.contract import Order
from faas_connector.errors import ConnectorError, StoreError, StoreFullError
from faas_connector.gate import OutageGate
from faas_connector.intake import Intake, Tracked
from faas_connector.invoker import Invoker, call_ids, stable_call_id
from faas_connector.keeper import Keeper
from faas_connector.key_order import KeyOrder, ParkedKeys
from faas_connector.metrics import SourceCounts
from faas_connector.names import FunctionName
from faas_connector.outcome import Kind, Outcome
from faas_connector.planning import from_outside
from faas_connector.pursuit import Fate, Pending, Pursuit, Verdict
from faas_connector.settling import JOURNAL, Settler, done_entry
from faas_connector.source import Delivery, Once
from faas_connector.store import MAX_ANSWER_BYTES, Entry, Reason, State, Store
from faas_connector.topic_map import TopicMap

_log = logging.getLogger("faas_connector.delivery")

# Seconds before it is looked again whether a function asks for an event that is held.
_HELD_WAIT = 5.0
_LONGEST_HELD_WAIT = 60.0
# Seconds that writes which have begun may take when the time of a drain is over.
_LAST_WRITE = 1.0


def _said(outcome: Outcome | None) -> str:
    """What was answered last, for the log: nothing of an answer's body."""
    if outcome is None:
        return "it is no longer in the gateway's list"
    return outcome.what if outcome.status is None else str(outcome.status)


def _journal_position(entry_id: int) -> str:
    return f"{JOURNAL}{entry_id}"


class DispatchCounts(msgspec.Struct):
    """What became of events so far."""

    read: int = 0
    redelivered: int = 0
    """Events that came again while they were in hand; none was called again for it."""
    unmatched: int = 0
    """Events acknowledged though no function asked for them."""
    parked: int = 0
    """Times that an event was parked for a function, or for whoever will ask for it."""
    dead_lettered: int = 0
    dropped: int = 0
    """Failed for good and not kept, as `on_failure` or the function's annotation says."""
    duplicates: int = 0
    """Events that were not journalled again, since their publisher's name of them was known."""
    refused: int = 0
    """Events that the journal had no room for."""


class Dispatcher:
    """Delivers what is begun, each event in a task of its own."""

    def __init__(
        self,
        config: ControllerConfig,
        topic_map: Callable[[], TopicMap],
        matched_lately: Callable[[str, tuple[str, ...]], bool],
        invoker: Invoker,
        pursuit: Pursuit,
        gate: OutageGate,
        keeper: Keeper | None,
        *,
        fatal: Callable[[ConnectorError], None],
        parked: Callable[[], None],
        keys: ParkedKeys,
        scopes: Mapping[str, tuple[str, ...]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            config: the policies.
            topic_map: gives the map as it is now.
            matched_lately: whether a topic had functions of some namespaces a short while ago.
            invoker: knows what holds for each function.
            pursuit: calls until there is a verdict.
            gate: knows whether the gateway is down.
            keeper: the store; None for none.
            fatal: is told what ends the run.
            parked: is told that something in the store may be due.
            keys: of the ordered events that are parked.
            scopes: by the name of a source, the namespaces that its events are for.
            clock: seconds since the epoch.
        """
        self.counts = DispatchCounts()
        self.sources: defaultdict[str, SourceCounts] = defaultdict(SourceCounts)
        """By the name of the source."""
        self.settler = Settler(keeper, clock=clock, forget=self._forget)
        self.backlog = Backlog()
        """What only the journal holds."""
        self.held: set[int] = set()
        """Ids of the entries that are in hand."""
        self.returned: set[tuple[FunctionName, str]] = set()
        """Functions and keys for which something was parked since the store was last looked at."""
        self._config = config
        self._map = topic_map
        self._matched_lately = matched_lately
        self._invoker = invoker
        self._pursuit = pursuit
        self._gate = gate
        self._keeper = keeper
        self._fatal = fatal
        self._parked = parked
        self._keys = keys
        self._scopes = scopes or {}
        self._clock = clock
        self._call_ids = call_ids()
        self._order = KeyOrder()
        self._in_hand: dict[tuple[str, str], Tracked] = {}

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # in CPython a system call each time

    # Beginning

    def begin(self, intake: Intake, delivery: Delivery) -> None:
        """Deliver an event that a source read."""
        self.counts.read += 1
        self.sources[intake.name].read += 1
        position = delivery.position
        if position is not None:
            running = self._in_hand.get((intake.name, position))
            if running is not None:
                self._begin_again(running, delivery)
                return
        event = from_outside(delivery.event)
        if intake.cloudevents:
            event = as_cloudevent(event, source=intake.name, position=position)
        tracked = Tracked(intake, delivery, event, self._clock(), intake.name, position)
        if event.time is not None:
            intake.last_time = event.time, tracked.first
        self._take(tracked, delivery)
        # What comes from the store is not in hand in this sense: a redelivery of the same event may
        # be about other functions, and finds in the store what is kept of it.
        if tracked.key is not None:
            self._in_hand[tracked.key] = tracked
            if self.settler.was_finished(tracked.key):
                self.counts.redelivered += 1
                self._start(tracked, self.settler.settle(tracked))
                return
        if intake.traits.journal and self.backlog.is_open and not delivery.damage:
            self.backlog.begin()
            self._start(tracked, self._put_off(tracked))
            return
        self._match(tracked)
        self._start(tracked, self._deliver(tracked))

    def begin_entry(self, intake: Intake, entry: Entry) -> None:
        """Deliver what the store had kept."""
        assert entry.event is not None  # noqa: S101
        self.held.add(entry.id)
        position = entry.position
        if entry.function is None and position is None:
            position = _journal_position(entry.id)
        delivery = Delivery(entry.event, position=position, redelivered=True)
        tracked = Tracked(intake, delivery, entry.event, entry.first, entry.source, position)
        intake.take(tracked)
        if entry.function is None:
            tracked.entry_id = entry.id
            self._match(tracked)
            self._start(tracked, self._deliver(tracked))
            return
        pending = Pending(
            entry.function, entry.event, entry.call_id or self._call_id(tracked, entry.function),
            entry.first, entry.attempts, entry.calls, entry_id=entry.id, kept_calls=entry.calls,
        )  # fmt: skip
        if entry.ordered and entry.event.key is not None:
            self._line_up(tracked, entry.function, entry.event.key)
        self._start(tracked, self._deliver_entry(tracked, pending))

    def _start(self, tracked: Tracked, work: Coroutine[Any, Any, None]) -> None:
        intake = tracked.intake
        intake.running[tracked] = None
        tracked.task = self._loop.create_task(self._bordered(tracked, work), name="delivery")

    def _begin_again(self, running: Tracked, delivery: Delivery) -> None:
        """It came again while it is in hand: settle the new handle, and call nobody."""
        self.counts.redelivered += 1
        intake = running.intake
        is_safe = running.is_finished or running.is_told
        if not is_safe or intake.has_placed(running):
            self._take(running, delivery)
            return
        # The old handle is settled, or about to be, and this one is no concern of its task.
        again = Tracked(
            intake, delivery, running.event, running.first, running.source, delivery.position
        )
        self._take(again, delivery)
        self._in_hand[intake.name, delivery.position or ""] = again
        self._start(again, self.settler.settle(again))

    def _take(self, tracked: Tracked, delivery: Delivery) -> None:
        """Hold it by this handle, and settle that when it is done."""
        tracked.delivery = delivery
        if delivery.deadline is not None:
            tracked.deadline_at = self._loop.time() + delivery.deadline
        tracked.intake.take(tracked)
        tracked.intake.place(tracked)

    def _match(self, tracked: Tracked) -> None:
        """Find the functions, and take a place in line where one keeps the order of keys."""
        topic_map = self._map()
        if namespaces := self._namespaces(tracked):
            topic_map = topic_map.within(namespaces)
        topic = tracked.event.topic
        contracts = topic_map.match(topic)
        if missing := topic_map.match_missing(topic):
            contracts += missing
        only = tracked.delivery.function
        tracked.functions = [
            contract.name for contract in contracts if only is None or contract.name == only
        ]
        key = tracked.event.key
        if key is not None:
            for function in tracked.functions:
                if self._invoker.terms(function).order is Order.KEY:
                    self._line_up(tracked, function, key)

    def _namespaces(self, tracked: Tracked) -> tuple[str, ...]:
        """Those of its source, from which it may have come in an earlier run."""
        return self._scopes.get(tracked.source, tracked.intake.namespaces)

    def _line_up(self, tracked: Tracked, function: FunctionName, key: str) -> None:
        if tracked.tickets is None:
            tracked.tickets = {}
        tracked.tickets[function] = self._order.ticket(function, key)

    # Delivering

    async def _bordered(self, tracked: Tracked, work: Coroutine[Any, Any, None]) -> None:
        """The border of an event's task: what nobody foresaw ends here, and is settled nowhere."""
        intake = tracked.intake
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:
            _log.exception(
                "%s: an event could not be delivered; it is left unsettled", tracked.source,
                extra={"source": tracked.source, "position": tracked.delivery.position},
            )  # fmt: skip
            intake.release(tracked)
            if tracked.line is not None and not tracked.line.is_over:
                intake.broken(error)  # nothing behind it could be acknowledged
        finally:
            if tracked.tickets:
                for ticket in tracked.tickets.values():
                    ticket.leave(parked=0)
            # What is finished may have to wait until an earlier event is acknowledged.
            if not (tracked.is_taken and tracked.is_finished):
                self._forget(tracked)
            intake.ended(tracked)
            tracked.delivery.ended()

    def _forget(self, tracked: Tracked) -> None:
        key = tracked.key
        if key is not None and self._in_hand.get(key) is tracked:
            del self._in_hand[key]

    async def _deliver(self, tracked: Tracked) -> None:
        if tracked.delivery.damage:
            await self._bury_damaged(tracked)
        elif tracked.intake.traits.journal and not tracked.entry_id:
            if not await self._journal(tracked):
                return
        elif not await self._deliver_to_all(tracked):
            return
        await self.settler.settle(tracked)
        if tracked.entry_id:
            self.held.discard(tracked.entry_id)

    async def _deliver_to_all(self, tracked: Tracked) -> bool:
        """Whether each function has a verdict that is safe; else it stays as it is."""
        known: dict[FunctionName | None, Entry] = {}
        is_new = tracked.delivery.redelivered is False or tracked.is_journalled
        if not is_new and tracked.key is not None:
            known = await self._known(tracked)
        if None in known and not tracked.entry_id:
            return True  # the whole event is in the store already
        while not tracked.functions:
            if (settled := await self._unmatched(tracked)) is not None:
                return settled
            self._match(tracked)
        self.sources[tracked.source].matched += 1
        functions = tracked.functions
        if known:
            functions = [function for function in functions if function not in known]
        tracked.open = [
            Pending(function, tracked.event, self._call_id(tracked, function), tracked.first)
            for function in functions
        ]
        if len(tracked.open) == 1:
            await self._deliver_to(tracked, tracked.open[0])
        elif tracked.open:
            async with asyncio.TaskGroup() as group:
                for pending in tracked.open:
                    group.create_task(
                        self._deliver_to(tracked, pending), name=f"delivery to {pending.function}"
                    )
        return True

    async def _known(self, tracked: Tracked) -> dict[FunctionName | None, Entry]:
        """What the store knows of an event that may have come before."""
        keeper = self._keeper
        if keeper is None or tracked.key is None or not keeper.store.has_verdicts:
            return {}
        source, position = tracked.key
        entries = await keeper.insist(lambda: keeper.store.known(source, position))
        return {entry.function: entry for entry in entries}

    def _call_id(self, tracked: Tracked, function: FunctionName) -> str:
        if tracked.key is None:
            return next(self._call_ids)
        return stable_call_id(*tracked.key, function)

    async def _deliver_entry(self, tracked: Tracked, pending: Pending) -> None:
        tracked.open.append(pending)
        try:
            await self._deliver_to(tracked, pending)
        finally:
            tracked.intake.release(tracked)
            self.held.discard(pending.entry_id)
        self._parked()

    async def _deliver_to(self, tracked: Tracked, pending: Pending) -> None:
        """See one function's share through, in its turn."""
        ticket = tracked.tickets.get(pending.function) if tracked.tickets else None
        if ticket is None:
            verdict = await self._pursuit.verdict(pending, self._waits(tracked))
            await self._keep(tracked, pending, verdict)
            return
        parked = 0
        try:
            ahead = await ticket.turn()
            verdict = await self._verdict_in_turn(tracked, pending, ahead)
            await self._keep(tracked, pending, verdict)
            if verdict.fate is Fate.PARK:
                parked = min(ahead, pending.entry_id) if ahead else pending.entry_id
        finally:
            ticket.leave(parked=parked, entry_id=pending.entry_id if parked else 0)

    async def _verdict_in_turn(self, tracked: Tracked, pending: Pending, ahead: int) -> Verdict:
        key, entry_id = tracked.event.key, pending.entry_id
        if entry_id and not tracked.functions:
            # From the store: of what stands there before it, all that is due is in hand as well.
            is_behind = 0 < ahead < entry_id
        else:
            own = 1 if entry_id else 0  # its deadline came before its turn
            is_behind = ahead > 0 or (
                key is not None and self._keys.holds(pending.function, key, besides=own)
            )
            tickets = tracked.tickets or {}
            if is_behind and 0 < entry_id < tickets[pending.function].last:
                await self._park_anew(tracked, pending)
        if is_behind:
            return Verdict(Fate.PARK, Reason.ORDER, self._clock())
        return await self._pursuit.verdict(pending, self._waits(tracked))

    async def _park_anew(self, tracked: Tracked, pending: Pending) -> None:
        """Let it stand in the store behind what was ahead of it, whose deadline came later."""
        assert self._keeper is not None  # noqa: S101
        entry = self._entry(tracked, pending, State.PARKED, Reason.ORDER, self._clock())
        before = pending.entry_id
        [pending.entry_id] = await self._keeper.write(
            [msgspec.structs.replace(entry, id=0)], removes=[before]
        )
        self.held.add(pending.entry_id)
        self.held.discard(before)

    # Keeping

    async def _keep(self, tracked: Tracked, pending: Pending, verdict: Verdict) -> None:
        """Make a verdict safe."""
        tracked.keeping += 1
        if tracked.detaching is not None:
            await asyncio.wait([tracked.detaching])
        if verdict.fate is Fate.SUCCEEDED:
            if pending.entry_id:
                await self._end_entry(tracked, pending)
            else:
                tracked.succeeded.append(pending)
                if tracked.remembers:
                    await self.settler.remember([tracked])
        elif verdict.fate is Fate.PARK:
            await self._park(tracked, pending, verdict)
        else:
            await self._bury(tracked, pending, verdict)
        self.held.discard(pending.entry_id)
        if verdict.fate is Fate.PARK:
            if tracked.event.key is not None:
                self.returned.add((pending.function, tracked.event.key))
            self._parked()
        tracked.open.remove(pending)
        tracked.keeping -= 1
        tracked.intake.tell()
        outcome, response = pending.outcome, pending.response
        tracked.delivery.concluded(
            outcome.kind if outcome else Kind.ABSENT, response.status if response else None
        )

    async def _end_entry(self, tracked: Tracked, pending: Pending) -> None:
        """Its entry is done with; where it may be redelivered, the verdict takes its place."""
        assert self._keeper is not None  # noqa: S101
        if tracked.key is None or tracked.key[1].startswith(JOURNAL):
            await self._keeper.write(removes=[pending.entry_id])
        else:
            done = done_entry(tracked, pending, self._clock())
            await self._keeper.write([msgspec.structs.replace(done, id=pending.entry_id)])
        self._count_key(tracked, pending, -1)

    async def _park(self, tracked: Tracked, pending: Pending, verdict: Verdict) -> None:
        assert self._keeper is not None  # noqa: S101
        if (
            pending.entry_id
            and pending.kept_calls == pending.calls
            and verdict.reason in {Reason.ORDER, Reason.PAUSED}
        ):
            return  # it stands there as it should
        was_parked = pending.entry_id != 0
        self.counts.parked += 1
        entry = self._entry(tracked, pending, State.PARKED, verdict.reason, verdict.due)
        [pending.entry_id] = await self._keeper.write([entry])
        pending.kept_calls = pending.calls
        if not was_parked:
            self._count_key(tracked, pending, 1)

    def _count_key(self, tracked: Tracked, pending: Pending, count: int) -> None:
        key = tracked.event.key
        if key is not None and tracked.tickets and pending.function in tracked.tickets:
            self._keys.add(pending.function, key, count)

    async def _bury(self, tracked: Tracked, pending: Pending, verdict: Verdict) -> None:
        """It failed for good: keep it as a dead letter, or do what was asked for instead."""
        reason = verdict.reason.value if verdict.reason else ""
        what = _said(pending.outcome)
        policy = self._config.on_failure
        extra = {
            "source": tracked.source, "topic": tracked.event.topic, "event_id": tracked.event.id,
            "function": str(pending.function), "call_id": pending.call_id,
            "attempt": pending.calls, "reason": reason,
        }  # fmt: skip
        if policy is OnFailure.STOP:
            self._fatal(
                ConnectorError(
                    f"{pending.function} did not take an event of {tracked.source} ({reason}: "
                    f"{what}), and on_failure is stop; the event is left unsettled"
                )
            )
            await asyncio.get_running_loop().create_future()  # until the run has ended
        keeps = (
            policy is OnFailure.KEEP
            and self._keeper is not None
            and self._invoker.terms(pending.function).dead_letter
        )
        if keeps and await self._rejected(tracked, pending):
            self.counts.dead_lettered += 1
            _log.error(
                "dead letter at the broker: %s, %s: %s", pending.function, reason, what, extra=extra
            )
        elif keeps and self._keeper is not None:
            entry = self._entry(tracked, pending, State.DEAD, verdict.reason, 0.0)
            await self._keeper.write([entry])
            self.counts.dead_lettered += 1
            _log.error("dead letter: %s, %s: %s", pending.function, reason, what, extra=extra)
        else:
            if pending.entry_id and self._keeper is not None:
                await self._keeper.write(removes=[pending.entry_id])
            self.counts.dropped += 1
            _log.error("dropped: %s, %s: %s", pending.function, reason, what, extra=extra)
        if pending.entry_id:
            self._count_key(tracked, pending, -1)

    async def _rejected(self, tracked: Tracked, pending: Pending) -> bool:
        """Whether the broker keeps it now as a dead letter of its own."""
        is_alone = len(tracked.functions) == 1 and not (tracked.entry_id or pending.entry_id)
        if not (tracked.intake.traits.keeps_dead_letters and is_alone) or tracked.is_told:
            return False
        try:
            await tracked.delivery.reject()
        except ConnectorError as error:
            _log.warning("%s: the dead letter is kept here: %s", tracked.source, error)
            return False
        tracked.is_told = True
        return True

    async def _bury_damaged(self, tracked: Tracked) -> None:
        what = tracked.delivery.damage
        extra = {"source": tracked.source, "topic": tracked.event.topic}
        if self._keeper is None or self._config.on_failure is not OnFailure.KEEP:
            self.counts.dropped += 1
            _log.error("%s: dropped what is no event: %s", tracked.source, what, extra=extra)
            return
        entry = self._whole_entry(tracked, State.DEAD, Reason.UNREADABLE, 0.0, what)
        await self._keeper.write([entry])
        self.counts.dead_lettered += 1
        _log.error("%s: dead letter, unreadable: %s", tracked.source, what, extra=extra)

    async def _journal(self, tracked: Tracked) -> bool:
        """Write the event down, acknowledge it, and deliver it; whether that is all done."""
        entry_id = await self._written(tracked)
        if entry_id is None:
            return False
        tracked.entry_id = entry_id
        tracked.intake.journal(tracked)
        self.held.add(entry_id)
        tracked.key = (tracked.source, _journal_position(entry_id))
        tracked.is_told = True
        await tracked.delivery.ack()
        self.settler.acked += 1
        return await self._deliver_to_all(tracked)

    async def _put_off(self, tracked: Tracked) -> None:
        """Write the event down and acknowledge it; the journal's turn comes later."""
        try:
            entry_id = await self._written(tracked)
        finally:
            self.backlog.end()
        if entry_id is not None:
            await self.settler.ack([tracked])
            self._parked()

    async def _written(self, tracked: Tracked) -> int | None:
        """The id of its entry in the journal; None where it is settled without."""
        assert self._keeper is not None  # noqa: S101
        entry = self._whole_entry(tracked, State.JOURNAL, None, 0.0)
        try:
            entry_id = await self._write_journal(self._keeper.store, entry, tracked.delivery.once)
        except StoreError as error:
            if not isinstance(error, StoreFullError):
                self._keeper.failed(error)
            self.counts.refused += 1
            tracked.intake.release(tracked)
            await tracked.delivery.nack()
            return None
        if entry_id is None:
            self.counts.duplicates += 1
            await self.settler.ack([tracked])
        return entry_id

    async def _write_journal(self, store: Store, entry: Entry, once: Once | None) -> int | None:
        """The entry's id; None for what was taken before."""
        if once is None:
            return (await store.write([entry]))[0]
        now = self._clock()
        return await store.write_once(entry, once.key, now=now, until=now + once.seconds)

    async def _unmatched(self, tracked: Tracked) -> bool | None:
        """Nobody asks for it: whether it is settled; None to look again at once."""
        event = tracked.event
        age = self._clock() - tracked.first
        policy = self._config.unmatched
        holds = policy is Unmatched.HOLD and age < self._config.retry.max_age
        if holds or self._matched_lately(event.topic, self._namespaces(tracked)):
            wait = min(max(_HELD_WAIT, age / 4), _LONGEST_HELD_WAIT)
            if self._keeper is None:
                await asyncio.sleep(wait)
                return None
            due = self._clock() + wait
            await self._keeper.write([self._whole_entry(tracked, State.PARKED, Reason.HELD, due)])
            self.counts.parked += 1
            self._parked()
            return self._is_settled_by_entry(tracked)
        if policy is Unmatched.ACK or self._keeper is None:
            self.counts.unmatched += 1
            self.sources[tracked.source].unmatched += 1
            return True
        await self._keeper.write([self._whole_entry(tracked, State.DEAD, Reason.UNMATCHED, 0.0)])
        self.counts.dead_lettered += 1
        self.sources[tracked.source].unmatched += 1
        _log.error(
            "dead letter: no function asks for the topic of an event of %s", tracked.source,
            extra={"source": tracked.source, "topic": event.topic, "event_id": event.id},
        )  # fmt: skip
        return self._is_settled_by_entry(tracked)

    def _is_settled_by_entry(self, tracked: Tracked) -> bool:
        """Whether its source is still to be told; what came from the store has been rewritten."""
        if not tracked.entry_id:
            return True
        self.held.discard(tracked.entry_id)
        tracked.intake.release(tracked)
        return False

    def _waits(self, tracked: Tracked) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """What is done before one of several functions starts a long wait."""
        if self._keeper is None or tracked.key is None or len(tracked.functions) < 2:
            return None
        return lambda: self._remember(tracked)

    async def _remember(self, tracked: Tracked) -> None:
        if not tracked.remembers:
            tracked.remembers = True
            await self.settler.remember([tracked])

    def _entry(
        self,
        tracked: Tracked,
        pending: Pending,
        state: State,
        reason: Reason | None,
        due: float,
    ) -> Entry:
        outcome, response = pending.outcome, pending.response
        return Entry(
            id=pending.entry_id,
            state=state,
            source=tracked.source,
            position=tracked.key[1] if tracked.key else None,
            function=pending.function,
            event=tracked.event,
            ordered=bool(tracked.tickets) and pending.function in (tracked.tickets or ()),
            call_id=pending.call_id,
            due=due,
            attempts=pending.attempts,
            calls=pending.calls,
            reason=reason,
            status=outcome.status if outcome else None,
            what=outcome.what if outcome else "",
            answer=response.body[:MAX_ANSWER_BYTES] if response else b"",
            first=pending.first,
            last=self._clock(),
        )

    def _whole_entry(
        self, tracked: Tracked, state: State, reason: Reason | None, due: float, what: str = ""
    ) -> Entry:
        """The entry of an event for all its functions, or for the only one it is for."""
        key = tracked.key
        return Entry(
            id=tracked.entry_id,
            state=state,
            source=tracked.source,
            position=None if key is None or key[1].startswith(JOURNAL) else key[1],
            function=tracked.delivery.function,
            event=tracked.event,
            due=due,
            reason=reason,
            what=what,
            first=tracked.first,
            last=self._clock(),
        )

    # Ending early

    async def detach(self, tracked: Tracked) -> None:
        """Its broker will wait no longer: park what is open, acknowledge it, and go on."""
        is_settling = tracked.keeping or tracked.detaching or tracked.is_told
        if self._keeper is None or is_settling or tracked.is_finished:
            return
        if tracked.task is not None and (tracked.task.cancelling() or tracked.task.done()):
            return  # it is being handed back
        if not tracked.open:
            return  # nobody knows yet who is to have it, or it is about to be settled
        # Whoever asks may be gone before it is written: half of it would repeat calls.
        tracked.detaching = asyncio.create_task(
            self._park_open(tracked, self._keeper), name="park at the deadline"
        )
        await asyncio.shield(tracked.detaching)

    async def _park_open(self, tracked: Tracked, keeper: Keeper) -> None:
        try:
            new = [pending for pending in tracked.open if not pending.entry_id]
            due = self._clock()
            ids = await keeper.write(
                [self._entry(tracked, each, State.PARKED, Reason.DEADLINE, due) for each in new]
            )
            for pending, entry_id in zip(new, ids, strict=True):
                # A call that runs is to be written down when it has failed.
                pending.entry_id, pending.kept_calls = entry_id, max(0, pending.calls - 1)
                self.held.add(entry_id)
                self._count_key(tracked, pending, 1)
            await self.settler.ack([tracked])
        finally:
            tracked.detaching = None
            tracked.intake.tell()

    async def abort(self, intake: Intake) -> list[Tracked]:
        """Stop all that runs, and leave it unsettled; what that was."""
        left = [tracked for tracked in intake.running if tracked.task is not None]
        tasks = [task for each in left for task in (each.task, each.detaching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        return left

    async def hand_back(self, intake: Intake) -> None:
        """The time of a drain is over: stop all that runs, and give back what can be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WRITE):
                await intake.writes()
        for tracked in await self.abort(intake):
            if not (tracked.is_finished or tracked.is_told or tracked.entry_id):
                try:
                    await self._give_back(tracked)
                except Exception as error:
                    _log.warning("%s: could not hand back an event (%s)", tracked.source, error)

    async def _give_back(self, tracked: Tracked) -> None:
        """Let it come again, without what is done; park the rest where it could not be told."""
        keeper, is_told_apart = self._keeper, tracked.key is not None
        if tracked.intake.by_position:
            await self.settler.remember([tracked])
        elif tracked.succeeded and not tracked.open:
            await self.settler.ack([tracked])
        elif keeper is not None and not is_told_apart and (tracked.succeeded or tracked.tickets):
            entries = [
                self._entry(tracked, pending, State.PARKED, Reason.BACKOFF, self._clock())
                for pending in tracked.open
            ]
            await keeper.store.write(entries)
            await self.settler.ack([tracked])
        elif keeper is not None or not tracked.succeeded:
            # All of a key come again, in their order: none of them is kept here.
            await self.settler.remember([tracked])
            if not self._gate.is_closed:
                await tracked.delivery.nack()
