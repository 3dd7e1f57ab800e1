"""From those who push events to the engine that reads them: bounded, and nobody waits in vain."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection
from types import TracebackType
from typing import Self

from faas_connector.source import Delivery, Session

_MIB = 1024 * 1024


class HandOver:
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
            max_waiting_bytes: of their bodies.
        """
        self._session = session
        self._most = max_waiting
        self._most_bytes = max_waiting_bytes
        self._waiting = deque[Delivery]()
        self._bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._noticing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Take events from now on."""
        self._noticing = asyncio.create_task(self._give_back_at_stop(), name="handover at the stop")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give back what is left."""
        noticing, self._noticing = self._noticing, None
        if noticing is not None:
            noticing.cancel()
            await asyncio.wait([noticing])
        await self._give_back()

    @property
    def is_open(self) -> bool:
        """Whether anything is taken at all."""
        return self._noticing is not None and not self._session.stopping.is_set()

    def offer(self, deliveries: Collection[Delivery]) -> bool:
        """Take all of them, or none: where there is no room, or nothing more is read."""
        size = sum(len(delivery.event.data) for delivery in deliveries)
        if (
            not self.is_open
            or len(self._waiting) + len(deliveries) > self._most
            or self._bytes + size > self._most_bytes
        ):
            return False
        self._waiting.extend(deliveries)
        self._bytes += size
        self._wake_reader()
        return True

    def __aiter__(self) -> AsyncIterator[Delivery]:
        """The events, until the session stops."""
        return self

    async def __anext__(self) -> Delivery:
        """The next event."""
        while not self._session.stopping.is_set():
            if self._waiting:
                return self._take()
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        raise StopAsyncIteration

    def _take(self) -> Delivery:
        delivery = self._waiting.popleft()
        self._bytes -= len(delivery.event.data)
        return delivery

    def _wake_reader(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _give_back_at_stop(self) -> None:
        await self._session.stopping.wait()
        self._wake_reader()
        await self._give_back()

    async def _give_back(self) -> None:
        while self._waiting:
            await self._take().nack()
