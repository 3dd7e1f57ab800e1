"""A connector in a process of its own that settles very many events: `many_events.py URL FOLDER N`.

Half of them come by position and half one by one; one in a thousand fails at first and is parked
(and so are those behind it, where order is kept), one in a thousand is refused and becomes a dead
letter. Prints a line of JSON: the memory in use at regular counts, and what became of the events.
"""

import asyncio
import json
import logging
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from faas_connector import (
    Controller,
    ControllerConfig,
    Delivery,
    Event,
    Limits,
    RetryPolicy,
    SourceTraits,
)
from faas_connector.source import Guarantee, Settling
from faas_connector.stores.sqlite import SqliteStore

SAMPLES = 100
KEYS = 1000
PAGE = 4096


class Counted(Delivery):
    __slots__ = ("source",)

    async def ack(self):
        self.source.acked(int(self.position))


class Numbers:
    """So many events, and how often each was acknowledged."""

    def __init__(self, settling, count, tell):
        self.name = settling.value
        self.traits = SourceTraits(
            guarantee=Guarantee.AT_LEAST_ONCE, settling=settling, ordered=True
        )
        self.count = count
        self.acks = bytearray(b"\0" * count)  # in memory from the start
        self.reached = 0
        self._tell = tell

    def acked(self, number):
        first = number
        if self.traits.settling is Settling.BY_POSITION:
            first, self.reached = self.reached, number + 1
        for each in range(first, number + 1):
            self.acks[each] += 1
        self._tell(number + 1 - first)

    @asynccontextmanager
    async def open(self, session):
        yield self._deliveries()

    async def _deliveries(self):
        for number in range(self.count):
            topic = "ordered" if number % 2 else "plain"
            event = Event(topic, b"%d " % number + b"x" * 1000, key=str(number % KEYS))
            delivery = Counted(event, position=str(number), redelivered=False)
            delivery.source = self
            yield delivery


class Memory:
    """Samples of the memory in use."""

    def __init__(self, count):
        self.every = count // SAMPLES
        self.settled = 0
        self.samples = []

    def settle(self, count):
        before, self.settled = self.settled, self.settled + count
        if before // self.every != self.settled // self.every:
            resident = Path("/proc/self/statm").read_text().split()[1]
            self.samples.append((self.settled, int(resident) * PAGE))


async def main():
    url, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    logging.basicConfig(level=logging.CRITICAL)
    memory = Memory(count)
    sources = [Numbers(settling, count // 2, memory.settle) for settling in Settling]
    config = ControllerConfig(
        gateway_url=url,
        retry=RetryPolicy(min_wait=0.5, max_wait=1.0),
        park_after=0.1,
        limits=Limits(max_in_flight=64, max_unsettled=1000),
    )
    async with SqliteStore(folder) as store, Controller(config) as controller:
        assert await controller.run(*sources, store=store)
        while (await store.counts()).parked:
            # What was parked at the end is delivered by a run that has nothing else to do.
            run = asyncio.create_task(controller.run(Waiting(), store=store))
            while (await store.counts()).parked:  # noqa: ASYNC110 - a store tells nobody
                await asyncio.sleep(0.1)
            controller.stop()
            await run
        counts = await store.counts()
    once = sum(source.acks.count(1) for source in sources)
    told = {"samples": memory.samples, "once": once, "dead": counts.dead}
    sys.stdout.write(json.dumps(told))


class Waiting:
    """Has no events."""

    name = "waiting"
    traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE)

    @asynccontextmanager
    async def open(self, session):
        yield self._deliveries(session)

    async def _deliveries(self, session):
        await session.stopping.wait()
        for nothing in ():
            yield nothing


if __name__ == "__main__":
    uvloop.run(main())
