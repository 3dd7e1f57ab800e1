"""How many calls run at a time, and who is next."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

from faas_connector.names import FunctionName


class Waiting(Protocol):
    """Who waits to be let in: a future, or whatever is to begin then."""

    def done(self) -> bool:
        """Whether it was let in, or waits no longer."""
        ...

    def set_result(self, result: None, /) -> None:
        """It is let in."""
        ...


_Queue = deque[Waiting]


class Limiter:
    """Lets calls in: so many at a time in all, and fewer of one function where it says so.

    Whoever has to wait is let in in turn: namespace by namespace, within one function by function,
    within one in the order of asking. So a namespace with a thousand waiting calls delays another
    one's single call by one place.
    """

    def __init__(self, max_in_flight: int, concurrency: Callable[[FunctionName], int]) -> None:
        """Prepare.

        Args:
            max_in_flight: calls that may run at a time in all.
            concurrency: how many of a function may, as it is now: it holds for those who wait.
        """
        self._max = max_in_flight
        self._concurrency = concurrency
        self._free = max_in_flight
        self._running: dict[FunctionName, int] = {}
        self._queues: dict[FunctionName, _Queue] = {}
        # Functions with waiting calls and room for one, by namespace; both in turn.
        self._turns: OrderedDict[str, OrderedDict[FunctionName, None]] = OrderedDict()

    @property
    def in_flight(self) -> int:
        """Calls that were let in and have not left."""
        return self._max - self._free

    @property
    def waiting(self) -> int:
        """Calls that wait to be let in."""
        return sum(not each.done() for queue in self._queues.values() for each in queue)

    def enter(self, function: FunctionName, concurrency: int) -> asyncio.Future[None] | None:
        """Ask to be let in; None means that you are, and must `leave`.

        Otherwise await what is returned; when that is cancelled, call `give_up`.

        Args:
            function: whose call it is.
            concurrency: calls of this function that may run at a time.
        """
        if self.enter_now(function, concurrency):
            return None
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wait(function, waiting)
        return waiting

    def enter_later(self, function: FunctionName, concurrency: int, waiting: Waiting) -> None:
        """Like `enter`, but `waiting` is told in either case; now, if it is let in now."""
        if self.enter_now(function, concurrency):
            waiting.set_result(None)
        else:
            self._wait(function, waiting)

    def enter_now(self, function: FunctionName, concurrency: int) -> bool:
        """Whether you are let in, and must `leave`; who is not does not wait either."""
        running = self._running.get(function, 0)
        if not self._free or running >= concurrency:
            return False
        if self._queues and function in self._queues:
            return False  # there may be room, if its limit was raised: those who wait go first
        self._free -= 1
        self._running[function] = running + 1
        return True

    def _wait(self, function: FunctionName, waiting: Waiting) -> None:
        self._queues.setdefault(function, deque()).append(waiting)
        if self._free:
            self._line_up(function)
            self._admit()
        elif len(self._queues[function]) == 1:
            self._line_up(function)

    def leave(self, function: FunctionName) -> None:
        """A call that was let in has ended."""
        if len(self._queues) == 1 and not self._free and self._gives_way(function):
            return
        self._free += 1
        running = self._running[function] - 1
        if running:
            self._running[function] = running
        else:
            del self._running[function]
        if self._queues:
            self._line_up(function)
            self._admit()

    def _gives_way(self, function: FunctionName) -> bool:
        """Whether another call of it took its place at once: nobody else waits."""
        queue = self._queues.get(function)
        if not queue or self._running[function] > self._concurrency(function):
            return False
        waiting = queue.popleft()
        if not queue:
            self._queues.clear()
            self._turns.clear()
        if waiting.done():
            return False
        waiting.set_result(None)
        return True

    def give_up(self, function: FunctionName, waiting: asyncio.Future[None]) -> None:
        """Whoever awaited `waiting` was cancelled."""
        if waiting.done() and not waiting.cancelled():
            self.leave(function)
        else:
            waiting.cancel()

    def _has_room(self, function: FunctionName) -> bool:
        concurrency = self._concurrency(function)
        return concurrency >= self._max or self._running.get(function, 0) < concurrency

    def _line_up(self, function: FunctionName) -> None:
        """Give a function its turn, if calls of it wait and there is room for one."""
        if self._queues.get(function) and self._has_room(function):
            self._turns.setdefault(function.namespace, OrderedDict()).setdefault(function)

    def _admit(self) -> None:
        while self._free and self._turns:
            namespace = next(iter(self._turns))
            functions = self._turns[namespace]
            function = next(iter(functions))
            queue = self._queues[function]
            while queue and queue[0].done():
                queue.popleft()
            running = self._running.get(function, 0)
            if queue and running < self._concurrency(function):  # it may have been lowered
                self._free -= 1
                self._running[function] = running + 1
                queue.popleft().set_result(None)
            if not queue:
                del self._queues[function]
            if queue and self._has_room(function):
                functions.move_to_end(function)
            else:
                del functions[function]
            if functions:
                self._turns.move_to_end(namespace)
            else:
                del self._turns[namespace]
