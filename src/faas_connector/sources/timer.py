"""Events made by a clock: for trying things out, and the smallest example of a source."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from faas_connector.errors import ConfigError
from faas_connector.event import Event
from faas_connector.options import Seconds, option, settings
from faas_connector.source import Delivery, Guarantee, Session, SourceTraits


class _Sample(msgspec.Struct, rename="camel"):
    created_at: datetime
    message_id: int


def sample_event(topic: str, count: int) -> Event:
    """What the Go SDK's tester sends: a time, and a number that counts up from 0."""
    now = datetime.now(UTC)
    return Event(
        topic,
        msgspec.json.encode(_Sample(now, count)),
        {"X-Message-Id": str(count)},
        "application/json",
        id=str(count),
        time=now,
    )


@settings
class TimerSource:
    """One event after another, at an interval. Missed ones are left out, never made up for."""

    name: str = "timer"
    """A stable name, unique in one process."""
    topic: str = option(default="payment.received", example="orders.new")
    """The topic of each event."""
    interval: Seconds = 10.0
    """Between two events."""
    first_after: Seconds | None = None
    """Before the first event; `interval` if not given."""
    make: Callable[[str, int], Event] = option(default=sample_event, code_only=True)
    """Makes an event of the topic and its number, which counts up from 0."""

    traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of its events."""
        return (self.topic,)

    def __post_init__(self) -> None:
        if not self.interval > 0:
            raise ConfigError(
                f"timer.interval must be above 0 seconds, got {self.interval!r}; for example 10.0"
            )

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Give a delivery whenever it is time, until the session stops."""
        yield self._ticks(session)

    async def _ticks(self, session: Session) -> AsyncIterator[Delivery]:
        loop = asyncio.get_running_loop()
        due = loop.time() + (self.interval if self.first_after is None else self.first_after)
        count = 0
        while not await _stopped_before(session, due - loop.time()):
            yield Delivery(self.make(self.topic, count))
            count += 1
            due = max(due + self.interval, loop.time())


async def _stopped_before(session: Session, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await session.stopping.wait()
    return session.stopping.is_set()
