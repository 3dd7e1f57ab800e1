"""What a client library has given to a source, and the engine has not read yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from faas_connector.errors import SourceError
from faas_connector.event import size_of
from faas_connector.source import Delivery, Session

T = TypeVar("T", bound=Delivery)


class Inbox(AsyncIterator[T], Generic[T]):
    """Hands on what came, in that order, until the session stops or nothing more can come.

    A source whose broker keeps what is unsettled reads it to the end, and gives back what is left;
    one that is pushed at takes a `HandOver`, which is bounded.

    Example:
        ```python
        async with Inbox[AcmeDelivery](session, "acme: acme://broker:1234") as inbox:
            client.on_message = lambda message: inbox.put(AcmeDelivery(client, message))
            client.on_close = inbox.fail
            yield inbox
        ```
    """

    def __init__(self, session: Session, label: str) -> None:
        """Prepare.

        Args:
            session: that is open.
            label: what an error begins with: the source, and where its broker is.
        """
        self.label = label
        self.bytes = 0
        """Of the events that are waiting (`size_of`)."""
        self._session = session
        self._waiting = deque[T]()
        self._error: SourceError | None = None
        self._changed = asyncio.Event()
        self._noticing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Notice from now on when the session stops."""
        self._noticing = asyncio.create_task(self._notice_stop(), name=f"stop {self.label}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Whoever reads is not waited for."""
        noticing, self._noticing = self._noticing, None
        if noticing is not None:
            noticing.cancel()
            await asyncio.wait([noticing])

    async def _notice_stop(self) -> None:
        await self._session.stopping.wait()
        self._changed.set()

    # What its source says

    def put(self, delivery: T) -> None:
        """It came."""
        self._waiting.append(delivery)
        self.bytes += size_of(delivery.event)
        self._changed.set()

    def fail(self, reason: object) -> None:
        """Nothing more can come; only the first reason counts. A SourceError is raised as it is."""
        if self._error is None:
            if not isinstance(reason, SourceError):
                reason = SourceError(f"{self.label}: {reason}")
            self._error = reason
        self._changed.set()

    def wake(self) -> None:
        """Something has changed that its reader has to look at."""
        self._changed.set()

    # What its reader asks

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is to be read."""
        return self._session.stopping.is_set()

    @property
    def error(self) -> SourceError | None:
        """Why nothing more can come."""
        return self._error

    def __len__(self) -> int:
        return len(self._waiting)

    def peek(self) -> tuple[T, ...]:
        """All that is waiting."""
        return tuple(self._waiting)

    def take(self) -> T:
        """The oldest."""
        delivery = self._waiting.popleft()
        self.bytes -= size_of(delivery.event)
        return delivery

    def take_all(self) -> list[T]:
        """All that is waiting; its reader doesn't get it."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self.bytes = 0
        return waiting

    def check(self) -> None:
        """See that more can come.

        Raises:
            SourceError: it can't.
        """
        if self._error is not None:
            raise self._error

    async def change(self) -> None:
        """Wait until something has changed since this was called last.

        Raises:
            SourceError: nothing more can come.
        """
        await self._changed.wait()
        self._changed.clear()
        self.check()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next one.

        Raises:
            SourceError: nothing more can come.
        """
        while not self.is_stopping:
            self.check()
            if self._waiting:
                return self.take()
            await self.change()
        raise StopAsyncIteration
