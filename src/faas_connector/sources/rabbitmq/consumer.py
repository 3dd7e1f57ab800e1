"""Reads queues on one channel: what came and was not read yet, and how it is settled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, cast

from faas_connector.errors import SourceError
from faas_connector.source import Delivery, Session
from faas_connector.sources.rabbitmq.client import (
    FAILURES,
    AbstractChannel,
    Basic,
    DeliveredMessage,
    reason_of,
)
from faas_connector.sources.whole import whole

# Of what came and was not read; with more, it goes back, and less is asked for at a time.
_MOST_BYTES = 64 * 1024 * 1024
# Of the broker's timeout: when what nobody reads goes back.
_AT_REST = 1 / 4
_CHECKS = 12


class Waiting(NamedTuple):
    """A message that nobody has read yet."""

    message: DeliveredMessage
    queue: str
    since: float
    """The loop's time."""


class Consumer:
    """Hands out what the broker sends, as long as the channel is open."""

    def __init__(
        self,
        channel: AbstractChannel,
        session: Session,
        label: str,
        queues: tuple[str, ...],
        prefetch: int,
        timeout: float,
        patience: float,
    ) -> None:
        """Prepare; `resume` begins.

        Args:
            channel: no one else's.
            session: says when to stop.
            label: what messages begin with.
            queues: to read.
            prefetch: how many messages of all of them may be unsettled.
            timeout: seconds after which the broker closes the channel of what is unsettled.
            patience: seconds in which the broker answers that it begins to send.
        """
        self.channel = channel
        self._session = session
        self._label = label
        self._queues = queues
        self._prefetch = max(1, prefetch // len(queues))
        self._timeout, self._patience = timeout, patience
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._tags: dict[str, str] = {}
        """The queue of each consumer tag."""
        self._error: SourceError | None = None
        self._changed = asyncio.Event()
        self._crowded = asyncio.Event()
        self._turn = asyncio.Lock()
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        closing = cast("asyncio.Future[None]", getattr(channel, "closing"))  # noqa: B009 - untyped
        closing.add_done_callback(self._closed)

    # What the library tells

    def _take(self, queue: str) -> Callable[[DeliveredMessage], Coroutine[Any, Any, None]]:
        async def take(message: DeliveredMessage) -> None:
            self._waiting.append(Waiting(message, queue, asyncio.get_running_loop().time()))
            self._bytes += len(message.body)
            if self._bytes > _MOST_BYTES:
                self._crowded.set()
            self._changed.set()

        return take

    def _closed(self, closing: asyncio.Future[None]) -> None:
        self._fail(reason_of(None if closing.cancelled() else closing.exception()))

    def _cancelled(self, frame: Basic.Cancel) -> None:
        queue = self._tags.get(frame.consumer_tag or "", "a queue")
        self._fail(f"queue {queue} is gone: deleted, or its node is down")

    def _fail(self, reason: str) -> None:
        if self._error is None:
            if "acknowledgement on channel" in reason:
                reason += "; give consumer_timeout the value that the broker has"
            self._error = SourceError(f"{self._label}: {reason}")
        self._changed.set()

    # Reading

    async def deliveries(self, wrap: Callable[[Waiting], Delivery]) -> AsyncIterator[Delivery]:
        """What the broker sends, until the session stops; what nobody read goes back to it."""
        try:
            while not self._session.stopping.is_set():
                if self._error is not None:
                    raise self._error
                if self._waiting:
                    found = self._waiting.popleft()
                    self._bytes -= len(found.message.body)
                    yield wrap(found)
                    continue
                await self.resume()
                await self._changed.wait()
                self._changed.clear()
            if self._error is None:
                await self.hand_back()
        except FAILURES as error:
            raise SourceError(f"{self._label}: {reason_of(error)}") from None

    async def resume(self) -> None:
        """Have the broker send, where it doesn't."""
        if not self._tags:
            try:
                async with asyncio.timeout(self._patience):
                    await whole(self._consume(), f"{self._label}: consume")
            except TimeoutError:
                raise SourceError(
                    f"{self._label}: the broker lets us consume nothing within {self._patience} s"
                ) from None

    async def _consume(self) -> None:
        async with self._turn:
            await self.channel.basic_qos(prefetch_count=self._prefetch)
            for queue in self._queues:
                # Named by us: messages may come before the answer.
                tag = f"faas-connector-{self.channel.number}-{len(self._tags)}"
                self._tags[tag] = queue
                await self.channel.basic_consume(queue, self._take(queue), consumer_tag=tag)

    async def hand_back(self) -> None:
        """Have the broker send nothing more, and give it back what nobody read."""
        await whole(self._hand_back(), f"{self._label}: hand back")

    async def _hand_back(self) -> None:
        async with self._turn:
            for tag in self._tags:
                await self.channel.basic_cancel(tag)
            self._tags.clear()
            back, self._bytes = list(self._waiting), 0
            self._waiting.clear()
            for each in back:
                await self.channel.basic_nack(each.message.delivery_tag or 0, wait=False)
            self._changed.set()

    async def watch(self) -> None:
        """Give back what would wait for too long, or is too large together."""
        loop = asyncio.get_running_loop()
        try:
            while self._error is None:
                try:
                    async with asyncio.timeout(self._timeout / _CHECKS):
                        await self._crowded.wait()
                except TimeoutError:
                    if not self._waiting:
                        continue
                    if loop.time() - self._waiting[0].since < self._timeout * _AT_REST:
                        continue
                else:
                    self._crowded.clear()
                    self._prefetch = max(1, self._prefetch // 4)
                await self._hand_back()
        except FAILURES as error:
            self._fail(reason_of(error))

    async def notice_stop(self) -> None:
        """Wake whoever reads when the session stops."""
        await self._session.stopping.wait()
        self._changed.set()

    # Settling

    async def settle(self, sending: Awaitable[object]) -> None:
        """Send what settles a message.

        Raises:
            SourceError: the channel is closed.
        """
        try:
            await sending
        except (*FAILURES, TypeError, ValueError) as error:  # the latter: what can't be sent on
            raise SourceError(f"{self._label}: can't be settled: {reason_of(error)}") from None
        except asyncio.CancelledError:
            # The library cancels who waits on a connection that is closed.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise SourceError(f"{self._label}: can't be settled: the session is over") from None
