"""A request that waits for what becomes of its events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from faas_connector.event import Event
from faas_connector.outcome import Kind
from faas_connector.serving.reply import Reply
from faas_connector.source import Delivery, Once
from faas_connector.sources.webhook.replies import NOT_SAFE, TOO_LATE, Conclusion


class Waiting:
    """A request, from the hand-over of its events to its answer; the first answer holds."""

    __slots__ = ("_conclusions", "_open", "_reply_of", "_timer", "answer")

    def __init__(
        self, count: int, reply_of: Callable[[Sequence[Conclusion]], Reply], timeout: float
    ) -> None:
        """Begin to wait.

        Args:
            count: of its events.
            reply_of: makes the answer of what the functions said, once every event is settled.
            timeout: seconds after which it is answered that this took too long.
        """
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Reply] = loop.create_future()
        self._open = count
        self._reply_of = reply_of
        self._conclusions = list[Conclusion]()
        self._timer = loop.call_later(timeout, self.end, TOO_LATE)

    def concluded(self, kind: Kind, status: int | None) -> None:
        """A function made this of one of its events."""
        self._conclusions.append((kind, status))

    def settled(self) -> None:
        """One of its events is safe."""
        self._open -= 1
        if not self._open:
            self.end(self._reply_of(self._conclusions))

    def end(self, reply: Reply) -> None:
        """Answer, where nobody did."""
        self._timer.cancel()
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

    async def nack(self, delay: float = 0.0) -> None:  # noqa: ARG002
        """It is not: let the sender try again."""
        self._waiting.end(NOT_SAFE)

    async def reject(self) -> None:
        """As `nack`: over HTTP nobody else could keep it."""
        self._waiting.end(NOT_SAFE)
