"""A source whose broker is an object in memory: every way to settle, and all that goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from faas_connector.errors import ConfigError, SourceError
from faas_connector.event import Event
from faas_connector.source import Delivery, Guarantee, Pausing, Session, Settling, SourceTraits
from faas_connector.testing.memory_broker import Broker, BrokerSettings, Link, MemoryDelivery
from faas_connector.testing.memory_log import partition_of

Predicate = Callable[[], object]

_TRAITS = SourceTraits(
    guarantee=Guarantee.AT_LEAST_ONCE, delays_nacks=True, extends=True, replicas_share=True
)


class MemorySource:
    """A source for tests, and its broker: what that holds outlives the sessions that read it.

        source = MemorySource()
        source.publish(Event("payment.received", b"hello"))
        ...  # run the connector with it
        await source.drained()
        assert [event.data for event in source.acked] == [b"hello"]

    It does what its traits say: settles one by one or by position, delivers once or until it is
    acknowledged. By position, a `nack` rewinds the partition. Its clock is the event loop's, and
    nothing in it polls. It is used in one loop at a time, and by no other thread.
    """

    def __init__(
        self,
        name: str = "memory",
        *,
        traits: SourceTraits = _TRAITS,
        partitions: int = 1,
        deadline: float | None = None,
        gives_positions: bool = True,
        tells_redelivery: bool = True,
        room: int = 1_000,
        history: int | None = None,
    ) -> None:
        """Set up a broker that holds nothing.

        Args:
            name: of the source.
            traits: what it can do; with `Settling.BY_POSITION` it is a log with partitions.
            partitions: of the log.
            deadline: seconds in which a delivery must be settled or extended, or else its event
                comes again; None for no limit. Only where events are settled one by one.
            gives_positions: whether deliveries have a position.
            tells_redelivery: whether deliveries know that, and how often, they came before.
            room: with `Pausing.CANNOT`: how many events wait to be read; more are dropped.
            history: how many entries each list of what happened keeps; None for all.

        Raises:
            ConfigError: two of these contradict each other.
        """
        _check(traits, partitions, deadline, gives_positions=gives_positions)
        by_position = traits.settling is Settling.BY_POSITION
        self.name = name
        self.traits = traits
        self.refusals = 0
        """How many of the next attempts to open it fail."""
        self.dropped = 0
        """Events that found no room; only with `Pausing.CANNOT`."""
        self._room = room
        self._ended = False
        self._waiting: dict[asyncio.Future[None], Predicate] = {}
        settings = BrokerSettings(
            name=name,
            traits=traits,
            partitions=tuple(map(str, range(partitions))) if by_position else ("",),
            deadline=deadline,
            gives_positions=gives_positions,
            tells_redelivery=tells_redelivery,
            history=history,
        )
        self._broker = Broker(settings, self._changed)

    # What a test does

    def publish(self, event: Event, *, partition: str | None = None) -> None:
        """Give the broker an event.

        Args:
            event: what to deliver.
            partition: by position: its name, "0" and so on; None chooses by the event's key.
        """
        partitions = self._broker.partitions
        if self.traits.pausing is Pausing.CANNOT and self._unread() >= self._room:
            self.dropped += 1
        elif partition is None:
            partition_of(event, partitions.values()).put(event)
        else:
            partitions[partition].put(event)
        self._changed()

    def end(self) -> None:
        """Nothing more is published: the iterators end once the broker holds nothing."""
        self._ended = True
        self._changed()

    def break_connection(self) -> None:
        """Lose every open session: reading and settling raise SourceError; it can be reopened."""
        for link in [*self._broker.links]:
            self._broker.disconnect(link, "the connection was lost")

    async def wait_until(self, predicate: Predicate, *, within: float = 30.0) -> None:
        """Wait for something that this source can see, such as `lambda: source.nacked`.

        Raises:
            TimeoutError: it was not so within so many seconds.
        """
        if predicate():
            return
        happened = asyncio.get_running_loop().create_future()
        self._waiting[happened] = predicate
        try:
            async with asyncio.timeout(within):
                await happened
        except TimeoutError:
            raise TimeoutError(f"not so within {within} s: {self!r}") from None
        finally:
            del self._waiting[happened]

    async def drained(self, *, within: float = 30.0) -> None:
        """Wait until everything that was published is acknowledged or rejected.

        Raises:
            TimeoutError: it was not so within so many seconds.
        """
        await self.wait_until(lambda: not self.kept and not self._broker.held, within=within)

    # What a test asks

    @property
    def acked(self) -> list[Event]:
        """What was acknowledged, in that order; by position, with what a later one covered."""
        return list(self._broker.settled["acked"])

    @property
    def nacked(self) -> list[Event]:
        """What was nacked, in that order."""
        return list(self._broker.settled["nacked"])

    @property
    def rejected(self) -> list[Event]:
        """What was rejected, in that order."""
        return list(self._broker.settled["rejected"])

    @property
    def deliveries(self) -> list[MemoryDelivery]:
        """What was handed out, in that order; `settled` says what became of each."""
        return list(self._broker.deliveries)

    @property
    def unsettled(self) -> list[MemoryDelivery]:
        """What is handed out now and not settled, in the order of handing out."""
        return list(self._broker.held)

    @property
    def max_unsettled(self) -> int:
        """The most deliveries that were ever unsettled at once."""
        return self._broker.max_held

    @property
    def max_unsettled_bytes(self) -> int:
        """The most bytes of data that were ever unsettled at once."""
        return self._broker.max_held_bytes

    @property
    def kept(self) -> int:
        """How many events the broker holds, handed out or not."""
        return self._broker.kept

    @property
    def commits(self) -> list[tuple[str, int]]:
        """By position: each partition and offset that was committed, in that order."""
        return list(self._broker.commits)

    @property
    def committed(self) -> dict[str, int]:
        """By position: the last committed offset of each partition; -1 for none."""
        return {name: each.committed for name, each in self._broker.partitions.items()}

    @property
    def opened(self) -> int:
        """Sessions that were opened so far."""
        return self._broker.opened

    @property
    def sessions(self) -> int:
        """Sessions that are open now."""
        return len(self._broker.links)

    @property
    def expired(self) -> int:
        """Deliveries that were not settled before their deadline."""
        return self._broker.expired

    @property
    def extended(self) -> int:
        """Deadlines that were started anew."""
        return self._broker.extended

    @property
    def violations(self) -> list[str]:
        """What no engine may do: settle twice, or settle what another delivery holds."""
        return list(self._broker.violations)

    def __repr__(self) -> str:
        return (
            f"<MemorySource {self.name}: {self.kept} kept, {len(self._broker.held)} unsettled, "
            f"{len(self._broker.deliveries)} deliveries, {len(self._broker.violations)} violations>"
        )

    # What the engine does

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Connect, and give the deliveries until `session.stopping` is set.

        Raises:
            SourceError: it was told to refuse, or is open already and can't be shared.
        """
        if self.refusals > 0:
            self.refusals -= 1
            raise SourceError(f"{self.name}: the connection was refused, as the test asked for")
        if self.sessions and not self.traits.replicas_share:
            raise SourceError(
                f"{self.name}: it is open already, and its traits say that replicas don't share; "
                "close the other session first"
            )
        link = Link()
        self._broker.connect(link)
        noticing = asyncio.create_task(
            _wake_at_stop(session, link), name=f"{self.name}: notice the stop"
        )
        try:
            yield _Reader(session, link, self._next, self.traits.pausing)
        finally:
            noticing.cancel()
            self._broker.disconnect(link, "the session was closed")
            await asyncio.wait([noticing])

    def _next(self, link: Link) -> Delivery | None:
        """What comes next; None where that isn't there yet."""
        if link.lost:
            raise SourceError(f"{self.name}: {link.lost}; open it again")
        delivery = self._broker.take(link)
        if delivery is None and self._ended and not self.kept:
            raise StopAsyncIteration
        return delivery

    def _unread(self) -> int:
        return self.kept - sum(not held.record.done for held in self._broker.held)

    def _changed(self) -> None:
        for link in self._broker.links:
            link.wake.set()
        for happened, predicate in self._waiting.items():
            if not happened.done() and predicate():
                happened.set_result(None)


class _Reader(AsyncIterator[Delivery]):
    """Reads one session's deliveries; whoever cancels a read loses nothing."""

    def __init__(
        self,
        session: Session,
        link: Link,
        take: Callable[[Link], Delivery | None],
        pausing: Pausing,
    ) -> None:
        self._session, self._link, self._take = session, link, take
        self._pausing = pausing

    async def __anext__(self) -> Delivery:
        while not self._session.stopping.is_set():
            self._link.wake.clear()
            delivery = self._take(self._link)
            if delivery is not None:
                return delivery
            await self._link.wake.wait()
        # What could not be kept from coming has come, and nobody else has it.
        last = self._take(self._link) if self._pausing is Pausing.CANNOT else None
        if last is None:
            raise StopAsyncIteration
        return last


async def _wake_at_stop(session: Session, link: Link) -> None:
    await session.stopping.wait()
    link.wake.set()


def _check(
    traits: SourceTraits, partitions: int, deadline: float | None, *, gives_positions: bool
) -> None:
    by_position = traits.settling is Settling.BY_POSITION
    if by_position and not gives_positions:
        raise ConfigError("a MemorySource that settles by position must give positions")
    if by_position and deadline is not None:
        raise ConfigError("a MemorySource that settles by position has no deadlines")
    if by_position and traits.guarantee is Guarantee.AT_MOST_ONCE:
        raise ConfigError("a MemorySource that settles by position delivers at least once")
    if partitions != 1 and not by_position:
        raise ConfigError("a MemorySource has partitions only where it settles by position")
    if partitions < 1:
        raise ConfigError(f"a MemorySource needs a partition at least, got {partitions}")
    if deadline is not None and not deadline > 0:
        raise ConfigError(f"deadline must be above 0 seconds, got {deadline!r}; for example 30.0")
