"""The usual event: new, for one function, and done with its first call; it needs no task."""

from __future__ import annotations

from typing import Protocol

from faas_connector.call import Call
from faas_connector.intake import Tracked
from faas_connector.invoker import Invoker
from faas_connector.keeping import Keeping
from faas_connector.names import FunctionName
from faas_connector.pursuit import Pending, Pursuit, Verdict
from faas_connector.response import InvokerResponse
from faas_connector.settling import Settler
from faas_connector.subscriptions import CaughtUp
from faas_connector.tasks import Work, give_up


class Delivering(Protocol):
    """Who delivers events that take more than this."""

    def call_id(self, tracked: Tracked, function: FunctionName) -> str:
        """The name of the calls of an event and a function."""
        ...

    def start(self, tracked: Tracked, work: Work) -> None:
        """Run the rest of an event in a task."""
        ...

    async def settle(self, tracked: Tracked) -> None:
        """Settle it where that may take waiting."""
        ...

    def acknowledge(self, tracked: Tracked) -> None:
        """Have done what is left of that, where `settle_nowait` would have had to wait."""
        ...

    def ended(self, tracked: Tracked) -> None:
        """Nothing runs for it any more."""
        ...


class Carrier:
    """Calls the function once the limiter lets it, and settles the event when that has answered.

    Where it doesn't go as it should, or takes waiting, a task takes over.
    """

    def __init__(
        self,
        invoker: Invoker,
        pursuit: Pursuit,
        keeping: Keeping,
        settler: Settler,
        delivering: Delivering,
    ) -> None:
        """Prepare.

        Args:
            invoker: calls.
            pursuit: knows what stands against a call, and what follows from its response.
            keeping: makes verdicts safe.
            settler: acknowledges.
            delivering: takes over.
        """
        self.invoker = invoker
        self.pursuit = pursuit
        self.keeping = keeping
        self.settler = settler
        self.delivering = delivering

    def begin(self, tracked: Tracked) -> None:
        """Deliver it once the limiter has a place for its call."""
        function = tracked.functions[0]
        tracked.intake.running[tracked] = None
        tracked.turn = carried = _Carried(self, tracked)
        concurrency = self.invoker.terms(function).concurrency
        self.invoker.limiter.enter_later(function, concurrency, carried)


class _Carried:
    """One event, from waiting for its turn to its end, or until a task takes over.

    Most of those in hand wait: what they need only for their call is made when that begins.
    """

    __slots__ = ("_by", "_call", "_has_place", "_pending", "_tracked", "is_waiting")

    def __init__(self, by: Carrier, tracked: Tracked) -> None:
        self._by = by
        self._tracked = tracked
        self._pending: Pending | None = None
        self._call: Call | None = None
        self.is_waiting = True
        self._has_place = False

    def pending(self) -> Pending:
        """What there is to be done."""
        pending, tracked = self._pending, self._tracked
        if pending is None:
            function = tracked.functions[0]
            call_id = self._by.delivering.call_id(tracked, function)
            self._pending = pending = Pending(
                function, tracked.event, call_id, tracked.first, tracked.source
            )
            tracked.open.append(pending)
        return pending

    # In the limiter's line

    def done(self) -> bool:
        return not self.is_waiting

    def set_result(self, _result: None, /) -> None:
        """It is let in."""
        self.is_waiting = False
        self._has_place = True
        try:
            self._call = self._by.pursuit.begin(self.pending(), self.answered)
        except Exception as error:
            self._take_over(self._fail(error))
            return
        if self._call is None:
            self._take_over(self._call_in_task())
        else:
            self._has_place = False

    # Called

    def answered(self, response: InvokerResponse) -> None:
        """Its call has ended."""
        tracked, pending, by = self._tracked, self._pending, self._by
        assert pending is not None  # noqa: S101  # it was made for the call
        self._call = None
        pending.response = response
        try:
            verdict = by.pursuit.success(pending, response)
            caught_up = by.invoker.subscribers.held_back()
            if verdict is None or not by.keeping.keep_success_nowait(tracked, pending):
                self._take_over(self._go_on(verdict, caught_up))
            elif caught_up is not None:
                self._take_over(self._settle(caught_up))
            elif not by.settler.settle_nowait(tracked):
                by.delivering.acknowledge(tracked)
            else:
                self._end()
        except Exception as error:
            give_up(tracked, error)
            self._end()

    def _end(self) -> None:
        self._tracked.turn = None
        self._by.delivering.ended(self._tracked)

    def give_up(self) -> None:
        """It is not to be called any more; a task that took over has ended, or never began."""
        self.is_waiting = False
        call = self._call
        if call is not None and call.has_ended:
            self._by.invoker.tell()  # what came of it counts
            return
        if call is not None:
            call.give_up()
        elif self._has_place:
            self._by.invoker.limiter.leave(self._tracked.functions[0])
        self._end()

    # In a task

    def _take_over(self, work: Work) -> None:
        self._by.delivering.start(self._tracked, work)

    async def _fail(self, error: Exception) -> None:
        self._tracked.turn = None
        self._by.invoker.limiter.leave(self._tracked.functions[0])
        raise error

    async def _call_in_task(self) -> None:
        self._tracked.turn = None
        await self._keep(await self._by.pursuit.verdict(self.pending(), is_admitted=True))

    async def _go_on(self, verdict: Verdict | None, caught_up: CaughtUp | None) -> None:
        self._tracked.turn = None
        if caught_up is not None:
            await caught_up()
        if verdict is None:
            verdict = await self._by.pursuit.verdict(self.pending(), is_answered=True)
        await self._keep(verdict)

    async def _keep(self, verdict: Verdict) -> None:
        await self._by.keeping.keep(self._tracked, self.pending(), verdict)
        await self._by.delivering.settle(self._tracked)

    async def _settle(self, caught_up: CaughtUp) -> None:
        self._tracked.turn = None
        await caught_up()
        await self._by.delivering.settle(self._tracked)
