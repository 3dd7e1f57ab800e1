"""Random failures, lost connections, stops and crashes: nothing is lost, or repeated in vain."""

import asyncio
import random
from collections import Counter

import pytest

from faas_connector import Controller, ControllerConfig, Event, Limits, RetryPolicy, Timeouts
from faas_connector.source import Guarantee, Settling, SourceTraits
from faas_connector.store import Query, State
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import Answer, LocalFunction, LocalGateway, MemorySource

BY_POSITION = SourceTraits(
    guarantee=Guarantee.AT_LEAST_ONCE, settling=Settling.BY_POSITION, ordered=True
)
INDIVIDUAL = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
SEEDS = [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 60))]
EVENTS = 300


class Moody:
    """Answers as chance has it, and remembers what it took, in that order."""

    def __init__(self, chance, *, refuses=0.0):
        self.chance = chance
        self.refuses = refuses
        self.refused = set()
        self.took = []

    def __call__(self, call):
        number = int(call.body)
        luck = self.chance.random()
        if number in self.refused or luck < self.refuses:
            self.refused.add(number)
            return Answer(400)
        if luck < 0.2:
            return Answer(self.chance.choice([500, 502, 503, 429]))
        self.took.append(number)
        return Answer(200)


async def one_run(controller, source, store, chance, *, crashes):
    """Run for a moment; then lose the connection, and stop or crash."""
    running = asyncio.create_task(controller.run(source, store=store))
    settled = len(source.acked)
    goal = min(EVENTS, settled + chance.randint(10, 120))
    await source.wait_until(lambda: len(source.acked) >= goal or running.done(), within=60)
    if chance.random() < 0.5:
        source.break_connection()
    if crashes:
        running.cancel()
        await asyncio.wait([running])
    else:
        controller.stop()
        await running


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("traits", [INDIVIDUAL, BY_POSITION], ids=["individual", "by position"])
@pytest.mark.parametrize("crashes", [False, True], ids=["stops", "crashes"])
async def test_nothing_is_lost(seed, traits, crashes):
    chance = random.Random(f"{seed}{traits}{crashes}")
    source, store = MemorySource(traits=traits), MemoryStore()
    moods = {
        "plain": Moody(chance),
        "ordered": Moody(chance),
        "picky": Moody(chance, refuses=0.05),
    }
    functions = [
        LocalFunction(
            name=name,
            answer=mood,
            annotations={
                "topic": "t",
                "faas-connector.order": "key" if name == "ordered" else "none",
            },
        )
        for name, mood in moods.items()
    ]
    for number in range(EVENTS):
        source.publish(Event("t", b"%d" % number, id="same", key=str(number % 20)))
    async with LocalGateway(functions=functions) as gateway:
        config = ControllerConfig(
            gateway_url=gateway.url,
            retry=RetryPolicy(attempts=30, min_wait=0.005, max_wait=0.05),
            park_after=0.02,
            limits=Limits(max_in_flight=16, max_unsettled=50),
            timeouts=Timeouts(drain=20.0),
        )
        async with Controller(config) as controller:
            while len(source.acked) < EVENTS:
                await one_run(controller, source, store, chance, crashes=crashes)
            last = asyncio.create_task(controller.run(source, store=store))
            await source.wait_until(lambda: source.sessions == 1)
            async with asyncio.timeout(60):
                while (await store.counts()).parked:  # noqa: ASYNC110 - a store tells nobody
                    await asyncio.sleep(0.02)
            controller.stop()
            assert await last
    dead = {(e.function.name, int(e.event.data)) for e in await store.select(Query())}
    assert dead == {("picky", number) for number in moods["picky"].refused}
    for name, mood in moods.items():
        counts = Counter(mood.took)
        assert set(counts) | mood.refused == set(range(EVENTS)), name
        repeated = sum(count - 1 for count in counts.values())
        assert repeated == 0 or crashes, (name, repeated)
    took = moods["ordered"].took
    if not crashes:
        for key in range(20):
            own = [number for number in took if number % 20 == key]
            assert own == sorted(own)
    assert source.violations == []
    assert source.max_unsettled <= 51
    assert (await store.select(Query(state=State.PARKED))) == []
