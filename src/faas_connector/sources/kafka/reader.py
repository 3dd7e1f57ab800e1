"""Reads our partitions, commits what is done, and gives them up when the group asks for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any

from faas_connector.errors import SourceError
from faas_connector.event import Event
from faas_connector.source import Delivery, Session
from faas_connector.sources.kafka.client import (
    KafkaError,
    RebalancedError,
    Record,
    TopicPartition,
    check_group,
    commit,
    partitions_of,
    reason_of,
    register_listener,
)
from faas_connector.sources.kafka.settings import KafkaSettings, Start, start_time_of

_BATCH = 500
_POLL_MS = 1000
# Seconds between two polls while nothing may be read, and while there are no partitions.
_IDLE, _UNASSIGNED = 1.0, 0.05

Batches = Mapping[TopicPartition, Sequence[Record]]


class Lane:
    """One partition, from its assignment to its revocation; all offsets are of what comes next."""

    __slots__ = ("committed", "done", "handed", "is_lost", "name", "read", "tp")

    def __init__(self, tp: TopicPartition, start: int) -> None:
        self.tp = tp
        self.read = self.handed = self.done = self.committed = start
        self.name = f"{tp.topic}/{tp.partition}"
        self.is_lost = False


class KafkaDelivery(Delivery):
    """A record, acknowledged by committing the offset behind it."""

    __slots__ = ("lane", "offset", "reader")

    def __init__(self, reader: Reader, lane: Lane, record: Record, event: Event) -> None:
        super().__init__(
            event,
            position=f"{reader.group}/{event.id}/{record.timestamp}",
            partition=lane.name,
        )
        self.reader, self.lane, self.offset = reader, lane, record.offset

    async def ack(self) -> None:
        """Commit it, and all before it."""
        await self.reader.commit(self.lane, self.offset + 1)

    async def reject(self) -> None:
        """As `ack`: a log has no other way to go on."""
        await self.ack()


class Reader(AsyncIterator[Delivery]):
    """One session."""

    def __init__(
        self,
        kafka: KafkaSettings,
        consumer: Any,
        session: Session,
        make: Callable[[Record], Event],
    ) -> None:
        self.consumer = consumer
        self.group = kafka.group
        self._kafka = kafka
        self._session = session
        self._make = make
        self._lanes: dict[TopicPartition, Lane] = {}
        self._ready: deque[KafkaDelivery] = deque()
        self._failure: SourceError | None = None
        self._assigned = asyncio.Event()
        self._wake = asyncio.Event()  # something is ready, or will never be
        self._room = asyncio.Event()  # nothing is ready
        self._settled = asyncio.Event()  # something was committed, or will never be
        self._committing = asyncio.Lock()
        self._polling: asyncio.Task[Batches] | None = None

    # Reading

    async def look_at(self, topics: Iterable[str]) -> None:
        """Read all partitions of topics, from where the group stands, without joining it.

        Raises:
            SourceError: they can't be read.
        """
        try:
            found = await partitions_of(self.consumer, topics)
            self.consumer.assign(found)
            await self.on_partitions_assigned(found)
            await self.joined(0.0)
            await check_group(self.consumer, self.group)
            await self._poll()
        except KafkaError as error:
            raise self._failed(reason_of(error)) from None

    async def __anext__(self) -> Delivery:
        while not self._session.stopping.is_set():
            if self._ready:
                delivery = self._ready.popleft()
                delivery.lane.handed = delivery.offset + 1
                if not self._ready:
                    self._room.set()
                return delivery
            if self._failure is not None:
                raise self._failure
            self._wake.clear()
            await self._wake.wait()
        raise StopAsyncIteration

    async def notice_stop(self) -> None:
        """End the iterator when it is time."""
        await self._session.stopping.wait()
        self._wake.set()

    async def joined(self, within: float) -> None:
        """Wait until we have our partitions, or for so long. Raises SourceError."""
        await _within(self._wake.wait(), within)
        if self._failure is not None:
            raise self._failure

    async def pump(self) -> None:
        """Poll, whether there is room or not: who doesn't has to leave the group."""
        try:
            while True:
                await self._poll()
        except Exception as error:
            self._fail(self._failed(reason_of(error)))
        finally:
            if self._polling is not None:
                self._polling.cancel()

    async def _poll(self) -> None:
        if not self._assigned.is_set():
            # It raises what went wrong; what it gives is read again from the lane's start.
            await self.consumer.getmany()
            await _within(self._assigned.wait(), _UNASSIGNED)
        elif self._ready or self._session.stopping.is_set():
            self._room.clear()
            if not await _within(self._room.wait(), _IDLE):
                self.consumer.pause(*self.consumer.assignment())
                self._take(await self.consumer.getmany(max_records=1))
        else:
            if paused := self.consumer.paused():
                self.consumer.resume(*paused)
            fetching = self.consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
            self._polling = asyncio.create_task(fetching, name=f"{self.group}: poll")
            # A revocation cancels it, so that it never gives records of another assignment.
            await asyncio.wait([self._polling])
            if not self._polling.cancelled():
                self._take(self._polling.result())

    def _take(self, batches: Batches) -> None:
        for tp, records in batches.items():
            lane = self._lanes.get(tp)
            if lane is None or lane.is_lost:
                continue
            if records and records[0].offset < lane.read:
                # Its log begins anew: the topic was made again, or its end was lost.
                lane.is_lost = True
                lane = self._lanes[tp] = Lane(tp, records[0].offset)
            for record in records:
                lane.read = record.offset + 1
                self._ready.append(KafkaDelivery(self, lane, record, self._make(record)))
        if self._ready:
            self._wake.set()

    def _fail(self, failure: SourceError) -> None:
        self._failure = failure
        self._wake.set()

    def _failed(self, reason: str) -> SourceError:
        where = ", ".join(self._kafka.brokers)
        return SourceError(f"{self._kafka.name}: Kafka at {where}, group {self.group}: {reason}")

    def close(self) -> None:
        """Nothing is settled any more."""
        self._lose()

    # Settling

    async def commit(self, lane: Lane, offset: int) -> None:
        """Commit up to an offset; what others have to commit meanwhile goes with it.

        Raises:
            SourceError: the partition isn't ours any more, or its broker doesn't take it.
        """
        lane.done = offset
        async with self._committing:
            if lane.is_lost:
                raise self._failed(f"{lane.name} is no longer ours, or its log began anew")
            if lane.committed == offset:
                return
            due = [each for each in self._lanes.values() if each.done != each.committed]
            offsets = {each.tp: each.done for each in due}
            wait = self._kafka.session_timeout
            try:
                # The library tries for ever what can't be, as where a topic was deleted.
                async with asyncio.timeout(wait):
                    await commit(self.consumer, offsets)
            except (KafkaError, TimeoutError) as error:
                why = reason_of(error)
                if isinstance(error, TimeoutError):
                    why = f"not within {wait} s; is the broker up, and the topic still there?"
                failure = self._failed(f"could not commit {lane.name}: {why}")
                self._lose()
                if not isinstance(error, RebalancedError):
                    self._fail(failure)
                raise failure from error
            for each in due:
                each.committed = offsets[each.tp]
        self._settled.set()

    def _lose(self) -> None:
        for lane in self._lanes.values():
            lane.is_lost = True
        self._ready.clear()
        self._room.set()
        self._settled.set()

    # The group: called by the library

    async def on_partitions_revoked(self, _revoked: Collection[TopicPartition]) -> None:
        """Hand nothing more out, and wait for what is in hand."""
        self._assigned.clear()
        self._ready.clear()
        self._room.set()
        if self._polling is not None:
            self._polling.cancel()
        await _within(self._all_settled(), self._kafka.rebalance_wait)
        self._lose()
        self._lanes.clear()

    async def _all_settled(self) -> None:
        while any(
            each.committed < each.handed and not each.is_lost for each in self._lanes.values()
        ):
            self._settled.clear()
            await self._settled.wait()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Begin where the group stands."""
        try:
            starts = await self._starts(assigned)
            for tp, start in starts.items():
                self.consumer.seek(tp, start)
                self._lanes[tp] = Lane(tp, start)
        except Exception as error:
            self._fail(self._failed(reason_of(error)))
        else:
            self._assigned.set()
            self._wake.set()

    async def _starts(self, assigned: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        consumer = self.consumer
        committed = await asyncio.gather(*(consumer.committed(tp) for tp in assigned))
        starts = {tp: at for tp, at in zip(assigned, committed, strict=True) if at is not None}
        fresh = [tp for tp in assigned if tp not in starts]
        if not fresh:
            return starts
        since = start_time_of(self._kafka.start_time)
        if since is None and self._kafka.start is Start.EARLIEST:
            return starts | dict(await consumer.beginning_offsets(fresh))
        begins = dict(await consumer.end_offsets(fresh))
        if since is not None:
            found = await consumer.offsets_for_times(dict.fromkeys(fresh, since))
            begins |= {tp: at.offset for tp, at in found.items() if at is not None}
        if not self._session.trial:
            # Without this, what comes until the first commit would be left out by who reads next.
            await consumer.commit(begins)
        return starts | begins


register_listener(Reader)


async def _within(wait: Awaitable[object], seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wait
            return True
    return False
