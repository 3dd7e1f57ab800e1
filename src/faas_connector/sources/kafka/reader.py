"""Polls, whether there is room or not: who doesn't has to leave the group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

from faas_connector.event import Event
from faas_connector.inbox import Inbox
from faas_connector.sources.kafka.client import (
    KafkaError,
    Record,
    TopicPartition,
    check_group,
    partitions_of,
    reason_of,
)
from faas_connector.sources.kafka.partitions import KafkaDelivery, Lane, Partitions, within

_BATCH = 500
_POLL_MS = 1000
# Seconds between two polls while nothing may be read, and while there are no partitions.
_IDLE, _UNASSIGNED = 1.0, 0.05
# Seconds of waiting for the group after which that is told.
_SILENT = 5.0

Batches = Mapping[TopicPartition, Sequence[Record]]


class Reader(AsyncIterator[KafkaDelivery]):
    """Hands out what was polled, as long as its partition is ours."""

    def __init__(
        self,
        consumer: Any,
        partitions: Partitions,
        inbox: Inbox[KafkaDelivery],
        make: Callable[[Record], Event],
    ) -> None:
        self._consumer, self._partitions = consumer, partitions
        self._inbox, self._make = inbox, make
        self._room = asyncio.Event()  # nothing is waiting to be handed out
        self._polling: asyncio.Task[Batches] | None = None
        partitions.interrupt = self._interrupt

    async def __anext__(self) -> KafkaDelivery:
        delivery = await anext(self._inbox)
        delivery.lane.handed = delivery.offset + 1
        if not self._inbox:
            self._room.set()
        return delivery

    async def look_at(self, topics: Iterable[str]) -> None:
        """Read all partitions of topics, from where the group stands, without joining it.

        Raises:
            SourceError: they can't be read.
        """
        try:
            found = await partitions_of(self._consumer, topics)
            self._consumer.assign(found)
            await self._partitions.on_partitions_assigned(found)
            self._inbox.check()
            await check_group(self._consumer, self._partitions.group)
            await self._poll()
        except KafkaError as error:
            self._inbox.fail(reason_of(error))
            self._inbox.check()

    async def joined(self) -> None:
        """Wait until the group has given us our partitions, of which there may be none.

        Raises:
            SourceError: it can't, or nothing can be read of them.
        """
        telling = asyncio.get_running_loop().call_later(_SILENT, self._partitions.tell_of_waiting)
        try:
            while not (self._partitions.assigned.is_set() or self._inbox.is_stopping):
                await self._inbox.change()
        finally:
            telling.cancel()

    def _interrupt(self) -> None:
        self._inbox.take_all()
        self._room.set()
        if self._polling is not None:
            self._polling.cancel()

    async def pump(self) -> None:
        """Poll until the session is over."""
        try:
            while True:
                await self._poll()
        except Exception as error:
            self._inbox.fail(reason_of(error))
        finally:
            if self._polling is not None:
                self._polling.cancel()

    async def _poll(self) -> None:
        consumer, assigned = self._consumer, self._partitions.assigned
        if not assigned.is_set():
            # It raises what went wrong; what it gives is read again from the lane's start.
            await consumer.getmany()
            await within(assigned.wait(), _UNASSIGNED)
        elif self._inbox or self._inbox.is_stopping:
            self._room.clear()
            if not await within(self._room.wait(), _IDLE):
                consumer.pause(*consumer.assignment())
                self._take(await consumer.getmany(max_records=1))
        else:
            if paused := consumer.paused():
                consumer.resume(*paused)
            fetching = consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
            self._polling = asyncio.create_task(fetching, name=f"{self._inbox.label}: poll")
            # A revocation cancels it, so that it never gives records of another assignment.
            await asyncio.wait([self._polling])
            if not self._polling.cancelled():
                self._take(self._polling.result())

    def _take(self, batches: Batches) -> None:
        partitions = self._partitions
        for tp, records in batches.items():
            lane = partitions.lanes.get(tp)
            if lane is None or lane.is_lost:
                continue
            if records and records[0].offset < lane.read:
                # Its log begins anew: the topic was made again, or its end was lost.
                lane.is_lost = True
                lane = partitions.lanes[tp] = Lane(tp, records[0].offset)
            for record in records:
                lane.read = record.offset + 1
                self._inbox.put(KafkaDelivery(partitions, lane, record, self._make(record)))
