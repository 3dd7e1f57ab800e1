"""Making verdicts safe: what succeeded, is parked, is a dead letter, or is wanted by nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

import msgspec

from faas_connector.config import ControllerConfig, OnFailure, Unmatched
from faas_connector.entries import done_entry, function_entry, whole_entry
from faas_connector.errors import ConnectorError, StoreError
from faas_connector.intake import Intake, Tracked
from faas_connector.invoker import Invoker
from faas_connector.keeper import Keeper
from faas_connector.key_order import ParkedKeys
from faas_connector.names import FunctionName
from faas_connector.outcome import Kind, Outcome
from faas_connector.pursuit import Fate, Pending, Verdict
from faas_connector.settling import Settler
from faas_connector.store import WHOEVER_ASKS, Entry, Reason, State

_log = logging.getLogger("faas_connector.delivery")

# Topics come from outside, without end.
_MOST_UNWANTED = 100


class DispatchCounts(msgspec.Struct):
    """What became of events so far."""

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


def _said(outcome: Outcome | None) -> str:
    """What was answered last, for the log: nothing of an answer's body."""
    if outcome is None:
        return "it is no longer in the gateway's list"
    return outcome.what if outcome.status is None else str(outcome.status)


class Keeping:
    """Does what verdicts say, and knows what of the store is in hand."""

    def __init__(
        self,
        config: ControllerConfig,
        invoker: Invoker,
        keeper: Keeper | None,
        settler: Settler,
        keys: ParkedKeys,
        intakes: Mapping[str, Intake],
        *,
        fatal: Callable[[ConnectorError], None],
        parked: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            config: the policies.
            invoker: knows what holds for each function.
            keeper: the store; None for none.
            settler: remembers what succeeded.
            keys: of the ordered events that are parked.
            intakes: of the sources, by their names.
            fatal: is told what ends the run.
            parked: is told that something in the store may be due.
            clock: seconds since the epoch.
        """
        self.counts = DispatchCounts()
        self.keys = keys
        self.held: set[int] = set()
        """Ids of the entries that are in hand."""
        self.returned: set[tuple[FunctionName, str]] = set()
        """Functions and keys for which something was parked since the store was last looked at."""
        self.parked = parked
        self._intakes = intakes
        self._unwanted: set[str] = set()
        self._config = config
        self._invoker = invoker
        self._keeper = keeper
        self._settler = settler
        self._fatal = fatal
        self._clock = clock

    def home(self, tracked: Tracked) -> Intake:
        """The intake of its source, from which it may have come in an earlier run."""
        return self._intakes.get(tracked.source, tracked.intake)

    async def keep(self, tracked: Tracked, pending: Pending, verdict: Verdict) -> None:
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
                    await self._settler.remember([tracked])
        elif verdict.fate is Fate.PARK:
            await self._park(tracked, pending, verdict)
        else:
            await self._bury(tracked, pending, verdict)
        self.held.discard(pending.entry_id)
        if verdict.fate is Fate.PARK:
            if tracked.event.key is not None:
                self.returned.add((pending.function, tracked.event.key))
            self.parked()
        tracked.open.remove(pending)
        tracked.keeping -= 1
        tracked.intake.tell()
        _conclude(tracked, pending)

    def keep_success_nowait(self, tracked: Tracked, pending: Pending) -> bool:
        """The same for a success, where there is nothing to wait for; whether there wasn't."""
        if tracked.remembers or tracked.detaching is not None or pending.entry_id:
            return False
        tracked.succeeded.append(pending)
        tracked.open.remove(pending)
        _conclude(tracked, pending)
        return True

    async def _end_entry(self, tracked: Tracked, pending: Pending) -> None:
        """Its entry is done with."""
        assert self._keeper is not None  # noqa: S101
        await self._keeper.write(*self._end_of(tracked, pending))
        self.count_key(tracked, pending, -1)

    def _end_of(self, tracked: Tracked, pending: Pending) -> tuple[list[Entry], list[int]]:
        """What is put and removed; where it may be redelivered, the verdict takes its place."""
        if tracked.key is not None:
            return [done_entry(tracked, pending, self._clock())], []
        return [], [pending.entry_id]

    async def end_stopped(self, stopped: Iterable[Tracked]) -> None:
        """Their tasks were stopped: write in one go, once, what they had to write of successes."""
        puts, removes = list[Entry](), list[int]()
        for tracked in stopped:
            for pending in [each for each in tracked.open if each.has_succeeded]:
                tracked.open.remove(pending)
                if pending not in tracked.succeeded:
                    tracked.succeeded.append(pending)
                if pending.entry_id:
                    more, ended = self._end_of(tracked, pending)
                    puts += more
                    removes += ended
            puts += self._failed_of(tracked)
            if tracked.entry_id and tracked.is_finished:
                puts += self._settler.end_of(tracked)
                removes.append(tracked.entry_id)
            elif tracked.entry_id:
                puts += self._settler.done(tracked)
        if (puts or removes) and self._keeper is not None:
            try:
                await self._keeper.store.write(puts, removes)
            except StoreError as error:
                self._keeper.failed(error)

    def _failed_of(self, tracked: Tracked) -> list[Entry]:
        """How calls that failed stand, where the store has the event: when the next one may be."""
        now = self._clock()
        return [
            function_entry(
                tracked, each, State.PARKED, Reason.BACKOFF, due=max(now, each.due), now=now
            )
            for each in tracked.open
            if each.calls > each.kept_calls and (each.entry_id or tracked.entry_id)
        ]

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
        entry = function_entry(
            tracked, pending, State.PARKED, verdict.reason, due=verdict.due, now=self._clock()
        )
        [pending.entry_id] = await self._keeper.write([entry])
        pending.kept_calls = pending.calls
        if not was_parked:
            self.count_key(tracked, pending, 1)

    async def park_anew(self, tracked: Tracked, pending: Pending) -> None:
        """Let it stand in the store behind what was ahead of it, whose deadline came later."""
        assert self._keeper is not None  # noqa: S101
        now = self._clock()
        entry = function_entry(tracked, pending, State.PARKED, Reason.ORDER, due=now, now=now)
        before = pending.entry_id
        [pending.entry_id] = await self._keeper.write(
            [msgspec.structs.replace(entry, id=0)], removes=[before]
        )
        self.held.add(pending.entry_id)
        self.held.discard(before)

    def count_key(self, tracked: Tracked, pending: Pending, count: int) -> None:
        """So many more of its key are parked, or fewer; where the function keeps an order."""
        key = tracked.event.key
        if key is not None and tracked.tickets and pending.function in tracked.tickets:
            self.keys.add(pending.function, key, count)

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
            await self._stop(
                f"{pending.function} did not take an event of {tracked.source} ({reason}: {what})"
            )
        keeps = (
            policy is OnFailure.KEEP
            and self._keeper is not None
            and self._invoker.terms(pending.function).dead_letter
        )
        if keeps and await _rejected(tracked, pending):
            self.counts.dead_lettered += 1
            _log.error(
                "dead letter at the broker: %s, %s: %s", pending.function, reason, what, extra=extra
            )
        elif keeps and self._keeper is not None:
            entry = function_entry(tracked, pending, State.DEAD, verdict.reason, now=self._clock())
            await self._keeper.write([entry])
            self.counts.dead_lettered += 1
            _log.error("dead letter: %s, %s: %s", pending.function, reason, what, extra=extra)
        else:
            if pending.entry_id and self._keeper is not None:
                await self._keeper.write(removes=[pending.entry_id])
            self.counts.dropped += 1
            _log.error("dropped: %s, %s: %s", pending.function, reason, what, extra=extra)
        if pending.entry_id:
            self.count_key(tracked, pending, -1)

    async def _stop(self, why: str) -> NoReturn:
        """End the run, as `on_failure` says, and wait for that."""
        self._fatal(ConnectorError(f"{why}, and on_failure is stop; the event is left unsettled"))
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def bury_damaged(self, tracked: Tracked) -> None:
        """No event could be made of it: a dead letter for no function in particular."""
        what = tracked.delivery.damage
        extra = {"source": tracked.source, "topic": tracked.event.topic}
        if self._config.on_failure is OnFailure.STOP:
            await self._stop(f"no event can be made of what {tracked.source} read ({what})")
        if self._keeper is None or self._config.on_failure is OnFailure.DROP:
            self.counts.dropped += 1
            _log.error("%s: dropped what is no event: %s", tracked.source, what, extra=extra)
            return
        entry = whole_entry(tracked, State.DEAD, Reason.UNREADABLE, now=self._clock(), what=what)
        await self._keeper.write([entry])
        self.counts.dead_lettered += 1
        _log.error("%s: dead letter, unreadable: %s", tracked.source, what, extra=extra)

    async def hold(self, tracked: Tracked, seconds: float) -> bool:
        """Nobody asks for it yet: park it for so long; whether its source is still to be told."""
        assert self._keeper is not None  # noqa: S101
        now = self._clock()
        entry = whole_entry(tracked, State.PARKED, Reason.HELD, due=now + seconds, now=now)
        await self._keeper.write([entry])
        self.counts.parked += 1
        if (key := tracked.event.key) is not None:
            if not tracked.is_held:
                self.keys.add(WHOEVER_ASKS, key)
            self.returned.add((WHOEVER_ASKS, key))
        self.parked()
        return self._is_to_be_settled(tracked)

    def is_behind_held(self, tracked: Tracked) -> bool:
        """Whether an earlier event of its key is in the store for whoever asks, and it is not."""
        key = tracked.event.key
        return key is not None and not tracked.is_held and self.keys.holds(WHOEVER_ASKS, key)

    def is_held_no_more(self, tracked: Tracked) -> None:
        """Its entry, for whoever asks, is gone."""
        if tracked.is_held and tracked.event.key is not None:
            tracked.is_held = False
            self.keys.add(WHOEVER_ASKS, tracked.event.key, -1)

    async def settle_unmatched(self, tracked: Tracked) -> bool:
        """Nobody asks for it: do what the policy says; whether its source is still to be told."""
        self.home(tracked).counts.unmatched += 1
        if self._config.unmatched is Unmatched.ACK or self._keeper is None:
            self.counts.unmatched += 1
            self._tell_of_unwanted(tracked)
            return True
        entry = whole_entry(tracked, State.DEAD, Reason.UNMATCHED, now=self._clock())
        await self._keeper.write([entry])
        self.is_held_no_more(tracked)
        self.counts.dead_lettered += 1
        _log.error(
            "dead letter: no function asks for the topic of an event of %s", tracked.source,
            extra={
                "source": tracked.source, "topic": tracked.event.topic,
                "event_id": tracked.event.id,
            },
        )  # fmt: skip
        return self._is_to_be_settled(tracked)

    def _tell_of_unwanted(self, tracked: Tracked) -> None:
        topic = tracked.event.topic
        if topic in self._unwanted or len(self._unwanted) >= _MOST_UNWANTED:
            return
        self._unwanted.add(topic)
        _log.warning(
            "no function asks for %r: events of it are acknowledged and counted, and called for "
            "nobody; annotate a function with topic: %r, or keep them with unmatched: hold "
            "(this is said once)", topic, topic, extra={"source": tracked.source},
        )  # fmt: skip

    def _is_to_be_settled(self, tracked: Tracked) -> bool:
        """What came from the store has been rewritten there, and that is all."""
        if not tracked.entry_id:
            return True
        self.held.discard(tracked.entry_id)
        tracked.intake.release(tracked)
        return False


def _conclude(tracked: Tracked, pending: Pending) -> None:
    outcome, response = pending.outcome, pending.response
    tracked.delivery.concluded(
        outcome.kind if outcome else Kind.ABSENT, response.status if response else None
    )


async def _rejected(tracked: Tracked, pending: Pending) -> bool:
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
