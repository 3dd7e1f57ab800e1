"""Kafka: each record is an event."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from faas_connector.errors import SourceError
from faas_connector.event import Event
from faas_connector.options import settings
from faas_connector.source import Delivery, Guarantee, Pausing, Session, Settling, SourceTraits
from faas_connector.sources.fields import fields
from faas_connector.sources.kafka.client import KafkaError, Record, consumer_of, why_not
from faas_connector.sources.kafka.reader import Reader
from faas_connector.sources.kafka.settings import KafkaSettings, OrderBy

_PREFIX = "X-Kafka-"
# Seconds within which a member usually has its partitions; it may get none for longer.
_JOINING = 3.0
# Seconds for connecting to end by itself: the library leaks a connection when it is cancelled.
_GRACE = 1.0


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
            await _finished(self._start(reader))
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
            await consumer.stop()

    async def _start(self, reader: Reader) -> None:
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
        consumer.subscribe(self.topics, self.pattern or None, reader)

    def _event(self, record: Record) -> Event:
        own: dict[str, str | bytes] = {
            "Partition": str(record.partition),
            "Offset": str(record.offset),
        }
        time = None
        if record.timestamp >= 0:
            own["Timestamp"] = str(record.timestamp)
            time = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        if record.key is not None:
            own["Key"] = record.key
        if record.value is None:
            own["Tombstone"] = "true"
        if self.order_by is OrderBy.PARTITION:
            key: str | None = f"{record.topic}/{record.partition}"
        else:
            key = None if record.key is None else record.key.decode("utf-8", "surrogateescape")
        return Event(
            record.topic,
            record.value or b"",
            fields(_PREFIX, own, record.headers),
            id=f"{record.topic}/{record.partition}/{record.offset}",
            key=key,
            time=time,
        )


async def _finished(work: Coroutine[Any, Any, None]) -> None:
    """Do it; whoever cancels that waits a little for its end."""
    task = asyncio.create_task(work, name="connect to Kafka")
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_GRACE)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    task.result()
