"""What the contract suite reads sources with."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from faas_connector.contract import FunctionContract
from faas_connector.errors import MissingExtraError, SourceError
from faas_connector.event import Event
from faas_connector.source import Delivery, Source

try:
    import pytest
except ImportError as missing:
    raise MissingExtraError(
        "the contract suite needs pytest; install it with: pip install pytest pytest-asyncio"
    ) from missing

__all__ = [
    "ContractSession",
    "Ended",
    "Reading",
    "Subject",
    "bodies",
    "check",
    "fail",
    "needs",
    "nothing_left_behind",
    "opened",
    "pytest",
    "settle_late",
]

# Seconds in which what is closing already must be closed.
_GRACE = 15.0


@dataclass(kw_only=True)
class Subject:
    """A source that is to keep its contract, and what moves its broker.

    Each test gets one of its own: nothing is published yet, and nobody has read.
    """

    source: Source
    publish: Callable[[Event], Awaitable[None]] | None = None
    """Gives the broker an event's data, headers, id and key; its topic is `topic`. None where the
    source makes its events itself."""
    topic: str = "contract"
    """The topic of what the source reads."""
    interrupt: Callable[[], Awaitable[None]] | None = None
    """Cuts the source's connections, or restarts its broker; back when it can be opened again."""
    unreachable: Source | None = None
    """The same source where nobody listens, with `password`."""
    address: str = ""
    """How an error has to name where nobody listens."""
    password: str = ""
    """What no text may show."""


def check(condition: object, message: str) -> None:
    """Fail the test where a promise isn't kept."""
    if not condition:
        fail(message)


def fail(message: str) -> NoReturn:
    pytest.fail(message)


def needs(subject: Subject, trait: str, *, met: bool) -> None:
    """Skip the test where it doesn't apply, and name the trait because of which."""
    if not met:
        pytest.skip(f"{subject.source.name}: does not apply to a source with {trait}")


class ContractSession:
    """What the suite tells a source."""

    max_unsettled = 1000
    trial = False

    def __init__(self, topics: Collection[str]) -> None:
        self.stopping = asyncio.Event()
        self.dropped = 0
        self.missing: frozenset[str] = frozenset()
        self._topics = frozenset(topics)

    def topics(self) -> frozenset[str]:
        return self._topics

    def functions(self) -> tuple[FunctionContract, ...]:
        return ()

    def drop(self, count: int, _why: str) -> None:
        self.dropped += count

    def lacks(self, topics: frozenset[str]) -> None:
        self.missing = topics


class Ended(Exception):  # noqa: N818
    """The iterator has ended."""


class Reading:
    """Reads one session; whoever gives up waiting loses nothing."""

    def __init__(
        self, session: ContractSession, deliveries: AsyncIterator[Delivery], patience: float
    ) -> None:
        self.session = session
        self.seen: list[Delivery] = []
        """What was handed out, in that order."""
        self._deliveries = deliveries
        self._patience = patience
        self._pending: asyncio.Task[Delivery] | None = None

    async def next(self, within: float | None = None) -> Delivery | None:
        """The next delivery; None where none came in time.

        Raises:
            Ended: the iterator has ended.
            SourceError: as the source raised it.
        """
        if self._pending is None:
            self._pending = asyncio.create_task(self._read(), name="read the next")
        done, _ = await asyncio.wait(
            [self._pending], timeout=self._patience if within is None else within
        )
        if not done:
            return None
        pending, self._pending = self._pending, None
        delivery = pending.result()
        self.seen.append(delivery)
        return delivery

    async def take(self, count: int) -> list[Delivery]:
        """The next deliveries."""
        taken: list[Delivery] = []
        while len(taken) < count:
            taken.append(await self._one(f"{len(taken)} of {count} events came", taken))
        return taken

    async def until(self, *bodies: bytes) -> dict[bytes, Delivery]:
        """Read until each of these came; by body, the last delivery of each."""
        found: dict[bytes, Delivery] = {}
        while missing := set(bodies) - set(found):
            names = ", ".join(map(repr, sorted(missing)))
            delivery = await self._one(f"{names} never came", found.values())
            found[delivery.event.data] = delivery
        return found

    async def rest(self, within: float) -> list[Delivery]:
        """What still comes, until nothing does for so many seconds."""
        more: list[Delivery] = []
        loop = asyncio.get_running_loop()
        end = loop.time() + self._patience
        try:
            while (delivery := await self.next(within)) is not None:
                more.append(delivery)
                if loop.time() > end:
                    fail(
                        f"events came for {self._patience} s without a pause of {within} s; is "
                        "`quiet` below the time after which the broker redelivers what is "
                        f"unsettled? The last were {bodies(more[-5:])}"
                    )
        except Ended:
            pass
        return more

    async def stop(self) -> list[Delivery]:
        """Set `stopping`, and read what comes before the iterator's end."""
        self.session.stopping.set()
        more: list[Delivery] = []
        loop = asyncio.get_running_loop()
        end = loop.time() + self._patience
        try:
            while (delivery := await self.next(end - loop.time())) is not None:
                more.append(delivery)
        except Ended:
            return more
        fail(f"the iterator had not ended {self._patience} s after session.stopping was set")

    async def close(self) -> None:
        if self._pending is not None:
            await asyncio.wait([self._pending], timeout=self._patience)
            self._pending.cancel()
            await asyncio.gather(self._pending, return_exceptions=True)

    async def _one(self, what: str, got: Collection[Delivery]) -> Delivery:
        try:
            delivery = await self.next()
        except Ended:
            fail(f"{what} before the iterator ended; got {bodies(got)}")
        if delivery is None:
            fail(f"{what} within {self._patience} s; got {bodies(got)}")
        return delivery

    async def _read(self) -> Delivery:
        try:
            return await anext(self._deliveries)
        except StopAsyncIteration:
            raise Ended from None


@asynccontextmanager
async def opened(
    source: Source, topics: Collection[str], patience: float
) -> AsyncGenerator[Reading]:
    """One session of a source, read as the engine does: no pending read is cancelled early."""
    session = ContractSession(topics)
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(patience):
            deliveries = await stack.enter_async_context(source.open(session))
        reading = Reading(session, deliveries, patience)
        try:
            yield reading
        finally:
            session.stopping.set()
            await reading.close()


async def settle_late(delivery: Delivery) -> None:
    """Settle what may not be there to be settled any more: SourceError, or nothing."""
    with contextlib.suppress(SourceError):
        await delivery.ack()


def bodies(deliveries: Collection[Delivery]) -> list[bytes]:
    """What was delivered, shortened so that it can be read."""
    return [delivery.event.data[:40] for delivery in deliveries]


@asynccontextmanager
async def nothing_left_behind(patience: float) -> AsyncGenerator[None]:
    """Fail where a task or a thread, started inside, outlives it."""
    before = _alive()
    yield
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(_GRACE, patience)
    # Threads tell nobody when they end.
    while (left := _alive() - before) and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    names = sorted(
        each.get_name() if isinstance(each, asyncio.Task) else each.name for each in left
    )
    check(not left, f"left behind after closing: {', '.join(names)}")


def _alive() -> set[asyncio.Task[Any] | threading.Thread]:
    return {*asyncio.all_tasks(), *threading.enumerate()}
