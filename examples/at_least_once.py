"""Read a file of events, deliver each to every function that asked, and lose none.

Start it with: OPENFAAS_URL=http://127.0.0.1:8080 python at_least_once.py events.txt
Stop it with Ctrl-C: what is in hand is finished first. Started again it goes on where it was.
"""

import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from faas_connector import ControllerConfig, Delivery, Event, SourceTraits, run
from faas_connector.source import Guarantee, Session, Settling

EVENTS = Path(sys.argv[1])
OFFSET = EVENTS.with_suffix(".offset")


def read_offset() -> int:
    """How many lines are done."""
    return int(OFFSET.read_text()) if OFFSET.exists() else 0


def write_offset(offset: int) -> None:
    """Remember how many lines are done."""
    new = OFFSET.with_suffix(".new")
    new.write_text(str(offset))
    new.replace(OFFSET)


class Line(Delivery):
    """One line of the file; acknowledging it covers those before it."""

    async def ack(self) -> None:
        """It and all before it are done."""
        write_offset(int(self.position or 0) + 1)


class FileSource:
    """The lines of a file, from where the last run was acknowledged."""

    name = "file"
    traits = SourceTraits(
        guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION, ordered=True
    )

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Give the deliveries; the engine settles them."""
        lines = EVENTS.read_bytes().splitlines()  # noqa: ASYNC240 - it is a small file
        yield self._deliveries(session, lines, read_offset())

    async def _deliveries(
        self, session: Session, lines: list[bytes], begin: int
    ) -> AsyncIterator[Delivery]:
        for number in range(begin, len(lines)):
            if session.stopping.is_set():
                return
            yield Line(Event("orders.new", lines[number]), position=str(number))


config = ControllerConfig(gateway_url=os.environ.get("OPENFAAS_URL", "http://127.0.0.1:8080"))
run(FileSource(), config=config, state=EVENTS.with_suffix(".state"))
