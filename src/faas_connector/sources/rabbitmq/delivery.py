"""A message of RabbitMQ, until it is settled on its channel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Self

from faas_connector.errors import SourceError
from faas_connector.event import Event
from faas_connector.source import Delivery
from faas_connector.sources.rabbitmq.connection import (
    FAILURES,
    AbstractChannel,
    DeliveredMessage,
    acknowledge,
    reason_of,
)

# Seconds after which the last delivery of an event is parked rather than left with the broker.
_LAST_DELIVERY = 3.0


class Channels:
    """Where messages are settled."""

    def __init__(
        self,
        label: str,
        consuming: AbstractChannel,
        publishing: AbstractChannel | None,
        dead_letters: str,
    ) -> None:
        """Prepare.

        Args:
            label: what errors begin with.
            consuming: on which messages come.
            publishing: with confirms, for dead letters; None where the queue has its own way.
            dead_letters: the exchange that gets them.
        """
        self.label, self.consuming = label, consuming
        self.publishing, self.dead_letters = publishing, dead_letters
        self._acked = list[int]()
        self._acking: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    def ack(self, tag: int) -> asyncio.Task[None]:
        """Acknowledge a message with whatever others are; what it returns ends when that is sent.

        Each by itself would take a system call, and a tenth of an event's time.
        """
        self._acked.append(tag)
        if self._acking is None:
            self._acking = asyncio.create_task(self._ack_all(), name=f"{self.label}: acknowledge")
            self._acking.add_done_callback(_hear)
        return self._acking

    async def _ack_all(self) -> None:
        async with self._turn:
            acked, self._acked, self._acking = self._acked, [], None
            await acknowledge(self.consuming, acked)

    async def tell(self, sending: Awaitable[object]) -> None:
        """Send what settles a message.

        Raises:
            SourceError: the channel is closed.
        """
        try:
            await sending
        except (*FAILURES, TypeError, ValueError) as error:  # the latter: what can't be sent on
            raise SourceError(f"{self.label}: can't be settled: {reason_of(error)}") from None
        except asyncio.CancelledError:
            # The library cancels who waits on a connection that is closed.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise SourceError(f"{self.label}: can't be settled: the session is over") from None


class RabbitMqDelivery(Delivery):
    """A message that is unsettled on its channel."""

    __slots__ = ("_acking", "_channels", "_message", "_queue", "_since", "tag")

    def __init__(
        self,
        event: Event,
        message: DeliveredMessage,
        queue: str,
        channels: Channels,
        *,
        timeout: float,
        limit: int,
    ) -> None:
        """Wrap a message that has just come.

        Args:
            event: what it says.
            message: as it came.
            queue: it came from.
            channels: where it is settled.
            timeout: seconds after which the broker closes the channel.
            limit: how often a quorum queue delivers again what came back.
        """
        returned = (message.header.properties.headers or {}).get("x-delivery-count")
        count = returned + 1 if message.redelivered and isinstance(returned, int) else None
        is_last = count is not None and count > limit
        super().__init__(
            event, redelivered=bool(message.redelivered), count=count, deadline=timeout,
            is_last=is_last,
        )  # fmt: skip
        self.tag = message.delivery_tag or 0
        self._message, self._queue, self._channels = message, queue, channels
        self._since = time.monotonic()
        self._acking: asyncio.Task[None] | None = None

    def waited(self) -> float:
        """Seconds since it came."""
        return time.monotonic() - self._since

    def handed_out(self) -> Self:
        """From now on it is the engine's."""
        left = max(1.0, (self.deadline or 0.0) - self.waited())
        self.deadline = min(left, _LAST_DELIVERY) if self.is_last else left
        return self

    def ack_nowait(self) -> bool:
        """Begin to tell the broker; `ack` waits for it."""
        self._begin_ack()
        return False

    async def ack(self) -> None:
        """Tell the broker that it is done."""
        await self._channels.tell(asyncio.shield(self._begin_ack()))

    def _begin_ack(self) -> asyncio.Task[None]:
        if self._acking is None:
            self._acking = self._channels.ack(self.tag)
        return self._acking

    async def nack(self, delay: float = 0.0) -> None:  # noqa: ARG002
        """Have the broker deliver it again, at once."""
        await self._channels.tell(self._channels.consuming.basic_nack(self.tag, requeue=True))

    async def reject(self) -> None:
        """Leave it to a dead-letter exchange: ours once it is confirmed, else the queue's own."""
        channels = self._channels
        if channels.publishing is None:
            await channels.tell(channels.consuming.basic_reject(self.tag, requeue=False))
            return
        message = self._message
        properties = message.header.properties
        properties.headers = {
            **{name: _sendable(value) for name, value in (properties.headers or {}).items()},
            "x-first-death-queue": self._queue,
            "x-first-death-exchange": message.exchange or "",
            "x-first-death-reason": "rejected",
        }
        properties.delivery_mode = 2
        properties.expiration = None
        await channels.tell(
            channels.publishing.basic_publish(
                message.body, exchange=channels.dead_letters,
                routing_key=message.routing_key or "", properties=properties, mandatory=True,
            )
        )  # fmt: skip
        await self.ack()


def _hear(acking: asyncio.Task[None]) -> None:
    """What went wrong is told to whoever waits, if anybody does."""
    if not acking.cancelled():
        acking.exception()


def _sendable(value: Any) -> Any:
    """A header's value as the library takes it: text that is no UTF-8 came as bytes."""
    return bytearray(value) if isinstance(value, bytes) else value
