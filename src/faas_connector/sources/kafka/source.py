"""Kafka: each record is an event."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from faas_connector.errors import SourceError
from faas_connector.event import Event
from faas_connector.options import settings
from faas_connector.source import Delivery, Guarantee, Pausing, Session, Settling, SourceTraits
from faas_connector.sources.fields import fields
from faas_connector.sources.kafka.client import (
    GRACE,
    KafkaError,
    Record,
    consumer_of,
    leave,
    why_not,
)
from faas_connector.sources.kafka.reader import Reader
from faas_connector.sources.kafka.settings import KafkaSettings, OrderBy
from faas_connector.sources.whole import whole

_PREFIX = "X-Kafka-"
# Seconds within which a member usually has its partitions; it may get none for longer.
_JOINING = 3.0


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
        """Join the group, and give the records of our partitions.

        Raises:
            SourceError: no broker can be reached, or a topic isn't there.
        """
        consumer = consumer_of(self)
        reader = Reader(self, consumer, session, self._event)
        tasks: list[asyncio.Task[None]] = []
        try:
            await whole(
                self._start(reader, trial=session.trial), f"{self.name}: connect", grace=GRACE
            )
            tasks = [
                asyncio.create_task(reader.pump(), name=f"{self.name}: read"),
                asyncio.create_task(reader.notice_stop(), name=f"{self.name}: notice the stop"),
            ]
            await reader.joined(_JOINING)
            yield reader
        finally:
            reader.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await leave(consumer)

    async def _start(self, reader: Reader, *, trial: bool) -> None:
        consumer = reader.consumer
        try:
            await consumer.start()
        except KafkaError:
            raise await why_not(self) from None
        if self.topics:
            missing = sorted(set(self.topics) - await consumer.topics())
            if missing:
                raise SourceError(
                    f"{self.name}: Kafka at {', '.join(self.brokers)} has no topic "
                    f"{', '.join(missing)} that we may read; create it, or correct topics"
                )
        if trial:
            matches = re.compile(self.pattern).match
            found = self.topics or filter(matches, await consumer.topics())
            await reader.look_at(found)
        else:
            consumer.subscribe(self.topics, self.pattern or None, reader)

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
