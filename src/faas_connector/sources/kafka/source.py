"""Kafka: each record is an event."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from faas_connector.event import Event
from faas_connector.inbox import Inbox
from faas_connector.options import settings
from faas_connector.source import Delivery, Guarantee, Pausing, Session, Settling, SourceTraits
from faas_connector.sources.fields import fields
from faas_connector.sources.kafka.client import (
    GRACE,
    KafkaError,
    Record,
    consumer_of,
    leave,
)
from faas_connector.sources.kafka.connecting import warn_of_plain_password, why_not
from faas_connector.sources.kafka.partitions import KafkaDelivery, Partitions
from faas_connector.sources.kafka.reader import Reader
from faas_connector.sources.kafka.settings import KafkaSettings, OrderBy
from faas_connector.sources.kafka.starts import check_topics
from faas_connector.sources.kafka.watch import watch
from faas_connector.sources.library import beside, whole

_PREFIX = "X-Kafka-"


@settings
class KafkaSource(KafkaSettings):
    """Records of topics, read as a member of a group; committed up to the first gap.

    Example:
        >>> KafkaSource(brokers=("kafka:9092",), topics=("payment.received",)).group
        'faas-kafka-queue-workers'
    """

    traits = SourceTraits(
        guarantee=Guarantee.AT_LEAST_ONCE,
        settling=Settling.BY_POSITION,
        pausing=Pausing.KEEP_POLLING,
        ordered=True,
        replicas_share=True,
        connector="faas-connector/kafka-connector",
    )

    @property
    def topic_patterns(self) -> Mapping[str, Callable[[str], bool]]:
        """Those that begin with a match of `pattern`."""
        found = re.compile(self.pattern).match
        return {self.pattern: lambda topic: found(topic) is not None} if self.pattern else {}

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Join the group, and give the records of the partitions that it has given us.

        Raises:
            SourceError: no broker can be reached, or none of the topics is there.
        """
        consumer = consumer_of(self)
        label = f"{self.name}: Kafka at {', '.join(self.brokers)}, group {self.group}"
        async with Inbox[KafkaDelivery](session, label) as inbox:
            partitions = Partitions(self, consumer, inbox, session)
            reader = Reader(consumer, partitions, inbox, self._event)
            try:
                joining = self._join(consumer, partitions, reader, session)
                await whole(joining, f"{self.name}: connect", grace=GRACE)
                watching = watch(consumer, partitions, inbox, self.session_timeout)
                async with (
                    beside(f"{self.name}: read", reader.pump()),
                    beside(f"{self.name}: watch", watching),
                ):
                    await reader.joined()
                    yield reader
            finally:
                partitions.lose()
                await leave(consumer)

    async def _join(
        self, consumer: Any, partitions: Partitions, reader: Reader, session: Session
    ) -> None:
        try:
            await consumer.start()
        except KafkaError:
            raise await why_not(self) from None
        warn_of_plain_password(self)
        await check_topics(self, consumer, session)
        if session.trial:
            matches = re.compile(self.pattern).match
            await reader.look_at(self.topics or filter(matches, await consumer.topics()))
        else:
            consumer.subscribe(self.topics, self.pattern or None, partitions)

    def _event(self, record: Record) -> Event:
        own: dict[str, str | bytes | None] = {
            "Partition": str(record.partition),
            "Offset": str(record.offset),
            "Timestamp": str(record.timestamp) if record.timestamp >= 0 else None,
            "Key": record.key,
            "Tombstone": "true" if record.value is None else None,
        }
        key = None
        if self.order_by is OrderBy.PARTITION:
            key = f"{record.topic}/{record.partition}"
        elif self.order_by is OrderBy.KEY and record.key is not None:
            key = record.key.decode("utf-8", "surrogateescape")
        return Event(
            record.topic,
            record.value or b"",
            fields(_PREFIX, own, record.headers),
            id=f"{record.topic}/{record.partition}/{record.offset}",
            key=key,
            time=_time(record.timestamp),
        )


def _time(timestamp: int) -> datetime | None:
    """None where there is none, or a publisher's that is no time."""
    try:
        return datetime.fromtimestamp(timestamp / 1000, UTC) if timestamp >= 0 else None
    except (ValueError, OverflowError, OSError):
        return None
