"""From those who push events to the engine that reads them: bounded, and nobody waits in vain."""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType

from faas_connector.event import size_of
from faas_connector.inbox import Inbox
from faas_connector.source import Delivery, Session

_MIB = 1024 * 1024


class HandOver(Inbox[Delivery]):
    """What a source that is pushed at (HTTP, a callback) hands to the engine as it has room.

    What was offered is settled by the engine; what it has not read when the session stops is given
    back with `nack`, at once.

    Example:
        ```python
        async with HandOver(session) as events:
            server.on_request = lambda request: events.offer(RequestDelivery(request)) or busy()
            yield events
        ```
    """

    def __init__(
        self, session: Session, *, max_waiting: int = 10_000, max_waiting_bytes: int = 32 * _MIB
    ) -> None:
        """Prepare.

        Args:
            session: that is open.
            max_waiting: events that the engine has not read yet; no more are taken.
            max_waiting_bytes: of them: of their bodies, and of header fields that are many.
        """
        super().__init__(session, "handover")
        self._most = max_waiting
        self._most_bytes = max_waiting_bytes

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give back what is left."""
        await super().__aexit__(kind, error, traceback)
        await self._give_back()

    @property
    def is_open(self) -> bool:
        """Whether anything is taken at all."""
        return self._noticing is not None and not self.is_stopping

    def offer(self, deliveries: Collection[Delivery]) -> bool:
        """Take all of them, or none: where there is no room, or nothing more is read."""
        size = _size(deliveries)
        if (
            not self.is_open
            or len(self) + len(deliveries) > self._most
            or self.bytes + size > self._most_bytes
        ):
            return False
        for delivery in deliveries:
            self.put(delivery)
        return True

    def limit_below(self, deliveries: Collection[Delivery]) -> str | None:
        """The limit that keeps them out for ever, whatever else waits; None where there is none."""
        if len(deliveries) > self._most:
            return f"max_waiting is {self._most}, these are {len(deliveries)} events"
        size = _size(deliveries)
        if size > self._most_bytes:
            return f"max_waiting_bytes is {self._most_bytes}, these are {size} bytes"
        return None

    async def _notice_stop(self) -> None:
        await super()._notice_stop()
        await self._give_back()

    async def _give_back(self) -> None:
        while self:
            await self.take().nack()


def _size(deliveries: Collection[Delivery]) -> int:
    return sum(size_of(delivery.event) for delivery in deliveries)
