"""Reads queues on one channel, and gives back what nobody here is going to read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, cast

from faas_connector.errors import SourceError
from faas_connector.inbox import Inbox
from faas_connector.source import Delivery
from faas_connector.sources.library import whole
from faas_connector.sources.rabbitmq.connection import (
    FAILURES,
    AbstractChannel,
    Basic,
    DeliveredMessage,
    reason_of,
)
from faas_connector.sources.rabbitmq.delivery import RabbitMqDelivery

# Of what came and was not read; with more, it goes back, and less is asked for at a time.
_MOST_BYTES = 64 * 1024 * 1024
# Of the broker's timeout: when what nobody reads goes back.
_AT_REST = 1 / 4
_CHECKS = 12


class Consumer:
    """Has the broker send as long as there is somebody who reads."""

    def __init__(
        self,
        channel: AbstractChannel,
        inbox: Inbox[RabbitMqDelivery],
        queues: tuple[str, ...],
        make: Callable[[DeliveredMessage, str], RabbitMqDelivery],
        *,
        prefetch: int,
        timeout: float,
        patience: float,
    ) -> None:
        """Prepare.

        Args:
            channel: no one else's.
            inbox: gets what the broker sends.
            queues: to read.
            make: a delivery of a message, and of the queue that it came from.
            prefetch: how many messages of all queues may be unsettled.
            timeout: seconds after which the broker closes the channel of what is unsettled.
            patience: seconds in which the broker answers that it begins to send.
        """
        self._channel, self._inbox = channel, inbox
        self._queues, self._make = queues, make
        self._prefetch = max(1, prefetch // len(queues))
        self._timeout, self._patience = timeout, patience
        self._tags: dict[str, str] = {}
        """The queue of each consumer tag."""
        self._crowded = asyncio.Event()
        self._turn = asyncio.Lock()
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        closing = cast("asyncio.Future[None]", getattr(channel, "closing"))  # noqa: B009 - untyped
        closing.add_done_callback(self._closed)

    # What the library tells

    def _take(self, queue: str) -> Callable[[DeliveredMessage], Coroutine[Any, Any, None]]:
        async def take(message: DeliveredMessage) -> None:
            self._inbox.put(self._make(message, queue))
            if self._inbox.bytes > _MOST_BYTES:
                self._crowded.set()

        return take

    def _closed(self, closing: asyncio.Future[None]) -> None:
        reason = reason_of(None if closing.cancelled() else closing.exception())
        if "acknowledgement on channel" in reason:
            reason += "; give consumer_timeout the value that the broker has"
        self._inbox.fail(reason)

    def _cancelled(self, frame: Basic.Cancel) -> None:
        queue = self._tags.get(frame.consumer_tag or "", "a queue")
        self._inbox.fail(f"queue {queue} is gone: deleted, or its node is down")

    # Reading

    async def begin(self) -> None:
        """Have the broker send. Raises SourceError where it doesn't."""
        try:
            await self._resume()
        except FAILURES as error:
            raise SourceError(f"{self._inbox.label}: {reason_of(error)}") from None

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """What the broker sends, until the session stops; what nobody read goes back to it."""
        inbox = self._inbox
        try:
            while not inbox.is_stopping:
                inbox.check()
                if inbox:
                    yield inbox.take().handed_out()
                else:
                    await self._resume()
                    await inbox.change()
            if inbox.error is None:
                await whole(self._hand_back(), f"{inbox.label}: hand back")
                while inbox:
                    yield inbox.take().handed_out()
        except FAILURES as error:
            raise SourceError(f"{inbox.label}: {reason_of(error)}") from None

    async def _resume(self) -> None:
        """Have the broker send, where it doesn't."""
        if not self._tags:
            label = self._inbox.label
            try:
                async with asyncio.timeout(self._patience):
                    await whole(self._consume(), f"{label}: consume")
            except TimeoutError:
                raise SourceError(
                    f"{label}: the broker lets us consume nothing within {self._patience} s"
                ) from None

    async def _consume(self) -> None:
        async with self._turn:
            await self._channel.basic_qos(prefetch_count=self._prefetch)
            for queue in self._queues:
                # Named by us: messages may come before the answer.
                tag = f"faas-connector-{self._channel.number}-{len(self._tags)}"
                self._tags[tag] = queue
                await self._channel.basic_consume(queue, self._take(queue), consumer_tag=tag)

    async def _hand_back(self) -> None:
        """Have the broker send nothing more, and give it back what it would deliver again."""
        async with self._turn:
            for tag in self._tags:
                await self._channel.basic_cancel(tag)
            self._tags.clear()
            for each in self._inbox.take_all():
                if each.is_last:
                    self._inbox.put(each)
                else:
                    await self._channel.basic_nack(each.tag, wait=False)
            self._inbox.wake()

    async def watch(self) -> None:
        """Give back what would wait for too long, or is too large together."""
        try:
            while self._inbox.error is None:
                try:
                    async with asyncio.timeout(self._timeout / _CHECKS):
                        await self._crowded.wait()
                except TimeoutError:
                    longest = max((each.waited() for each in self._inbox.peek()), default=0.0)
                    if longest < self._timeout * _AT_REST:
                        continue
                else:
                    self._crowded.clear()
                    self._prefetch = max(1, self._prefetch // 4)
                await self._hand_back()
        except FAILURES as error:
            self._inbox.fail(reason_of(error))
