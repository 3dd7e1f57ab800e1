"""A world without sockets, on virtual time: what a run needs, and what must hold in it.

Everything is real from the engine down to the invoker, and so are the sources and the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from faas_connector.config import ControllerConfig, Limits, Timeouts
from faas_connector.contract import FunctionContract, Order
from faas_connector.engine import Engine
from faas_connector.errors import StoreError
from faas_connector.event import Event
from faas_connector.invoker import Invoker
from faas_connector.names import FunctionName, Invocation
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.store import Entry, State
from faas_connector.stores.memory import MemoryStore
from faas_connector.subscriptions import Subscriptions
from faas_connector.testing.memory_source import MemorySource
from faas_connector.topic_map import TopicMap

from .gateway import OK, Behaviour, Call, Gateway, always

# Seconds in which everything that is scripted here comes to its end.
_LONG = 400.0
_SUCCEED = always(OK)
SCENARIO = "scenario"
"""What the names of tasks begin with that outlive a run."""
_RETRY = RetryPolicy(attempts=4, min_wait=0.5, max_wait=8.0, backoff=Backoff.EQUAL)
_LIMITS = Limits()
_TIMEOUTS = Timeouts(call=5.0, cold_start=5.0)


def now() -> float:
    """Seconds of virtual time."""
    return asyncio.get_running_loop().time()


def function(name: str, *topics: str, **declared: Any) -> FunctionContract:
    """A function that asks for topics, "t" by default."""
    return FunctionContract(FunctionName.parse(name), topics or ("t",), **declared)


class Builder:
    """Has what the engine needs of a `TopicMapBuilder`."""

    def __init__(self, contracts: Iterable[FunctionContract] = ()) -> None:
        self.contracts = {str(each.name): each for each in contracts}
        self._missing: set[str] = set()
        self.unheard: set[str] = set()
        """Functions of which it can't be told yet that they are gone."""
        self.is_partly_unknown = False
        """Whether a namespace could not be listed yet."""
        self._lately: TopicMap | None = None
        self.map = TopicMap(self.contracts.values())

    def matched_lately(self, topic: str, namespaces: tuple[str, ...] = ()) -> bool:
        return self._lately is not None and bool(self._lately.within(namespaces).match(topic))

    def has_unlisted(self, namespaces: tuple[str, ...] = ()) -> bool:
        return self.is_partly_unknown

    def may_return(self, name: FunctionName) -> bool:
        return self.map.is_missing(name) or str(name) in self.unheard

    def set_missing(self, names: Iterable[str]) -> None:
        """These vanished from the list, and may come back."""
        self._missing = set(names)
        self._rebuild()

    def remove(self, name: str) -> None:
        """It is forgotten."""
        del self.contracts[name]
        self._missing.discard(name)
        self._rebuild()

    def add(self, contract: FunctionContract) -> None:
        """It is listed, or changed."""
        self.contracts[str(contract.name)] = contract
        self._missing.discard(str(contract.name))
        self._rebuild()

    def _rebuild(self) -> None:
        self._lately = self.map
        self.map = TopicMap(
            [each for name, each in self.contracts.items() if name not in self._missing],
            missing=[each for name, each in self.contracts.items() if name in self._missing],
        )


class SlowStore(MemoryStore):
    """A store that takes its time, before what it does and after it, like one on a disk."""

    def __init__(self, latency: float = 0.0) -> None:
        super().__init__()
        self.latency = latency
        self.refuses_writes = False
        """Whether it can be read, and not written: a full disk."""
        self._turn = asyncio.Lock()

    async def _wait(self) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)

    async def _take_turn(self) -> None:
        if self.latency:
            async with self._turn:
                await self._wait()

    async def write(self, puts=(), removes=()):
        puts, removes = list(puts), list(removes)
        await self._take_turn()
        if self.refuses_writes:
            raise StoreError("no space left on the disk")
        result = await super().write(puts, removes)
        await self._wait()
        return result

    async def append(self, entries):
        await self._take_turn()
        if self.refuses_writes:
            raise StoreError("no space left on the disk")
        result = await super().append(entries)
        await self._wait()
        return result

    async def known(self, source, position):
        await self._take_turn()
        result = await super().known(source, position)
        await self._wait()
        return result

    async def due(self, now, *, only=None, **which):
        which = {name: _copy(value) for name, value in which.items()}
        await self._take_turn()
        result = await super().due(now, only=only, **which)
        await self._wait()
        return result

    async def next_due(self, **which):
        which = {name: _copy(value) for name, value in which.items()}
        await self._take_turn()
        return await super().next_due(**which)

    async def select(self, query):
        await self._take_turn()
        result = await super().select(query)
        await self._wait()
        return result

    def entries(self, *states: State) -> list[Entry]:
        """What it holds, whether it works or not; in some states, or in all."""
        return [entry for entry in self._in_order() if not states or entry.state in states]


def _copy(value: Any) -> Any:
    return value if isinstance(value, int | float) else frozenset(value)


class _Watched(deque[Event]):
    """Events as they are settled; each is looked at."""

    def __init__(self, look: Callable[[Event], None]) -> None:
        super().__init__()
        self._look = look

    def append(self, event: Event) -> None:
        self._look(event)
        super().append(event)


class _Unforeseen(logging.Handler):
    """Collects what the borders of tasks logged with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


@dataclass
class World:
    """Everything that a run needs, and that outlives it."""

    contracts: list[FunctionContract]
    sources: list[MemorySource]
    behave: Behaviour = _SUCCEED
    retry: RetryPolicy = _RETRY
    limits: Limits = _LIMITS
    timeouts: Timeouts = _TIMEOUTS
    options: dict[str, Any] = field(default_factory=dict)
    store: SlowStore | None = field(default_factory=SlowStore)
    others: list[Any] = field(default_factory=list)
    """Sources without a broker in memory."""

    def __post_init__(self) -> None:
        self.gateway = Gateway(self.behave)
        self.builder: Any = Builder(self.contracts)
        self.config = ControllerConfig(
            gateway_url="http://gateway:8080",
            retry=self.retry,
            limits=self.limits,
            timeouts=self.timeouts,
            **self.options,
        )
        self.unsafe: list[str] = []
        self.published: dict[bytes, Event] = {}
        self.wanted: dict[bytes, tuple[str, ...]] = {}
        """Who asked for each event when it was published."""
        self.settled: list[bool] = []
        """What each run that was stopped returned."""
        for source in self.sources:
            source._broker.settled["acked"] = _Watched(self._look_at_ack)

    def publish(
        self, source: MemorySource, data: bytes, topic: str = "t", key: str | None = None,
        **more: Any,
    ) -> None:  # fmt: skip
        """Publish an event whose bytes tell it from all others."""
        assert data not in self.published
        event = Event(topic, data, key=key, **more)
        self.published[data] = event
        found = [*self.builder.map.match(topic), *self.builder.map.match_missing(topic)]
        self.wanted[data] = tuple(str(each.name) for each in found)
        source.publish(event)

    def forget(self, name: str) -> None:
        """A function is gone for good, and what was published is no longer for it."""
        self.builder.remove(name)
        for data, names in self.wanted.items():
            self.wanted[data] = tuple(each for each in names if each != name)

    # Running

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Engine]:
        """Run until the block ends, then stop and let it drain."""
        async with self._begun() as (engine, task):
            yield engine
            engine.stop()
            self.settled.append(await task)

    @asynccontextmanager
    async def crashing(self) -> AsyncIterator[Engine]:
        """Run until the block ends, then cancel: what it had told nobody is forgotten."""
        async with self._begun() as (engine, _):
            yield engine

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[tuple[Engine, asyncio.Task[bool]]]:
        """A run; nothing of it may be left afterwards, and nothing unforeseen have happened."""
        before = asyncio.all_tasks()
        log, unforeseen = logging.getLogger("faas_connector"), _Unforeseen()
        log.addHandler(unforeseen)
        log.propagate = False
        engine = self._engine()
        task = asyncio.create_task(engine.run(), name="the run")
        try:
            yield engine, task
        finally:
            task.cancel()
            await asyncio.wait([task])
            log.removeHandler(unforeseen)
            log.propagate = True
        if not task.cancelled() and (error := task.exception()):
            raise error
        left = [
            each
            for each in asyncio.all_tasks() - before
            if not each.done() and not each.get_name().startswith(SCENARIO)
        ]
        assert not left, f"left behind: {left}"
        limiter = engine.pursuit._invoker.limiter
        assert (limiter.in_flight, limiter.waiting) == (0, 0)
        assert unforeseen.found == []

    def _engine(self) -> Engine:
        self.gateway.process += 1
        client: Any = self.gateway
        invoker = Invoker(client, self.config, Subscriptions(self.limits), self.builder)
        sources = [*self.sources, *self.others]
        return Engine(sources, self.config, client, self.builder, invoker, self.store, clock=now)

    async def until(self, predicate: Callable[[], object], within: float = _LONG) -> None:
        """Let virtual time pass until something is so."""
        deadline, step = now() + within, 0.01
        while not predicate():
            assert now() < deadline, f"not so within {within} s: {self.picture()}"
            await asyncio.sleep(step)
            step = min(step * 1.2, 1.0)

    def waiting(self) -> list[Entry]:
        """What the store has still to deliver."""
        return self.store.entries(State.PARKED, State.JOURNAL) if self.store else []

    def is_quiet(self) -> bool:
        """Whether brokers and store have nothing more to deliver."""
        return not any(source.kept for source in self.sources) and not self.waiting()

    async def quiet(self, within: float = _LONG) -> None:
        """Wait until all is delivered or dead."""
        await self.until(self.is_quiet, within)

    def picture(self) -> str:
        """What there is."""
        return f"{self.sources}, waiting {self.waiting()}, {len(self.gateway.log)} calls"

    # Judging

    def is_safe(self, name: str, data: bytes) -> bool:
        """Whether an event isn't lost for a function if everything ends now."""
        return self.gateway.successes()[name, data] > 0 or any(
            entry.event is not None
            and entry.event.data == data
            and (entry.function is None or str(entry.function) == name)
            for entry in (self.store.entries() if self.store else ())
        )

    def _look_at_ack(self, event: Event) -> None:
        for name in self.wanted.get(event.data, ()):
            if not self.is_safe(name, event.data):
                self.unsafe.append(f"{event.data!r} was acked, and {name} may lose it")

    def done_with(self) -> set[bytes]:
        """What was acked, and is not to be delivered from the store."""
        acked = {event.data for source in self.sources for event in source.acked}
        return acked - {entry.event.data for entry in self.waiting() if entry.event}

    def calls_for(self, data: bytes) -> int:
        """How many calls there were for an event."""
        return sum(call.data == data for call in self.gateway.log)

    def dead(self) -> set[tuple[str, bytes]]:
        """The dead letters."""
        entries = self.store.entries(State.DEAD) if self.store else ()
        return {(str(each.function), each.event.data) for each in entries if each.event}

    def check(self, *, in_order: bool = True) -> None:
        """What holds in every run, whatever happens."""
        assert self.unsafe == []
        for source in self.sources:
            # Once a deadline is over, another delivery may hold what the engine settles.
            assert source.expired or source.violations == []
            assert source.max_unsettled <= self.limits.max_unsettled
        self.check_limits()
        self.check_waits()
        if in_order:
            self.check_order()

    def check_complete(self) -> None:
        """Each function has each event it asked for, or there is a dead letter."""
        ends = self.dead() | self.gateway.successes().keys()
        lost = {
            (name, data)
            for data, names in self.wanted.items()
            for name in names
            if (name, data) not in ends
        }
        assert not lost

    def check_once(self) -> None:
        """No success is repeated, and nothing that was delivered is dead."""
        successes = self.gateway.successes()
        repeated = {each: count for each, count in successes.items() if count > 1}
        assert not repeated
        assert not successes.keys() & self.dead()

    def check_all(self) -> None:
        """What holds where nothing crashes."""
        self.check()
        self.check_complete()
        self.check_once()

    def check_limits(self) -> None:
        """Never more calls at a time than allowed."""
        most = self.gateway.most_in_flight
        assert most[""] <= self.limits.max_in_flight
        for name, contract in self.builder.contracts.items():
            assert most[name] <= (contract.concurrency or self.limits.max_in_flight)

    def by_event(self) -> dict[tuple[str, bytes], list[Call]]:
        """The calls of each function for each event."""
        found: dict[tuple[str, bytes], list[Call]] = defaultdict(list)
        for call in self.gateway.log:
            found[call.function, call.data].append(call)
        return found

    def check_waits(self) -> None:
        """Never again sooner than the policy says, or than the answer asked for."""
        shares = {Backoff.FULL: 0.0, Backoff.EQUAL: 0.5, Backoff.EXPONENTIAL: 1.0}
        share = shares[self.retry.backoff]
        attempts: dict[tuple[str, str], list[Call]] = defaultdict(list)
        for each in self.gateway.log:
            attempts[each.function, each.call_id].append(each)
        for calls in attempts.values():
            charged = 0
            for call, following in pairwise(calls):
                if call.process != following.process or following.begin < call.end:
                    continue
                charged += call.charged
                if call.charged:
                    computed = min(self.retry.max_wait, self.retry.min_wait * 2 ** (charged - 1))
                    if following.process > 1:  # attempts in earlier processes may be forgotten
                        computed = self.retry.min_wait
                    least = call.answer.retry_after or share * computed
                    assert following.begin - call.end >= least - 1e-6, (call, following)

    def check_attempts(self) -> None:
        """Never charged more often than the policy says; in one process."""
        for (name, data), calls in self.by_event().items():
            charged = sum(call.charged for call in calls)
            contract = self.builder.contracts[name]
            is_queued = contract.mode is Invocation.ASYNC  # its annotations are for the queue
            declared = None if is_queued else contract.retry_attempts
            assert charged <= (declared or self.retry.attempts), (name, data, calls)

    def check_order(self) -> None:
        """Of an ordered function: one event of a key at a time, in the order of publishing.

        A copy that nobody can tell from the event it is one of comes when its broker brings it, and
        so does what was published for a function that was forgotten since, where others keep it.
        """
        ids = {(call.function, call.data): set[str]() for call in self.gateway.log}
        for call in self.gateway.log:
            ids[call.function, call.data].add(call.call_id)
        places = {data: place for place, data in enumerate(self.published)}
        for name, contract in self.builder.contracts.items():
            if contract.order is not Order.KEY:
                continue
            lines: dict[str | None, list[Call]] = defaultdict(list)
            for call in self.gateway.of(name):
                lines[self.published[call.data].key].append(call)
            lines.pop(None, None)
            for calls in lines.values():
                for call, following in pairwise(calls):
                    assert following.begin >= call.end > 0.0, (call, following)
                firsts = dict.fromkeys(
                    call.data
                    for call in calls
                    if call.ok and len(ids[name, call.data]) == 1 and name in self.wanted[call.data]
                )
                taken = [places[data] for data in firsts]
                assert taken == sorted(taken), f"{name} took {list(firsts)}"
