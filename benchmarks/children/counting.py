"""What a child counts of a source's events."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from faas_connector import Controller
from faas_connector.source import Delivery, Session, Source

Found = dict[str, float]


class Committing(sqlite3.Connection):
    """Counts transactions, each of which is an fsync."""

    commits = 0

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:  # type: ignore[override]
        """Execute."""
        if sql == "COMMIT":
            Committing.commits += 1
        return super().execute(sql, *values)  # type: ignore[arg-type]


class Counting:
    """A source, seen through: says when its first event came, and stops the run after the last."""

    def __init__(
        self,
        source: Source,
        controller: Controller,
        count: int,
        opened: Callable[[], object] = lambda: None,
    ) -> None:
        self.name, self.traits = source.name, source.traits
        self.began = (0.0, 0.0)
        self._source, self._controller, self._count = source, controller, count
        self._opened = opened

    @asynccontextmanager
    async def open(self, session: Session, /) -> AsyncGenerator[AsyncIterator[Delivery]]:
        async with self._source.open(session) as deliveries:
            self._opened()
            yield self._counted(deliveries)

    async def _counted(self, deliveries: AsyncIterator[Delivery]) -> AsyncIterator[Delivery]:
        handed = 0
        async for delivery in deliveries:
            if not handed:
                self.began = time.perf_counter(), time.process_time()
            handed += 1
            yield delivery
            if handed == self._count:
                self._controller.stop()


def since(began: tuple[float, float], count: int) -> Found:
    """Events per second, and microseconds of CPU per event."""
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    return {"rate": count / wall, "cpu": cpu / count * 1e6}
