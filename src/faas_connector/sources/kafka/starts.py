"""What there is to read, and where reading begins."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from faas_connector.errors import SourceError
from faas_connector.source import Session
from faas_connector.sources.kafka.client import TopicPartition
from faas_connector.sources.kafka.settings import KafkaSettings, Start, start_time_of


async def check_topics(kafka: KafkaSettings, consumer: Any, session: Session) -> None:
    """See that there is something to read; what isn't there is read once it is.

    Raises:
        SourceError: none of the topics is there.
    """
    wanted = frozenset(kafka.topics)
    missing = wanted - await consumer.topics() if wanted else wanted
    if missing and missing == wanted:
        raise SourceError(
            f"{kafka.name}: Kafka at {', '.join(kafka.brokers)} has no topic "
            f"{', '.join(sorted(missing))} that we may read; create it, or correct topics"
        )
    session.lacks(missing)


async def starts_of(
    kafka: KafkaSettings, consumer: Any, assigned: Collection[TopicPartition], *, trial: bool
) -> dict[TopicPartition, int]:
    """The offset at which each partition begins, which is committed unless it is a trial.

    Raises:
        KafkaError: it can't be found out.
    """
    committed = await asyncio.gather(*(consumer.committed(tp) for tp in assigned))
    starts = {tp: at for tp, at in zip(assigned, committed, strict=True) if at is not None}
    fresh = [tp for tp in assigned if tp not in starts]
    if not fresh:
        return starts
    since = start_time_of(kafka.start_time)
    if since is None and kafka.start is Start.EARLIEST:
        return starts | dict(await consumer.beginning_offsets(fresh))
    begins = dict(await consumer.end_offsets(fresh))
    if since is not None:
        found = await consumer.offsets_for_times(dict.fromkeys(fresh, since))
        begins |= {tp: at.offset for tp, at in found.items() if at is not None}
    if not trial:
        # Without this, what comes until the first commit would be left out by who reads next.
        await consumer.commit(begins)
    return starts | begins
