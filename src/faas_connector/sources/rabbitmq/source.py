"""RabbitMQ: each message of a queue is an event."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from faas_connector.inbox import Inbox
from faas_connector.options import settings
from faas_connector.source import Delivery, Guarantee, Session, SourceTraits
from faas_connector.sources.library import beside, whole
from faas_connector.sources.rabbitmq.connection import Connection, DeliveredMessage, connected
from faas_connector.sources.rabbitmq.consumer import Consumer
from faas_connector.sources.rabbitmq.delivery import Channels, RabbitMqDelivery
from faas_connector.sources.rabbitmq.events import event_of
from faas_connector.sources.rabbitmq.settings import MOST_PREFETCHED, RabbitMqSettings, TopicFrom
from faas_connector.sources.rabbitmq.topology import prepared

_log = logging.getLogger("faas_connector.source")
# How often a quorum queue of RabbitMQ 4 delivers again what came back.
_DELIVERY_LIMIT = 20


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
            confirms_acks=False,
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
        host, port = self.address
        label = f"{self.name}: {host}:{port}"
        prefetch = self.prefetch or min(session.max_unsettled, MOST_PREFETCHED)
        async with (
            Inbox[RabbitMqDelivery](session, label) as inbox,
            connected(self) as connection,
        ):
            await whole(prepared(connection, self, trial=session.trial), f"{self.name}: prepare")
            beginning = self._begin(connection, inbox, prefetch)
            consumer = await whole(beginning, f"{self.name}: begin")
            if not session.trial:  # a check takes no message
                await consumer.begin()
            async with beside(f"{self.name}: watch what waits", consumer.watch()):
                yield consumer.deliveries()

    async def _begin(
        self, connection: Connection, inbox: Inbox[RabbitMqDelivery], prefetch: int
    ) -> Consumer:
        publishing = await connection.channel() if self.dead_letter_exchange else None
        consuming = await connection.channel(publisher_confirms=False)
        channels = Channels(inbox.label, consuming, publishing, self.dead_letter_exchange)

        def make(message: DeliveredMessage, queue: str) -> RabbitMqDelivery:
            made = RabbitMqDelivery(
                event_of(message, queue, self.topic_from), message, queue, channels,
                timeout=self.consumer_timeout, limit=self.delivery_limit or _DELIVERY_LIMIT,
            )  # fmt: skip
            if made.is_last:
                _log.warning(
                    "%s: queue %s delivers an event for the last time (it came %d times)",
                    self.name, queue, made.count,
                )  # fmt: skip
            return made

        return Consumer(
            consuming, inbox, self.queues, make, prefetch=prefetch,
            timeout=self.consumer_timeout, patience=self.connect_timeout,
        )  # fmt: skip
