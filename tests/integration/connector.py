"""A connector in a process of its own, for tests that kill it: `connector.py KIND FOLDER URL`.

`log`: reads events by position from FOLDER/log.txt, a line each, and keeps the committed offset in
FOLDER/offset.txt. `push`: events come as lines on standard input; what is accepted, because it is
on disk, is printed.
"""

import asyncio
import logging
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from faas_connector import (
    ControllerConfig,
    Delivery,
    Event,
    Limits,
    RetryPolicy,
    SourceTraits,
    Timeouts,
    run,
)
from faas_connector.source import Guarantee, Settling


class LogDelivery(Delivery):
    __slots__ = ("folder", "offset")

    async def ack(self):
        new = self.folder / "offset.new"
        new.write_text(str(self.offset + 1))
        new.replace(self.folder / "offset.txt")


class LogSource:
    name = "log"
    traits = SourceTraits(
        guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION, ordered=True
    )

    def __init__(self, folder):
        self.folder = folder

    @asynccontextmanager
    async def open(self, session):
        committed = self.folder / "offset.txt"
        start = int(committed.read_text()) if committed.exists() else 0
        yield self.deliveries(session, start)

    async def deliveries(self, session, start):
        lines = (self.folder / "log.txt").read_text().splitlines()
        for offset in range(start, len(lines)):
            if session.stopping.is_set():
                return
            delivery = LogDelivery(Event("orders", lines[offset].encode()), position=str(offset))
            delivery.folder, delivery.offset = self.folder, offset
            yield delivery
            await asyncio.sleep(0)


class PushDelivery(Delivery):
    __slots__ = ()

    async def ack(self):
        sys.stdout.write(f"{self.event.data.decode()}\n")
        sys.stdout.flush()


class PushSource:
    name = "push"
    traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, journal=True)

    @asynccontextmanager
    async def open(self, session):
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(os.dup(0), "rb")
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            yield self.deliveries(session, reader)
        finally:
            transport.close()

    async def deliveries(self, session, reader):
        stopping = asyncio.create_task(session.stopping.wait())
        try:
            while True:
                reading = asyncio.create_task(reader.readline())
                await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    return
                line = reading.result()
                if not line:
                    await stopping
                    return
                yield PushDelivery(Event("orders", line.strip()))
        finally:
            stopping.cancel()


def main():
    kind, folder, url = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    source = LogSource(folder) if kind == "log" else PushSource()
    config = ControllerConfig(
        gateway_url=url,
        retry=RetryPolicy(min_wait=0.05, max_wait=0.2),
        limits=Limits(max_in_flight=32, max_unsettled=64),
        timeouts=Timeouts(drain=float(sys.argv[4]) if len(sys.argv) > 4 else 10.0),
    )
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    run(source, config=config, state=folder / "state", state_wait=10)


if __name__ == "__main__":
    main()
