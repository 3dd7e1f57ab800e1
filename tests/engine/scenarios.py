"""Random scenarios: sources, functions, answers and what goes wrong, and how they are played."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import strategies as st

from faas_connector.config import Limits, Timeouts, Unmatched
from faas_connector.contract import FunctionContract, Order
from faas_connector.errors import StoreError
from faas_connector.names import FunctionName, Invocation
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.testing.memory_source import MemorySource

from .gateway import NO_ENDPOINTS, OK, Answer
from .world import SCENARIO, SlowStore, World, now

# Seconds after which a run has begun; a store that fails before ends it with an error.
_BEGINNING = 1.0
_TOPICS = ("t", "u", "v")
_SECONDS = st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 12.0])


@dataclass(frozen=True)
class Incident:
    """What goes wrong at some time, and for how long."""

    at: float
    what: str
    seconds: float
    which: int


@dataclass(frozen=True)
class Published:
    at: float
    topic: str
    key: str | None


@dataclass(frozen=True)
class Scenario:
    """All that a run depends on."""

    by_position: bool
    partitions: int
    gives_positions: bool
    tells_redelivery: bool
    deadline: float | None
    extends: bool
    functions: tuple[FunctionContract, ...]
    events: tuple[Published, ...]
    answers: dict[tuple[int, int], tuple[Answer, ...]]
    incidents: tuple[Incident, ...]
    latency: float
    limits: Limits
    retry: RetryPolicy
    park_after: float
    drain: float
    debug: bool = field(default=False)


@st.composite
def _functions(draw: st.DrawFn) -> tuple[FunctionContract, ...]:
    found: list[FunctionContract] = []
    for number in range(draw(st.integers(0, 4))):
        ordered = draw(st.booleans())
        mode = None if ordered else draw(st.sampled_from([None, None, Invocation.ASYNC]))
        found.append(
            FunctionContract(
                FunctionName(f"f{number}", draw(st.sampled_from(["", "ns"]))),
                tuple(draw(st.sets(st.sampled_from(_TOPICS), min_size=1))),
                order=Order.KEY if ordered else None,
                mode=mode,
                concurrency=draw(st.sampled_from([None, None, 1, 2])),
                retry_attempts=draw(st.sampled_from([None, None, 1, 3])),
            )
        )
    return tuple(found)


_ANSWERS = st.one_of(
    st.just(Answer(500)),
    st.just(Answer(500, after=1.5)),
    st.just(Answer(None)),
    st.just(Answer(after=2.0)),
    st.just(Answer(after=9.0)),
    st.just(Answer(400)),
    st.just(Answer(503)),
    st.just(NO_ENDPOINTS),
    st.just(Answer(502, internal=True)),
    st.builds(Answer, st.just(429), retry_after=st.sampled_from([0, 1, 3, 20])),
)


@st.composite
def scenarios(
    draw: st.DrawFn,
    *,
    incidents: tuple[str, ...] = ("outage", "store", "break", "vanish", "absent", "forget"),
    positions: bool | None = None,
) -> Scenario:
    """Any scenario.

    Args:
        draw: of hypothesis.
        incidents: what may go wrong.
        positions: whether the source gives positions; None for either.
    """
    by_position = draw(st.booleans()) and positions is not False
    functions = draw(_functions())
    events = tuple(
        Published(*each)
        for each in draw(
            st.lists(
                st.tuples(
                    _SECONDS, st.sampled_from(_TOPICS), st.sampled_from([None, "a", "a", "b"])
                ),
                min_size=1,
                max_size=14,
            )
        )
    )
    cells = [(f, e) for f in range(len(functions)) for e in range(len(events))]
    answers: dict[tuple[int, int], tuple[Answer, ...]] = {}
    if cells:
        answers = draw(
            st.dictionaries(
                st.sampled_from(cells),
                st.lists(_ANSWERS, min_size=1, max_size=6).map(tuple),
                max_size=12,
            )
        )
    found = draw(
        st.lists(
            st.builds(Incident, _SECONDS, st.sampled_from(incidents), _SECONDS, st.integers(0, 3)),
            max_size=4,
        )
    )
    deadline = None if by_position else draw(st.sampled_from([None, None, 1.0, 3.0]))
    partitions = draw(st.integers(1, 2)) if by_position else 1
    gives_positions = by_position or (draw(st.booleans()) if positions is None else positions)
    latency = draw(st.sampled_from([0.0, 0.003, 0.2]))
    if deadline is not None and not gives_positions:
        # What its broker takes away sooner than it can be written down comes again for ever.
        latency = min(latency, 0.003)
    return Scenario(
        by_position=by_position,
        partitions=partitions,
        gives_positions=gives_positions,
        tells_redelivery=draw(st.booleans()),
        deadline=deadline,
        extends=draw(st.booleans()),
        functions=functions,
        events=events,
        answers=answers,
        incidents=tuple(found),
        latency=latency,
        limits=Limits(
            max_in_flight=draw(st.sampled_from([1, 2, 8])),
            max_unsettled=draw(st.sampled_from([1, 3, 100])),
        ),
        retry=RetryPolicy(
            attempts=draw(st.integers(1, 4)), min_wait=0.5, max_wait=8.0, backoff=Backoff.EQUAL
        ),
        park_after=draw(st.sampled_from([0.1, 2.0, 5.0])),
        drain=draw(st.sampled_from([0.5, 3.0, 30.0])),
    )


class Play:
    """One scenario while it is played."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        traits = SourceTraits(
            guarantee=Guarantee.AT_LEAST_ONCE,
            settling=Settling.BY_POSITION if scenario.by_position else Settling.INDIVIDUAL,
            extends=scenario.extends,
            ordered=True,
        )
        self.source = MemorySource(
            traits=traits,
            partitions=scenario.partitions,
            deadline=scenario.deadline,
            gives_positions=scenario.gives_positions,
            tells_redelivery=scenario.tells_redelivery,
        )
        self.store = SlowStore(scenario.latency)
        self.world = World(
            list(scenario.functions),
            [self.source],
            self._behave,
            retry=scenario.retry,
            limits=scenario.limits,
            timeouts=Timeouts(call=5.0, cold_start=5.0, drain=scenario.drain),
            options={"park_after": scenario.park_after, "unmatched": self._unmatched()},
            store=self.store,
        )
        self.reports: list[str] = []
        self._outages = self._failures = 0

    def _unmatched(self) -> Unmatched:
        """Held, unless somebody publishes what nobody will ever ask for."""
        asked = {topic for function in self.scenario.functions for topic in function.topics}
        published = {event.topic for event in self.scenario.events}
        return Unmatched.HOLD if published <= asked else Unmatched.ACK

    def _behave(self, function: str, data: bytes, call: int) -> Answer:
        number = int(function[1:].split(".", maxsplit=1)[0])
        scripted = self.scenario.answers.get((number, int(data)), ())
        return scripted[call - 1] if call <= len(scripted) else OK

    async def publish(self) -> None:
        """Publish everything in its time."""
        begun = now()
        events = sorted(enumerate(self.scenario.events), key=lambda each: each[1].at)
        for number, event in events:
            await asyncio.sleep(max(0.0, begun + event.at - now()))
            data = b"%d" % number
            self.world.publish(self.source, data, topic=event.topic, key=event.key)

    async def go_wrong(self, incident: Incident) -> None:
        """One incident, to its end."""
        await asyncio.sleep(incident.at)
        if incident.what == "outage":
            how = ("refused", "hanging", "503", "closing")[incident.which]
            self._outages += 1
            self.world.gateway.go_down(how)
            await asyncio.sleep(incident.seconds)
            self._outages -= 1
            if not self._outages:
                self.world.gateway.come_back()
        elif incident.what == "store":
            await asyncio.sleep(_BEGINNING)
            self._failures += 1
            self.store.fail_with = StoreError("the disk is gone")
            await asyncio.sleep(incident.seconds)
            self._failures -= 1
            if not self._failures:
                self.store.fail_with = None
        elif incident.what == "break":
            self.source.break_connection()
            self.source.refusals += incident.which
        elif self.scenario.functions:
            which = incident.which % len(self.scenario.functions)
            await self._go_wrong_with(str(self.scenario.functions[which].name), incident)

    async def _go_wrong_with(self, name: str, incident: Incident) -> None:
        """One function is not there for a while."""
        world = self.world
        if incident.what == "vanish":
            world.builder.set_missing({name})
            world.gateway.absent.add(name)
            await asyncio.sleep(incident.seconds)
            world.builder.set_missing(())
            world.gateway.absent.discard(name)
        elif incident.what == "forget":
            # Nobody asks for its topics meanwhile: what comes of them is held.
            contract = world.builder.contracts.get(name)
            if contract is not None:
                world.forget(name)
                await asyncio.sleep(incident.seconds)
                world.builder.add(contract)
        elif incident.what == "absent":
            world.gateway.absent.add(name)
            await asyncio.sleep(incident.seconds)
            world.gateway.absent.discard(name)

    async def to_the_end(self) -> None:
        """Publish, let go wrong what goes wrong, and wait until all is settled."""
        await self.happen()
        await self.world.quiet()

    async def happen(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.publish(), name=f"{SCENARIO}: publish")
            for incident in self.scenario.incidents:
                group.create_task(self.go_wrong(incident), name=f"{SCENARIO}: {incident.what}")
