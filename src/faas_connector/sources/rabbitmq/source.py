"""RabbitMQ: each message of a queue is an event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from faas_connector.event import Event
from faas_connector.options import settings
from faas_connector.source import Delivery, Guarantee, Session, SourceTraits
from faas_connector.sources.rabbitmq.client import (
    AbstractChannel,
    Connection,
    connected,
    prepared,
)
from faas_connector.sources.rabbitmq.consumer import Consumer, Waiting
from faas_connector.sources.rabbitmq.events import event_of
from faas_connector.sources.rabbitmq.settings import MOST_PREFETCHED, RabbitMqSettings, TopicFrom
from faas_connector.sources.whole import whole

_log = logging.getLogger("faas_connector.source")
# How often a quorum queue of RabbitMQ 4 delivers again what came back.
_DELIVERY_LIMIT = 20
# Seconds after which the last delivery of an event is parked rather than left with the broker.
_LAST_DELIVERY = 3.0


@settings
class RabbitMqSource(RabbitMqSettings):
    """Messages of queues, each acknowledged by itself; the topic is the queue or the routing key.

    Example:
        >>> RabbitMqSource(queues=("orders",)).address
        ('127.0.0.1', 5672)
    """

    @property
    def traits(self) -> SourceTraits:
        """What it can do."""
        return SourceTraits(
            guarantee=Guarantee.AT_LEAST_ONCE,
            replicas_share=True,
            keeps_dead_letters=bool(self.dead_letter_exchange),
            deadline=self.consumer_timeout,
            connector="faas-connector/rabbitmq-connector",
        )

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of its events, where these are the queues."""
        return self.queues if self.topic_from is TopicFrom.QUEUE else ()

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Connect, have queues and bindings there, and consume.

        Raises:
            SourceError: the broker can't be reached or refuses us, or a queue isn't there.
        """
        prefetch = self.prefetch or min(session.max_unsettled, MOST_PREFETCHED)
        async with connected(self) as connection:
            consumer, dead_letters = await whole(
                self._begin(connection, session, prefetch), f"{self.name}: begin"
            )
            tasks = [
                asyncio.create_task(consumer.watch(), name=f"{self.name}: watch what waits"),
                asyncio.create_task(consumer.notice_stop(), name=f"{self.name}: notice the stop"),
            ]
            try:
                yield consumer.deliveries(lambda each: self._delivery(each, consumer, dead_letters))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _begin(
        self, connection: Connection, session: Session, prefetch: int
    ) -> tuple[Consumer, AbstractChannel | None]:
        await prepared(connection, self, trial=session.trial)
        dead_letters = await connection.channel() if self.dead_letter_exchange else None
        channel = await connection.channel(publisher_confirms=False)
        host, port = self.address
        label = f"{self.name}: {host}:{port}"
        consumer = Consumer(
            channel, session, label, self.queues, prefetch, self.consumer_timeout,
            self.connect_timeout,
        )  # fmt: skip
        return consumer, dead_letters

    def _delivery(
        self, waiting: Waiting, consumer: Consumer, dead_letters: AbstractChannel | None
    ) -> Delivery:
        message = waiting.message
        held = asyncio.get_running_loop().time() - waiting.since
        deadline = max(1.0, self.consumer_timeout - held)
        returned = (message.header.properties.headers or {}).get("x-delivery-count")
        count = returned + 1 if message.redelivered and isinstance(returned, int) else None
        if count is not None and count > (self.delivery_limit or _DELIVERY_LIMIT):
            deadline = min(deadline, _LAST_DELIVERY)
            _log.warning(
                "%s: queue %s delivers an event for the last time (it came %d times)",
                self.name, waiting.queue, count,
            )  # fmt: skip
        event = event_of(message, waiting.queue, self.topic_from)
        exchange = self.dead_letter_exchange
        return RabbitMqDelivery(event, waiting, consumer, dead_letters, exchange, deadline, count)


class RabbitMqDelivery(Delivery):
    """A message that is unsettled on its channel."""

    __slots__ = ("_consumer", "_dead_letters", "_exchange", "_waiting")

    def __init__(
        self,
        event: Event,
        waiting: Waiting,
        consumer: Consumer,
        dead_letters: AbstractChannel | None,
        exchange: str,
        deadline: float,
        count: int | None,
    ) -> None:
        redelivered = bool(waiting.message.redelivered)
        super().__init__(event, redelivered=redelivered, count=count, deadline=deadline)
        self._waiting, self._consumer = waiting, consumer
        self._dead_letters, self._exchange = dead_letters, exchange

    @property
    def _tag(self) -> int:
        return self._waiting.message.delivery_tag or 0

    async def ack(self) -> None:
        """Tell the broker that it is done."""
        await self._consumer.settle(self._consumer.channel.basic_ack(self._tag))

    async def nack(self, delay: float = 0.0) -> None:  # noqa: ARG002
        """Have the broker deliver it again, at once."""
        await self._consumer.settle(self._consumer.channel.basic_nack(self._tag, requeue=True))

    async def reject(self) -> None:
        """Leave it to a dead-letter exchange: ours once it is confirmed, else the queue's own."""
        channel = self._consumer.channel
        if self._dead_letters is None:
            await self._consumer.settle(channel.basic_reject(self._tag, requeue=False))
            return
        message = self._waiting.message
        properties = message.header.properties
        properties.headers = {
            **{name: _sendable(value) for name, value in (properties.headers or {}).items()},
            "x-first-death-queue": self._waiting.queue,
            "x-first-death-exchange": message.exchange or "",
            "x-first-death-reason": "rejected",
        }
        properties.delivery_mode = 2
        properties.expiration = None
        await self._consumer.settle(
            self._dead_letters.basic_publish(
                message.body, exchange=self._exchange, routing_key=message.routing_key or "",
                properties=properties, mandatory=True,
            )
        )  # fmt: skip
        await self.ack()


def _sendable(value: Any) -> Any:
    """A header's value as the library takes it: text that is no UTF-8 came as bytes."""
    return bytearray(value) if isinstance(value, bytes) else value
