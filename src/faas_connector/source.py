"""What a source of events is: how it says what it can do, and what it hands over."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec

from faas_connector.contract import FunctionContract
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.outcome import Kind


class Guarantee(enum.Enum):
    """What a source promises about an event that was read and not acknowledged."""

    AT_MOST_ONCE = "at most once"
    """It is gone."""
    AT_LEAST_ONCE = "at least once"
    """It comes again."""


class Settling(enum.Enum):
    """What one acknowledgement covers."""

    INDIVIDUAL = "individual"
    """One event."""
    BY_POSITION = "by position"
    """Every event up to a position."""


class Pausing(enum.Enum):
    """What happens while nothing more may be read."""

    KEEP_POLLING = "keep polling"
    """The client must go on polling, without getting events."""
    STOP_READING = "stop reading"
    """Nothing is asked for, and the broker keeps what it has."""
    CANNOT = "cannot"
    """Events come all the same; what finds no room is dropped and counted, or journalled. At a stop
    the source gives what it has taken already, and that is delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTraits:
    """What a source can do; the engine acts on it."""

    guarantee: Guarantee
    """What it promises about an event that was read and not acknowledged."""
    settling: Settling = Settling.INDIVIDUAL
    """What one acknowledgement covers."""
    pausing: Pausing = Pausing.STOP_READING
    """What happens while nothing more may be read."""
    ordered: bool = False
    """Whether events of one key come in order."""
    confirms_acks: bool = True
    """Whether `ack` waits for the broker's answer. Where it only sends, all that may be
    acknowledged at a time is, one after another."""
    delays_nacks: bool = False
    """Whether the broker itself can hold an event back after a `nack`."""
    extends: bool = False
    """Whether `extend` starts a delivery's deadline anew."""
    deadline: float | None = None
    """Seconds in which the broker wants an event settled or extended, where that is known."""
    journal: bool = False
    """Whether an event is to be on disk before it is acknowledged, and delivered from there."""
    replicas_share: bool = False
    """Whether several connectors divide the events among them."""
    connector: str = ""
    """What functions get as `X-Connector`, by custom `<vendor>/<name>-connector`, unless the
    configuration says another; empty for `faas-connector`."""
    keeps_dead_letters: bool = False
    """Whether `reject` makes an event a dead letter of the broker, which keeps it; then the store
    keeps only those of which the broker was told already, or which several functions asked for."""


class Once(msgspec.Struct, frozen=True):
    """The publisher's own name of an event, where a second one of that name is to be left out."""

    key: str
    seconds: float
    """How long it is remembered."""


class Delivery:
    """An event, and how its source holds it until it is settled.

    A source subclasses this. It is settled exactly once, by `ack`, `nack` or `reject`; a delivery
    that never is counts as unsettled, and comes again where the source can redeliver.
    The methods of this class do nothing by themselves: right for a source that knows no
    acknowledgement.
    """

    __slots__ = (
        "count",
        "damage",
        "deadline",
        "event",
        "function",
        "is_last",
        "once",
        "partition",
        "position",
        "redelivered",
    )

    def __init__(
        self,
        event: Event,
        *,
        position: str | None = None,
        partition: str = "",
        redelivered: bool | None = None,
        count: int | None = None,
        deadline: float | None = None,
        is_last: bool = False,
        damage: str = "",
        once: Once | None = None,
        function: FunctionName | None = None,
    ) -> None:
        """Wrap an event.

        Args:
            event: what was read.
            position: the broker's own stable name of this event; never the publisher's id.
            partition: where events are settled by position: what the positions count within.
            redelivered: whether it came before; None when the broker doesn't say.
            count: how often it came, this time included; None when the broker doesn't say.
            deadline: seconds in which it must be settled or extended; None for no limit.
            is_last: whether the broker gives it up unless it is acknowledged now: the engine hands
                it back never, but keeps it in the store; so a source gives it at a stop, too.
            damage: why no event can be made of what was read, whose bytes `event.data` holds; it
                becomes a dead letter.
            once: where events are journalled: what is taken only once. One that is a repetition is
                acknowledged, and not delivered.
            function: the only one that it is for, of those that ask for its topic; None for all.
        """
        self.event = event
        self.position = position
        self.partition = partition
        self.redelivered = redelivered
        self.count = count
        self.deadline = deadline
        self.is_last = is_last
        self.damage = damage
        self.once = once
        self.function = function

    async def ack(self) -> None:
        """It is done: never deliver it again."""

    def ack_nowait(self) -> bool:
        """Do what `ack` does, if that takes no waiting; where this is false, `ack` is awaited.

        It is asked first, since an event needs no task then; it may begin what `ack` then waits
        for, so that several go together. It must raise nothing.
        """
        return type(self).ack is Delivery.ack

    async def nack(self, delay: float = 0.0) -> None:
        """Deliver it again, after `delay` seconds where the broker can wait."""

    async def reject(self) -> None:
        """It can never be handled: don't deliver it again. By default as `ack`."""
        await self.ack()

    async def extend(self) -> None:
        """It is still being worked on: start its deadline anew."""

    def concluded(self, kind: Kind, status: int | None) -> None:
        """What one function made of it; told for each that matched, before it is settled.

        An event that is journalled is settled before it is delivered, and this is told afterwards.

        Args:
            kind: of the last call; ABSENT where there was none.
            status: that was answered, if anything was.
        """

    def ended(self) -> None:
        """Nothing runs for it any more: it was delivered, kept for later, or given up."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.event.topic} position={self.position!r}>"


class Session(Protocol):
    """What a source is told while it is open."""

    @property
    def stopping(self) -> asyncio.Event:
        """Set when nothing more is to be read."""
        ...

    @property
    def max_unsettled(self) -> int:
        """How many deliveries of it may be unsettled; then no more are read."""
        ...

    @property
    def trial(self) -> bool:
        """Whether the broker is to be left as it was: nothing is committed or acknowledged, and
        what is made there goes when the source is closed. So do `check -f` and `--dry-run` open it.
        """
        ...

    def topics(self) -> frozenset[str]:
        """The topics that functions ask for now, with those of functions that vanished lately."""
        ...

    def functions(self) -> tuple[FunctionContract, ...]:
        """The functions that its events may go to now, with those that vanished lately.

        The same object until something has changed.
        """
        ...

    def drop(self, count: int, why: str, /) -> None:
        """Count events that nobody will get, in the metrics and in the log.

        Args:
            count: how many.
            why: as the end of "source NAME dropped 3 events that …", with what helps against it.
        """
        ...

    def lacks(self, topics: frozenset[str], /) -> None:
        """Say which topics it is to read and finds nowhere, while it reads others; as they change.

        Args:
            topics: all of them; empty where there are none any more.
        """
        ...


class Source(Protocol):
    """Where events come from: settings only. Everything live is inside `open`.

    A source connects, reads and settles. It never retries, backs off, counts, matches topics or
    calls functions.

    Where it has more to tell, `check -f` asks for it: `topics`, those of its events;
    `topic_patterns`, a dictionary from a pattern as it was written (it may stand in `topics`, too)
    to a function which tells whether it gives a topic; `flaws(functions)`, which gives a line for
    each thing that can't work with those functions.
    """

    @property
    def name(self) -> str:
        """A stable name, unique in one process."""
        ...

    @property
    def traits(self) -> SourceTraits:
        """What it can do."""
        ...

    def open(self, session: Session, /) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Connect, and give the deliveries until `session.stopping` is set.

        Raises:
            SourceError: it can't connect; the message says where to, without the password. After
                this and any other exception, it is opened again: here, or from the iterator.
            ConfigError: it can never work. The run ends with it, and the other sources drain.
        """
        ...
