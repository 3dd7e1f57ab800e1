"""Logs of events in memory, and who has which of them now."""

from __future__ import annotations

import heapq
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from faas_connector.event import Event


class Record:
    """One event at the broker."""

    __slots__ = ("deliveries", "done", "event", "holder", "offset", "partition", "returned")

    def __init__(self, event: Event, partition: Partition, offset: int) -> None:
        self.event = event
        self.partition = partition
        self.offset = offset
        self.deliveries = 0
        self.holder: object = None
        """The delivery that has it; None while nobody has."""
        self.returned = False
        """Whether it was handed back on purpose, and not handed out since."""
        self.done = False


class Partition:
    """A log of events, in which positions count."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner: object = None
        self.committed = -1
        """The offset up to which nothing comes again."""
        self.kept: OrderedDict[int, Record] = OrderedDict()
        self._next_offset = 0
        self._ready: list[int] = []

    def put(self, event: Event) -> None:
        record = Record(event, self, self._next_offset)
        self.kept[record.offset] = record
        self._next_offset += 1
        self._ready.append(record.offset)  # the largest: still a heap

    def first_ready(self) -> Record | None:
        """The earliest event that may be handed out."""
        while self._ready:
            record = self.kept.get(self._ready[0])
            if record is not None and record.holder is None:
                return record
            heapq.heappop(self._ready)
        return None

    def take(self, holder: object) -> Record | None:
        """Hand the earliest out; None where there is none."""
        record = self.first_ready()
        if record is None:
            return None
        heapq.heappop(self._ready)
        record.holder = holder
        record.returned = False
        record.deliveries += 1
        return record

    def make_ready(self, record: Record) -> None:
        """Hand it out again, before all later ones."""
        record.holder = None
        if not record.done:
            heapq.heappush(self._ready, record.offset)

    def remove(self, record: Record) -> None:
        """It never comes again."""
        record.done = True
        record.holder = None
        self.kept.pop(record.offset, None)

    def up_to(self, offset: int) -> Iterator[Record]:
        """What is kept up to an offset; each is to be removed before the next is asked for."""
        while self.kept:
            record = next(iter(self.kept.values()))
            if record.offset > offset:
                return
            yield record


def partition_of(event: Event, partitions: Iterable[Partition]) -> Partition:
    """Where an event goes: events of one key stay together."""
    several = list(partitions)
    if event.key is None:
        return min(several, key=lambda partition: len(partition.kept))
    return several[zlib.crc32(event.key.encode("utf-8", "surrogatepass")) % len(several)]
