"""The broker of a `MemorySource`: who holds what, what settling does, and what it must never do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from faas_connector.errors import SourceError
from faas_connector.event import Event
from faas_connector.source import Delivery, Guarantee, Settling, SourceTraits
from faas_connector.testing.memory_log import Partition, Record

Settled = Literal["acked", "nacked", "rejected"]


class Link:
    """One session's connection to the broker."""

    def __init__(self) -> None:
        self.lost = ""
        """Why it is gone; empty while it is there."""
        self.wake = asyncio.Event()
        """Set when there may be something new for it."""


class MemoryDelivery(Delivery):
    """One event that a `MemorySource` handed out."""

    __slots__ = ("_broker", "delay", "link", "record", "settled", "timer")

    def __init__(
        self, broker: Broker, link: Link, record: Record, settings: BrokerSettings
    ) -> None:
        partition = record.partition.name
        position = f"{partition}/{record.offset}" if partition else str(record.offset)
        super().__init__(
            record.event,
            position=position if settings.gives_positions else None,
            partition=partition,
            redelivered=record.deliveries > 0 if settings.tells_redelivery else None,
            count=record.deliveries + 1 if settings.tells_redelivery else None,
            deadline=settings.deadline,
        )
        self._broker = broker
        self.link = link
        self.record = record
        self.timer: asyncio.TimerHandle | None = None
        self.settled: Settled | None = None
        """What became of it, by itself or, by position, through a later one; None so far."""
        self.delay = 0.0
        """Seconds that its `nack` asked for."""

    async def ack(self) -> None:
        """It is done; by position, so is every earlier one of its partition.

        Raises:
            SourceError: it is not this delivery's to settle any more.
        """
        self._broker.ack(self)

    def ack_nowait(self) -> bool:
        """The same; false where it is not this delivery's to settle any more."""
        try:
            self._broker.ack(self)
        except SourceError:
            return False  # `ack` tells why
        return True

    async def nack(self, delay: float = 0.0) -> None:
        """Deliver it again; by position, with every later one of its partition.

        Raises:
            SourceError: it is not this delivery's to settle any more.
        """
        self._broker.nack(self, delay)

    async def reject(self) -> None:
        """Never deliver it again; by position, nor any earlier one of its partition.

        Raises:
            SourceError: it is not this delivery's to settle any more.
        """
        self._broker.reject(self)

    async def extend(self) -> None:
        """Start its deadline anew; does nothing where the traits say that this can't be.

        Raises:
            SourceError: it is not this delivery's to settle any more.
        """
        self._broker.extend(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """What a broker does."""

    name: str
    traits: SourceTraits
    partitions: tuple[str, ...]
    deadline: float | None
    gives_positions: bool
    tells_redelivery: bool
    history: int | None

    @property
    def by_position(self) -> bool:
        return self.traits.settling is Settling.BY_POSITION

    @property
    def forgets(self) -> bool:
        """Whether what was handed out is gone."""
        return self.traits.guarantee is Guarantee.AT_MOST_ONCE


class Broker:
    """Holds events, hands them out, takes them back; `changed` is told whenever it did."""

    def __init__(self, settings: BrokerSettings, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._changed = changed
        self.partitions = {name: Partition(name) for name in settings.partitions}
        self.links: list[Link] = []
        self.held: dict[MemoryDelivery, None] = {}
        self.held_bytes = 0
        self._delayed: dict[Record, asyncio.TimerHandle] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.deliveries: deque[MemoryDelivery] = deque(maxlen=settings.history)
        self.commits: deque[tuple[str, int]] = deque(maxlen=settings.history)
        self.settled: dict[Settled, deque[Event]] = {
            "acked": deque(maxlen=settings.history),
            "nacked": deque(maxlen=settings.history),
            "rejected": deque(maxlen=settings.history),
        }
        self.violations: list[str] = []
        self.opened = self.expired = self.extended = 0
        self.max_held = self.max_held_bytes = 0

    @property
    def kept(self) -> int:
        return sum(len(partition.kept) for partition in self.partitions.values())

    # Sessions

    def connect(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # whose timers never fire
            self._loop = loop
            for record in [*self._delayed]:
                self._end_delay(record)
        self.opened += 1
        self.links.append(link)
        self._assign()
        self._changed()

    def disconnect(self, link: Link, why: str) -> None:
        """End a session: what it holds comes again, at whoever reads next."""
        if link not in self.links:
            return
        self.links.remove(link)
        link.lost = why
        link.wake.set()
        self._release(lambda delivery: delivery.link is link)
        self._assign()
        self._changed()

    def _assign(self) -> None:
        """Divide the partitions among the sessions."""
        if not self._settings.by_position:
            return
        for number, partition in enumerate(self.partitions.values()):
            owner = self.links[number % len(self.links)] if self.links else None
            if partition.owner is not owner:
                partition.owner = owner
                self._rewind(partition, 0)

    # Handing out

    def take(self, link: Link) -> MemoryDelivery | None:
        """The next delivery of a session; None where there is none now."""
        ready = [
            record
            for partition in self.partitions.values()
            if not self._settings.by_position or partition.owner is link
            if (record := partition.first_ready()) is not None
        ]
        if not ready:
            return None
        record = min(ready, key=lambda record: record.offset)
        delivery = MemoryDelivery(self, link, record, self._settings)
        record.partition.take(delivery)
        self._hold(delivery)
        if self._settings.forgets:
            record.partition.remove(record)
        self._start_deadline(delivery)
        self._changed()
        return delivery

    def _hold(self, delivery: MemoryDelivery) -> None:
        self.held[delivery] = None
        self.held_bytes += len(delivery.event.data)
        self.max_held = max(self.max_held, len(self.held))
        self.max_held_bytes = max(self.max_held_bytes, self.held_bytes)
        self.deliveries.append(delivery)

    def _let_go(self, delivery: MemoryDelivery) -> None:
        if delivery in self.held:
            del self.held[delivery]
            self.held_bytes -= len(delivery.event.data)
        if delivery.timer is not None:
            delivery.timer.cancel()
            delivery.timer = None

    def _release(self, which: Callable[[MemoryDelivery], bool]) -> None:
        for delivery in [delivery for delivery in self.held if which(delivery)]:
            self._let_go(delivery)
            delivery.record.partition.make_ready(delivery.record)

    def _rewind(self, partition: Partition, offset: int) -> None:
        """Hand out again what a partition has from an offset on."""
        self._release(
            lambda delivery: (
                delivery.record.partition is partition and delivery.record.offset >= offset
            )
        )

    # Settling

    def ack(self, delivery: MemoryDelivery) -> None:
        self._check(delivery, "acked")
        self._finish(delivery, "acked")

    def reject(self, delivery: MemoryDelivery) -> None:
        self._check(delivery, "rejected")
        self._finish(delivery, "rejected")

    def nack(self, delivery: MemoryDelivery, delay: float) -> None:
        self._check(delivery, "nacked")
        delivery.settled, delivery.delay = "nacked", delay
        self.settled["nacked"].append(delivery.event)
        self._let_go(delivery)
        record = delivery.record
        if not self._settings.forgets and record.holder is delivery:
            record.holder = None
            record.returned = True
            if delay > 0 and self._settings.traits.delays_nacks:
                loop = asyncio.get_running_loop()
                self._delayed[record] = loop.call_later(delay, self._end_delay, record)
            else:
                self._return(record)
        self._changed()

    def extend(self, delivery: MemoryDelivery) -> None:
        self._check(delivery, "extended")
        if self._settings.traits.extends:
            self.extended += 1
            self._start_deadline(delivery)

    def _finish(self, delivery: MemoryDelivery, how: Settled) -> None:
        record = delivery.record
        if self._settings.by_position:
            for earlier in record.partition.up_to(record.offset - 1):
                self._cover(earlier, delivery)
            record.partition.committed = record.offset
            self.commits.append((record.partition.name, record.offset))
        self._conclude(record, delivery, how)
        self._changed()

    def _cover(self, record: Record, by: MemoryDelivery) -> None:
        if record.returned:
            name = f"{record.partition.name}/{record.offset}"
            self._violation(f"{by.position} was settled, and {name} before it was nacked")
        holder = record.holder
        self._conclude(record, holder if isinstance(holder, MemoryDelivery) else None, "acked")

    def _conclude(self, record: Record, delivery: MemoryDelivery | None, how: Settled) -> None:
        for each in {delivery, record.holder}:
            if isinstance(each, MemoryDelivery):
                each.settled = how
                self._let_go(each)
        if record in self._delayed:
            self._delayed.pop(record).cancel()
        self.settled[how].append(record.event)
        record.partition.remove(record)

    def _check(self, delivery: MemoryDelivery, how: str) -> None:
        """Raise SourceError where a delivery isn't there to be settled."""
        record, what = delivery.record, f"{self._settings.name}: {delivery!r} can't be {how}: "
        if delivery.settled is not None:
            raise self._violation(f"{what}it was {delivery.settled} already")
        if self._settings.forgets:
            return
        if delivery.link.lost:
            raise SourceError(f"{what}{delivery.link.lost}; it comes again")
        if record.done:
            raise self._violation(f"{what}its event was settled through another delivery")
        if record.holder not in {delivery, None} and not self._commits(delivery):
            raise self._violation(f"{what}another delivery holds its event")
        if record.holder is None and not self._commits(delivery):
            raise SourceError(f"{what}its deadline is over; it comes again")

    def _commits(self, delivery: MemoryDelivery) -> bool:
        """Whether it may commit its position, whoever was handed the event since."""
        return self._settings.by_position and delivery.record.partition.owner is delivery.link

    def _violation(self, what: str) -> SourceError:
        self.violations.append(what)
        return SourceError(what)

    # Time

    def _start_deadline(self, delivery: MemoryDelivery) -> None:
        if delivery.timer is not None:
            delivery.timer.cancel()
        if self._settings.deadline is not None:
            loop = asyncio.get_running_loop()
            delivery.timer = loop.call_later(self._settings.deadline, self._expire, delivery)

    def _expire(self, delivery: MemoryDelivery) -> None:
        self.expired += 1
        self._release(lambda held: held is delivery)
        self._changed()

    def _end_delay(self, record: Record) -> None:
        self._delayed.pop(record).cancel()
        self._return(record)
        self._changed()

    def _return(self, record: Record) -> None:
        if self._settings.by_position:
            self._rewind(record.partition, record.offset)
        record.partition.make_ready(record)
