"""One event, one function: call until there is a verdict."""

from __future__ import annotations

import asyncio
import enum
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from faas_connector.call import Call
from faas_connector.discovery import TopicMapBuilder
from faas_connector.errors import ConfigError
from faas_connector.event import Event
from faas_connector.gate import OutageGate
from faas_connector.health import FunctionHealth
from faas_connector.invoker import Invoker
from faas_connector.names import FunctionName, Invocation
from faas_connector.outcome import ACCEPTED, DELIVERED, Kind, Outcome, outcome_of, outcome_of_error
from faas_connector.response import InvokerResponse
from faas_connector.retry import GiveUp
from faas_connector.store import Reason
from faas_connector.terms import Terms

_T = TypeVar("_T")

_log = logging.getLogger("faas_connector.delivery")

# Looked up once: Python 3.11 takes its time over members of an Enum.
_SYNC = Invocation.SYNC
# Seconds before it is looked again whether a missing function is back.
_MISSING_WAIT = 5.0
# Seconds before a queue that the gateway does not have is tried again.
_QUEUE_WAIT = 5.0
# Waits longer than this are told, so that what succeeded meanwhile can be written down.
_LONG_WAIT = 1.0


class Fate(enum.Enum):
    """What a verdict says."""

    SUCCEEDED = "succeeded"
    """The function, or the gateway's queue, has the event."""
    PARK = "park"
    """It has to wait longer than memory should hold it."""
    DEAD = "dead"
    """It failed for good."""


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of one event for one function."""

    fate: Fate
    reason: Reason | None = None
    due: float = 0.0
    """PARK: when it is tried next, in seconds since the epoch."""


_SUCCEEDED = Verdict(Fate.SUCCEEDED)
_GIVEN_UP = {
    GiveUp.REFUSED: Verdict(Fate.DEAD, Reason.REFUSED),
    GiveUp.ATTEMPTS: Verdict(Fate.DEAD, Reason.ATTEMPTS),
    GiveUp.EXPIRED: Verdict(Fate.DEAD, Reason.EXPIRED),
}
_REMOVED = Verdict(Fate.DEAD, Reason.FUNCTION_REMOVED)


class Pending(msgspec.Struct, eq=False):
    """One event for one function, until there is a verdict."""

    function: FunctionName
    event: Event
    call_id: str
    first: float
    """When the event was read, in seconds since the epoch."""
    source: str
    """The name of the source that it came from."""
    attempts: int = 0
    """Calls that were charged to it."""
    calls: int = 0
    """Calls that were made, outages included."""
    absences: int = 0
    """Calls that found no function."""
    mode: Invocation | None = None
    """The route of its first call, which is that of all."""
    response: InvokerResponse | None = None
    """To the last call."""
    outcome: Outcome | None = None
    """Of the last call."""
    entry_id: int = 0
    """Its entry in the store; 0 where there is none."""
    kept_calls: int = 0
    """Calls that the entry knows of."""
    is_remembered: bool = False
    """Whether its success is written down, though its event is not done with."""
    due: float = 0.0
    """Before which it may not be called again, in seconds since the epoch."""
    is_probe: bool = False
    """Whether its next call tells if a paused function works again."""
    waits: Callable[[], Awaitable[None]] | None = None
    """Awaited before a wait that may take more than a second."""

    @property
    def has_succeeded(self) -> bool:
        """Whether the function, or the gateway's queue, has the event."""
        return self.outcome is not None and self.outcome.kind in {Kind.DELIVERED, Kind.ACCEPTED}


class PursuitCounts(msgspec.Struct):
    """What became of calls so far."""

    delivered: int = 0
    accepted: int = 0
    failed: int = 0
    """Calls that were charged to their function."""
    absent: int = 0
    refused: int = 0
    outages: int = 0
    """Calls that failed because the gateway did; charged to nobody."""


class Pursuit:
    """Calls a function until it has the event, or the event has to be kept."""

    def __init__(
        self,
        invoker: Invoker,
        gate: OutageGate,
        health: FunctionHealth,
        builder: TopicMapBuilder,
        stopping: asyncio.Event,
        *,
        park_after: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            invoker: makes the calls.
            gate: knows whether the gateway is down.
            health: knows which functions fail throughout.
            builder: has the map, and knows whether who is not in it may come back.
            stopping: set when what can't be delivered now is no longer to be waited for.
            park_after: seconds; what has to wait longer is parked. Infinite without a store.
            clock: seconds since the epoch.
        """
        self.counts = PursuitCounts()
        self._invoker = invoker
        self._gate = gate
        self._health = health
        self._builder = builder
        self._stopping = stopping
        self._park_after = park_after
        self._clock = clock
        self._without_queue: set[FunctionName] = set()
        self._queue_due = 0.0

    async def verdict(
        self, pending: Pending, *, is_admitted: bool = False, is_answered: bool = False
    ) -> Verdict:
        """Call until there is a verdict.

        Args:
            pending: the event and the function; what happens is written into it.
            is_admitted: whether the limiter has let its first call in.
            is_answered: whether `begin` made its first call, and `pending.response` is the answer.
        """
        function = pending.function
        while True:
            decision = None if is_answered else self._obstacle(pending)
            if is_answered:
                is_answered = False
                decision = await self._judge(pending)
            elif decision is None:
                decision = await self._call(pending, is_admitted=is_admitted)
            elif is_admitted:
                self._invoker.limiter.leave(function)
            is_admitted = False
            if decision is None:
                continue
            pending.due = decision.due
            if decision.fate is not Fate.PARK or self._is_for_store(pending, decision):
                return decision
            if pending.waits is not None and decision.due - self._clock() > _LONG_WAIT:
                await pending.waits()
            if not await self._is_due(function, decision):
                return decision

    async def _is_due(self, function: FunctionName, decision: Verdict) -> bool:
        """Wait until it is; false if it is to be parked before.

        So it is when its function is paused, and at a stop where the function can't be found.
        """
        wait = max(0.0, decision.due - self._clock())
        if self._park_after == math.inf:
            await asyncio.sleep(wait)
            return True
        is_absent = decision.reason is Reason.ABSENT
        for_store = self._stopping if is_absent else self._health.pausing(function)
        try:
            async with asyncio.timeout(wait):
                await for_store.wait()
        except TimeoutError:
            return True
        return False

    def _is_for_store(self, pending: Pending, decision: Verdict) -> bool:
        """Whether what waits is not to wait in memory: it takes long, or nobody knows how long."""
        if self._park_after == math.inf:
            return False  # there is no store
        wait = decision.due - self._clock()
        return wait > self._park_after or self._obstacle(pending) is not None

    def _obstacle(self, pending: Pending) -> Verdict | None:
        """Why it is not to be called now; None where it is."""
        function = pending.function
        if self._builder.map.contract(function) is None:
            if not self._builder.may_return(function):
                self._health.forget(function)
                return _REMOVED
            age = self._clock() - pending.first + _MISSING_WAIT
            if age > self._invoker.terms(function).retry.max_age:
                return _GIVEN_UP[GiveUp.EXPIRED]
            return self._wait(_MISSING_WAIT, Reason.ABSENT)
        if self._health.is_paused(function) and not pending.is_probe:
            # Without a store nothing is ever paused.
            return Verdict(Fate.PARK, Reason.PAUSED, self._clock())
        return None

    async def _call(self, pending: Pending, *, is_admitted: bool) -> Verdict | None:
        """One call, and what follows from it; None means: at once again."""
        function = pending.function
        invoker = self._invoker
        if not is_admitted:
            waiting = invoker.limiter.enter(function, invoker.terms(function).concurrency)
            if waiting is not None:
                await self._turn(pending, waiting)
                if self._obstacle(pending) is not None:
                    invoker.limiter.leave(function)
                    return None
        if self._gate.is_closed:
            invoker.limiter.leave(function)
            await patiently(self._gate.opened, pending.waits)
            return None
        if pending.mode is None:
            pending.mode = invoker.terms(function).mode
        if pending.mode is Invocation.ASYNC and self.is_without_queue:
            invoker.limiter.leave(function)
            await patiently(self.queue, pending.waits)
            return None
        pending.calls += 1
        try:
            response = await invoker.call_admitted(
                function, pending.event, pending.call_id,
                source=pending.source, number=pending.calls, mode=pending.mode,
            )  # fmt: skip
        except ConfigError as error:
            pending.outcome = Outcome(Kind.REFUSED, str(error))
            return Verdict(Fate.DEAD, Reason.UNREADABLE)
        pending.response = response
        return await self._judge(pending)

    def begin(self, pending: Pending, told: Callable[[InvokerResponse], None]) -> Call | None:
        """Begin its first call, which the limiter has let in, without awaiting it.

        None where anything stands against that: `verdict` finds the same, and acts on it.

        Args:
            pending: the event and the function.
            told: hears the response.
        """
        if self._gate.is_closed or self.is_without_queue or self._obstacle(pending):
            return None
        try:
            call = self._invoker.begin_admitted(
                pending.function, pending.event, pending.call_id, told, source=pending.source
            )
        except ConfigError:
            return None
        _, pending.mode = call.counted
        pending.calls += 1
        return call

    async def _judge(self, pending: Pending) -> Verdict | None:
        """What follows from its response; None means: at once again."""
        response, mode = pending.response, pending.mode
        assert response is not None and mode is not None  # noqa: S101, PT018
        verdict = self.success(pending, response)
        if verdict is None:
            terms = self._invoker.terms(pending.function, mode)
            pending.outcome = self._outcome(response, mode, terms)
            verdict = await self._after_failure(pending, pending.outcome)
        return verdict

    def success(self, pending: Pending, response: InvokerResponse) -> Verdict | None:
        """The verdict, if this is a success; else `verdict` has more to do."""
        if not response.ok:
            return None
        if pending.mode is _SYNC:
            pending.outcome = DELIVERED
            self.counts.delivered += 1
        else:
            pending.outcome = ACCEPTED
            self.counts.accepted += 1
            self._without_queue.clear()
            self._queue_due = 0.0
        self._health.answered(pending.function)
        return _SUCCEEDED

    async def _turn(self, pending: Pending, waiting: asyncio.Future[None]) -> None:
        """Wait for what `limiter.enter` returned."""
        try:
            await patiently(lambda: asyncio.shield(waiting), pending.waits)
        except asyncio.CancelledError:
            self._invoker.limiter.give_up(pending.function, waiting)
            raise

    def _outcome(self, response: InvokerResponse, mode: Invocation, terms: Terms) -> Outcome:
        status = response.status
        if status is None:
            assert response.error is not None  # noqa: S101
            return outcome_of_error(response.error)
        return outcome_of(
            mode,
            status,
            response.headers,
            response.body,
            codes=terms.retry.codes,
            now=self._clock(),
        )

    async def _after_failure(self, pending: Pending, outcome: Outcome) -> Verdict | None:
        function = pending.function
        calls = self._invoker.calls_of(function)
        if outcome.may_be_outage and not await self._gate.gateway_is_well():
            self.counts.outages += 1
            calls.outages += 1
            await patiently(self._gate.opened, pending.waits)
            return None
        if outcome.kind is Kind.NO_QUEUE:
            await self._without(pending)
            return None
        pending.is_probe = False
        if outcome.kind is Kind.REFUSED:
            self.counts.refused += 1
            calls.refused += 1
            self._health.answered(function)
        elif outcome.kind is Kind.FAILED:
            self.counts.failed += 1
            calls.failed += 1
            pending.attempts += 1
            self._health.failed(function)
        else:
            self.counts.absent += 1
            calls.absent += 1
            pending.absences += 1
        decision = self._invoker.terms(function, pending.mode).retry.decide(
            pending.attempts,
            outcome,
            age=self._clock() - pending.first,
            chance=random.random(),
            absences=pending.absences,
        )
        if decision.give_up is not None:
            return _GIVEN_UP[decision.give_up]
        absent = outcome.kind is Kind.ABSENT
        return self._wait(decision.wait, Reason.ABSENT if absent else Reason.BACKOFF)

    def _wait(self, seconds: float, reason: Reason) -> Verdict:
        return Verdict(Fate.PARK, reason, self._clock() + seconds)

    @property
    def is_without_queue(self) -> bool:
        """Whether the gateway had no queue a moment ago: asynchronous calls wait."""
        return self._queue_due > 0.0 and self._queue_due > self._clock()

    async def queue(self) -> None:
        """Wait until it is to be tried whether the gateway has a queue now, if it had none."""
        await asyncio.sleep(max(0.0, self._queue_due - self._clock()))

    async def _without(self, pending: Pending) -> None:
        """The gateway has no queue: nobody was called, and nothing can be said of the event."""
        function = pending.function
        pending.mode = None
        self._queue_due = self._clock() + _QUEUE_WAIT
        if function not in self._without_queue:
            self._without_queue.add(function)
            _log.error(
                "function %s is called asynchronously, but the gateway has no queue (404); its "
                "events wait, and nothing is read: start the gateway's queue, or set "
                "faas-connector.mode to sync",
                function,
                extra={"function": str(function)},
            )
        await patiently(self.queue, pending.waits)


async def patiently(
    wait: Callable[[], Awaitable[_T]], waits: Callable[[], Awaitable[None]] | None
) -> _T:
    """Wait; once that has taken a second, `waits` is awaited, too.

    Args:
        wait: begins to wait; it may be cancelled, and begun again.
        waits: None where nobody is to be told.
    """
    if waits is not None:
        try:
            async with asyncio.timeout(_LONG_WAIT):
                return await wait()
        except TimeoutError:
            await waits()
    return await wait()
