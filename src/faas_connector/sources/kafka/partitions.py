"""The partitions that the group gave us: where each stands, and what is committed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from faas_connector.errors import SourceError
from faas_connector.event import Event
from faas_connector.inbox import Inbox
from faas_connector.source import Delivery, Session
from faas_connector.sources.kafka.client import (
    KafkaError,
    RebalancedError,
    Record,
    TopicPartition,
    commit,
    reason_of,
    register_listener,
)
from faas_connector.sources.kafka.settings import KafkaSettings
from faas_connector.sources.kafka.starts import check_topics, starts_of

_log = logging.getLogger("faas_connector.source")
# Topics that are named where a line speaks of them; of more, their number.
_NAMED = 3
# Seconds of a commit after which a topic may have been deleted.
_DOUBT = 1.0


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

    __slots__ = ("lane", "offset", "partitions")

    def __init__(self, partitions: Partitions, lane: Lane, record: Record, event: Event) -> None:
        super().__init__(
            event,
            position=f"{partitions.group}/{event.id}/{record.timestamp}",
            partition=lane.name,
        )
        self.partitions, self.lane, self.offset = partitions, lane, record.offset

    async def ack(self) -> None:
        """Commit it, and all before it."""
        await self.partitions.commit(self.lane, self.offset + 1)


class Partitions:
    """Those of one session. The library calls it when the group divides them anew."""

    def __init__(
        self, kafka: KafkaSettings, consumer: Any, inbox: Inbox[KafkaDelivery], session: Session
    ) -> None:
        self.group = kafka.group
        self.lanes: dict[TopicPartition, Lane] = {}
        self.assigned = asyncio.Event()
        """Set while the group has none of them to divide."""
        self.interrupt: Callable[[], None] = lambda: None
        """Has whoever reads give up what nobody was handed."""
        self._kafka, self._consumer = kafka, consumer
        self._inbox, self._session = inbox, session
        self._settled = asyncio.Event()  # something was committed, or will never be
        self._is_committing = False

    # Settling

    async def commit(self, lane: Lane, offset: int) -> None:
        """Commit up to an offset; what others have to commit meanwhile goes with it.

        Raises:
            SourceError: the partition isn't ours any more, or its broker doesn't take it.
        """
        lane.done = offset
        while lane.committed < offset:
            if lane.is_lost:
                raise self._failed(f"{lane.name} is no longer ours, or its log began anew")
            if self._is_committing:
                await self._settled_more()
            else:
                await self._commit_for(lane)

    async def _commit_for(self, lane: Lane) -> None:
        """Commit what is due."""
        wait = self._kafka.session_timeout
        self._is_committing = True
        try:
            async with asyncio.timeout(wait):
                await self._commit_due()
        except (KafkaError, TimeoutError) as error:
            why = reason_of(error)
            if isinstance(error, TimeoutError):
                why = f"not within {wait} s; is the broker up?"
            failure = self._failed(f"could not commit {lane.name}: {why}")
            self.lose()
            if not isinstance(error, RebalancedError):
                self._inbox.fail(failure)
            raise failure from error
        finally:
            self._is_committing = False
            self._settled.set()

    async def _commit_due(self) -> None:
        due = [each for each in self.lanes.values() if each.done != each.committed]
        offsets = {each.tp: each.done for each in due}
        committing = asyncio.create_task(commit(self._consumer, offsets), name="commit")
        try:
            while not (await asyncio.wait([committing], timeout=_DOUBT))[0]:
                # The library tries for ever what can't be: of a topic that was deleted
                # nothing comes again, and so nothing is to be committed.
                if deleted := await self._deleted(due):
                    due = deleted
                    break
            else:
                committing.result()
        finally:
            if not committing.done():
                committing.cancel()
                await asyncio.gather(committing, return_exceptions=True)
            elif not committing.cancelled():
                committing.exception()  # else it is logged where nobody waits for it any more
        for each in due:
            each.committed = offsets[each.tp]

    async def _deleted(self, lanes: Collection[Lane]) -> list[Lane]:
        there: Collection[str] = ()
        with contextlib.suppress(KafkaError):
            there = await self._consumer.topics()
        return [each for each in lanes if there and each.tp.topic not in there]

    def lose(self) -> None:
        """Nothing that is in hand can be settled any more."""
        for lane in self.lanes.values():
            lane.is_lost = True
        self.interrupt()
        self._settled.set()

    def _failed(self, reason: str) -> SourceError:
        return SourceError(f"{self._inbox.label}: {reason}")

    def to_ask_about(self) -> TopicPartition | None:
        """One whose committed offset the group can tell; None while it divides them."""
        if not self.assigned.is_set():
            return None
        others = (TopicPartition(topic, 0) for topic in self._consumer.subscription())
        return next(itertools.chain(self.lanes, others), None)

    # The group: called by the library

    async def on_partitions_revoked(self, _revoked: Collection[TopicPartition]) -> None:
        """Hand nothing more out, and wait for what is in hand."""
        self.assigned.clear()
        self.interrupt()
        await within(self._all_settled(), self._kafka.rebalance_wait)
        self.lose()
        self.lanes.clear()

    async def _all_settled(self) -> None:
        while any(
            each.committed < each.handed and not each.is_lost for each in self.lanes.values()
        ):
            await self._settled_more()

    async def _settled_more(self) -> None:
        self._settled.clear()
        await self._settled.wait()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Begin where the group stands."""
        try:
            await check_topics(self._kafka, self._consumer, self._session)
            starts = await starts_of(
                self._kafka, self._consumer, assigned, trial=self._session.trial
            )
            for tp, start in starts.items():
                self._consumer.seek(tp, start)
                self.lanes[tp] = Lane(tp, start)
        except SourceError as error:
            self._inbox.fail(error)
        except Exception as error:
            self._inbox.fail(reason_of(error))
        else:
            if not self._session.trial:
                self._tell_of_ours()
            self.assigned.set()
            self._inbox.wake()

    # The log

    def tell_of_waiting(self) -> None:
        """Say why nothing comes: the group has to hear of all its members first."""
        _log.warning(
            "%s: waits for group %s: a member that is gone is waited for up to %g s "
            "(session_timeout)",
            self._kafka.name, self.group, self._kafka.session_timeout,
            extra={"source": self._kafka.name},
        )  # fmt: skip

    def _tell_of_ours(self) -> None:
        found = {
            topic: len(numbers)
            for topic in sorted(self._consumer.subscription())
            if (numbers := self._consumer.partitions_for_topic(topic))
        }
        _log.info(
            "%s: group %s: has %d of %d partitions of %s",
            self._kafka.name, self.group, len(self.lanes), sum(found.values()),
            ", ".join(found) if 0 < len(found) <= _NAMED else f"{len(found)} topics",
            extra={"source": self._kafka.name},
        )  # fmt: skip


async def within(wait: Awaitable[object], seconds: float) -> bool:
    """Wait for so long at most; whether it came."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wait
            return True
    return False


register_listener(Partitions)
