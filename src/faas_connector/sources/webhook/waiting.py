"""Requests that wait for what becomes of their events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from faas_connector.event import Event
from faas_connector.outcome import Kind
from faas_connector.serving.reply import Reply
from faas_connector.source import Delivery, Once
from faas_connector.sources.webhook.replies import NOT_SAFE, TOO_LATE, Conclusion


class WaitingRoom:
    """The requests that wait, none of them too long.

    All may wait equally long, so one timer, for the oldest, serves them all.
    """

    def __init__(self, reply_of: Callable[[Sequence[Conclusion]], Reply], timeout: float) -> None:
        """Begin empty.

        Args:
            reply_of: makes the answer of what the functions said, once every event is settled.
            timeout: seconds after which a request is answered that this took too long.
        """
        self.reply_of = reply_of
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._until = dict[Waiting, float]()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, count: int) -> Waiting:
        """A request with so many events."""
        waiting = Waiting(self, count, self._loop.create_future())
        self._until[waiting] = until = self._loop.time() + self._timeout
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._answer_oldest)
        return waiting

    def leave(self, waiting: Waiting) -> None:
        """It is answered."""
        self._until.pop(waiting, None)

    def close(self) -> None:
        """Answer all: nobody settles their events any more."""
        for waiting in tuple(self._until):
            waiting.end(NOT_SAFE)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answer_oldest(self) -> None:
        self._timer = None
        now = self._loop.time()
        late = list[Waiting]()
        for waiting, until in self._until.items():
            if until > now:
                self._timer = self._loop.call_at(until, self._answer_oldest)
                break
            late.append(waiting)
        for waiting in late:
            waiting.end(TOO_LATE)


class Waiting:
    """A request, from the hand-over of its events to its answer; the first answer holds."""

    __slots__ = ("_conclusions", "_open", "_room", "answer")

    def __init__(self, room: WaitingRoom, count: int, answer: asyncio.Future[Reply]) -> None:
        self.answer = answer
        self._room = room
        self._open = count
        self._conclusions: list[Conclusion] | None = None

    def concluded(self, kind: Kind, status: int | None) -> None:
        """A function made this of one of its events."""
        if self._conclusions is None:
            self._conclusions = []
        self._conclusions.append((kind, status))

    def settled(self) -> None:
        """One of its events is safe."""
        self._open -= 1
        if not self._open:
            self.end(self._room.reply_of(self._conclusions or ()))

    def end(self, reply: Reply) -> None:
        """Answer, where nobody did."""
        self._room.leave(self)
        if not self.answer.done():
            self.answer.set_result(reply)


class RequestDelivery(Delivery):
    """An event of a request; settling it answers the request."""

    __slots__ = ("_waiting",)

    def __init__(self, event: Event, waiting: Waiting, once: Once | None) -> None:
        super().__init__(event, once=once)
        self._waiting = waiting

    def concluded(self, kind: Kind, status: int | None) -> None:
        """What a function made of it."""
        self._waiting.concluded(kind, status)

    async def ack(self) -> None:
        """It is safe."""
        self._waiting.settled()

    def ack_nowait(self) -> bool:
        """It is safe."""
        self._waiting.settled()
        return True

    async def nack(self, delay: float = 0.0) -> None:  # noqa: ARG002
        """It is not: let the sender try again."""
        self._waiting.end(NOT_SAFE)

    async def reject(self) -> None:
        """As `nack`: over HTTP nobody else could keep it."""
        self._waiting.end(NOT_SAFE)
