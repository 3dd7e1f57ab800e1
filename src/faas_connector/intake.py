"""What is read from one source and not settled yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

import msgspec

from faas_connector.config import Limits
from faas_connector.event import Event, size_of
from faas_connector.frontier import Frontier
from faas_connector.key_order import Ticket
from faas_connector.metrics import SourceCounts
from faas_connector.names import FunctionName
from faas_connector.pursuit import Pending
from faas_connector.source import Delivery, Settling, SourceTraits


class Turn(Protocol):
    """An event's place in the limiter's line, and its call, until its task has begun."""

    is_waiting: bool
    """Whether it was not let in yet."""

    def pending(self) -> Pending:
        """What there is to be done; from now on it is among what is open."""
        ...

    def give_up(self) -> None:
        """It is not to be called any more."""
        ...


class Tracked(msgspec.Struct, eq=False):
    """An event from reading to settling."""

    intake: Intake
    delivery: Delivery
    event: Event
    first: float
    """When it was read, in seconds since the epoch."""
    source: str
    key: tuple[str, str] | None
    """Source and position; None where the broker gives none."""
    functions: tuple[FunctionName, ...] = ()
    tickets: dict[FunctionName, Ticket] | None = None
    open: list[Pending] = []
    """What has no verdict yet that is safe."""
    keeping: int = 0
    """How many verdicts are being made safe."""
    detaching: asyncio.Task[None] | None = None
    """Until what is open has been parked, and its broker told."""
    succeeded: list[Pending] = []
    entry_id: int = 0
    """Its entry in the store, for all functions that match."""
    remembers: bool = False
    """Whether successes are to be written down as they come."""
    is_held: bool = False
    """Whether that entry counts among the parked ones of its key."""
    is_journalled: bool = False
    """Whether it is in the journal, and being delivered from memory."""
    is_told: bool = False
    """Whether its broker was told, or can't be told any more."""
    is_finished: bool = False
    """Whether each function has a verdict that is safe."""
    is_taken: bool = False
    """Whether it counts as unsettled."""
    size: int = 0
    """What it counts for then, in bytes."""
    line: Line | None = None
    """Where it is acknowledged by position."""
    deadline_at: float | None = None
    task: asyncio.Task[None] | None = None
    turn: Turn | None = None
    """Until its task has begun, where it needs one at all."""

    @property
    def is_settling(self) -> bool:
        """Whether a verdict is being made safe, or its broker told."""
        return self.is_finished or self.keeping > 0 or self.detaching is not None


class InHand(dict[tuple[str, str], Tracked]):
    """Events that may come again while they are in hand, by their keys."""

    __slots__ = ()

    def forget(self, tracked: Tracked) -> None:
        """It may come again as a new one, unless that has happened already."""
        key = tracked.key
        if key is not None and self.get(key) is tracked:
            del self[key]


class Line:
    """One partition whose events are acknowledged by position, one acknowledgement at a time."""

    def __init__(self) -> None:
        self.frontier = Frontier[Tracked]()
        self.passed: list[Tracked] = []
        """What may be acknowledged, by the last of them."""
        self.is_acking = False
        self.is_over = False
        """Whether its session is lost: what it has not acknowledged comes again in another one."""

    def lose(self) -> list[Tracked]:
        """Its session is lost: what is finished, and was not acknowledged."""
        self.is_over = True
        passed, self.passed = self.passed, []
        return passed + self.frontier.beyond()


class Intake:
    """Counts what a source has in hand, and says when there is room for more."""

    def __init__(
        self,
        name: str,
        traits: SourceTraits,
        limits: Limits,
        *,
        namespaces: Iterable[str] = (),
        cloudevents: bool = False,
        connector: str = "",
    ) -> None:
        """Start with nothing.

        Args:
            name: of the source.
            traits: what it can do.
            limits: `max_unsettled` and `max_unsettled_bytes` hold for it.
            namespaces: patterns; its events go to functions of these only. Empty for all.
            cloudevents: whether its events go out as CloudEvents.
            connector: what they go out with as `X-Connector`; empty for what all calls have.
        """
        self.name = name
        self.traits = traits
        self.namespaces = tuple(namespaces)
        self.cloudevents = cloudevents
        self.connector = connector
        self.by_position = traits.settling is Settling.BY_POSITION
        self.counts = SourceCounts()
        self.lines: dict[str, Line] = {}
        self.running: dict[Tracked, None] = {}
        """In the order of their beginning, which is that of their keys."""
        self.unsettled = 0
        self.unsettled_bytes = 0
        self.journalled = 0
        """How many of the unsettled are in the journal."""
        self.last_time: tuple[datetime, float] | None = None
        """Of the last event that has one, and when it was read."""
        self.has_deadlines = asyncio.Event()
        """Set by the first event that has one."""
        self.broken: Callable[[Exception], None] = lambda _: None
        self._is_ending = False
        self._emptier: tuple[int, Callable[[], None]] | None = None
        self._most = limits.max_unsettled
        self._most_bytes = limits.max_unsettled_bytes
        self._changed: list[asyncio.Future[None]] = []

    def begin_session(self, broken: Callable[[Exception], None]) -> None:
        """Events are read from now on.

        Args:
            broken: is told when an event can't be settled within this session.
        """
        self.broken = broken
        self._is_ending = False

    def end_session(self) -> None:
        """Nothing more is taken in hand: whoever reads waits for no room, and gives it back."""
        self._is_ending = True
        self.tell()

    def lose_session(self) -> list[Tracked]:
        """The session is lost: what is finished, and waits to be acknowledged in it."""
        lost, self.lines = self.lines, {}
        return [tracked for line in lost.values() for tracked in line.lose()]

    def place(self, tracked: Tracked) -> None:
        """Give it its place behind what was read before; one that has it already keeps it."""
        partition = tracked.delivery.partition
        line = self.lines.get(partition)
        if line is None:
            line = self.lines[partition] = Line()
        tracked.line = line
        line.frontier.add(tracked)

    def has_placed(self, tracked: Tracked) -> bool:
        """Whether an acknowledgement in this session is going to cover it."""
        return tracked.line is not None and not tracked.line.is_over and not tracked.is_told

    @property
    def lag(self) -> float | None:
        """Seconds between the last event's time and its reading; None where it has no time."""
        if self.last_time is None:
            return None
        time, read = self.last_time
        try:
            return max(0.0, read - time.timestamp())
        except (OverflowError, ValueError):  # without a zone, at either end of the calendar
            return None

    @property
    def max_unsettled(self) -> int:
        """Events that may be in hand."""
        return self._most

    @property
    def max_unsettled_bytes(self) -> int:
        """Bytes of such events (`size_of`)."""
        return self._most_bytes

    @property
    def has_room(self) -> bool:
        """Whether a further event may be read."""
        return self.unsettled < self._most and self.unsettled_bytes < self._most_bytes

    def take(self, tracked: Tracked) -> None:
        """It was read; it is counted once, however often it comes while it is in hand."""
        if not tracked.is_taken:
            tracked.is_taken = True
            self.unsettled += 1
            tracked.size = size_of(tracked.event)
            self.unsettled_bytes += tracked.size

    def release(self, tracked: Tracked) -> None:
        """It is settled, or will never be within this session."""
        if tracked.is_taken:
            tracked.is_taken = False
            self.unsettled -= 1
            self.unsettled_bytes -= tracked.size
            if tracked.is_journalled:
                tracked.is_journalled = False
                self.journalled -= 1
            if self._emptier is not None and self.unsettled <= self._emptier[0]:
                tell, self._emptier = self._emptier[1], None
                tell()
            if self._changed:
                self.tell()

    def ended(self, tracked: Tracked) -> None:
        """Nothing runs for it any more."""
        self.running.pop(tracked, None)
        if self._changed:
            self.tell()

    @property
    def is_writing_too_many(self) -> bool:
        """Whether the journal has to write some, before a further event may be read."""
        return self.unsettled - self.journalled >= self._most

    def journal(self, tracked: Tracked) -> None:
        """It is in the journal."""
        tracked.is_journalled = True
        self.journalled += 1
        self.tell()

    async def written(self) -> None:
        """Wait until the journal has written enough for a further event."""
        while self.is_writing_too_many:
            await self._change()

    async def room(self) -> None:
        """Wait until a further event may be read."""
        while not self.has_room and not self._is_ending:
            await self._change()

    def once_down_to(self, count: int, tell: Callable[[], None]) -> None:
        """Tell, once, when no more than so many are unsettled; the last who asks is told."""
        self._emptier = count, tell

    async def idle(self) -> None:
        """Wait until nothing runs for any event."""
        while self.running:
            await self._change()

    async def writes(self) -> None:
        """Wait until no verdict is being written, and nothing that is finished being settled."""
        while any(each.is_settling for each in self.running):
            await self._change()

    async def idle_before(self, over: asyncio.Event) -> bool:
        """Wait until nothing runs, or until `over` is set; whether nothing runs."""
        if self.running:
            waits = [
                asyncio.create_task(self.idle(), name=f"{self.name} idle"),
                asyncio.create_task(over.wait(), name=f"{self.name} drain over"),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.wait(waits)
        return not self.running

    def _change(self) -> asyncio.Future[None]:
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(changed)
        return changed

    def tell(self) -> None:
        """Something has changed that somebody may wait for."""
        for changed in self._changed:
            if not changed.done():
                changed.set_result(None)
        self._changed.clear()
