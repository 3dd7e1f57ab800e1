"""A source, seen through: what an engine reads of it, and settles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from faas_connector.errors import SourceError
from faas_connector.outcome import Kind
from faas_connector.source import Delivery, Session, Settling, Source, SourceTraits
from faas_connector.testing.contract_kit import fail


@dataclass
class Watched:
    """A source, seen through: what it handed out, and what of that is settled."""

    source: Source
    handed: list[Delivery] = field(default_factory=list[Delivery])
    unsettled: list[Delivery] = field(default_factory=list[Delivery])
    most_unsettled: int = 0
    opened: int = 0
    extended: int = 0
    """Deadlines that were started anew."""
    failures: list[Exception] = field(default_factory=list[Exception])
    """What settling raised, but for SourceError."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def traits(self) -> SourceTraits:
        return self.source.traits

    @asynccontextmanager
    async def open(self, session: Session, /) -> AsyncGenerator[AsyncIterator[Delivery]]:
        async with self.source.open(session) as deliveries:
            self.opened += 1
            self.changed.set()
            try:
                yield _WatchedIterator(self, deliveries)
            finally:
                self.unsettled.clear()

    async def wait_until(self, predicate: Callable[[], object], *, within: float) -> None:
        """Wait for something that this can see."""
        try:
            async with asyncio.timeout(within):
                while not predicate():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            fail(f"{len(self.handed)} deliveries, {self.extended} extensions within {within} s")

    def hand_out(self, delivery: Delivery) -> Delivery:
        self.handed.append(delivery)
        self.unsettled.append(delivery)
        self.most_unsettled = max(self.most_unsettled, len(self.unsettled))
        self.changed.set()
        return _WatchedDelivery(self, delivery)

    def settled(self, delivery: Delivery) -> None:
        """By position, an acknowledgement covers what was handed out before."""
        if delivery not in self.unsettled:
            return
        if self.traits.settling is Settling.BY_POSITION:
            earlier = self.unsettled[: self.unsettled.index(delivery)]
            for each in earlier:
                if each.partition == delivery.partition:
                    self.unsettled.remove(each)
        self.unsettled.remove(delivery)
        self.changed.set()


class _WatchedIterator(AsyncIterator[Delivery]):
    def __init__(self, watched: Watched, deliveries: AsyncIterator[Delivery]) -> None:
        self._watched, self._deliveries = watched, deliveries

    async def __anext__(self) -> Delivery:
        return self._watched.hand_out(await anext(self._deliveries))


class _WatchedDelivery(Delivery):
    __slots__ = ("_inner", "_watched")

    def __init__(self, watched: Watched, inner: Delivery) -> None:
        super().__init__(
            inner.event,
            position=inner.position,
            partition=inner.partition,
            redelivered=inner.redelivered,
            count=inner.count,
            deadline=inner.deadline,
            damage=inner.damage,
            once=inner.once,
        )
        self._watched, self._inner = watched, inner

    async def ack(self) -> None:
        await self._settle(self._inner.ack())

    def ack_nowait(self) -> bool:
        try:
            is_acked = self._inner.ack_nowait()
        except Exception as error:
            self._watched.failures.append(error)
            raise
        if is_acked:
            self._watched.settled(self._inner)
        return is_acked

    async def nack(self, delay: float = 0.0) -> None:
        await self._settle(self._inner.nack(delay))

    async def reject(self) -> None:
        await self._settle(self._inner.reject())

    async def extend(self) -> None:
        await self._inner.extend()
        self._watched.extended += 1
        self._watched.changed.set()

    def concluded(self, kind: Kind, status: int | None) -> None:
        self._inner.concluded(kind, status)

    async def _settle(self, settling: Awaitable[None]) -> None:
        try:
            await settling
        except SourceError:
            raise
        except Exception as error:
            self._watched.failures.append(error)
            raise
        self._watched.settled(self._inner)
