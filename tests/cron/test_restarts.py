"""Cron in a process of its own, restarted around firings: each comes, and comes once."""

import time
from collections import Counter
from datetime import datetime

import pytest
from tests.brokers.harness import eventually, replicas

from faas_connector.testing import LocalFunction, LocalGateway

CRON = ("cron", "--schedules", "{tick: '* * * * * *'}", "--catch-up", "10s")
ROUNDS = [3, pytest.param(20, marks=pytest.mark.soak)]
# Parts of a second before and after the one at which it fires.
AROUND = (0.97, 0.0, 0.02, 0.9, 0.99, 0.05)


def fired(gateway):
    """How often each second was called for."""
    return Counter(
        int(datetime.fromisoformat(each.header("X-Cron-Scheduled-Time")).timestamp())
        for each in gateway.received
    )


async def another_call(gateway):
    count = len(gateway.received)
    await eventually(lambda: len(gateway.received) > count)


async def part_of_second(part):
    await eventually(lambda: 0 <= time.time() % 1.0 - part < 0.5)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_restarts_around_a_firing(tmp_path, rounds, end):
    function = LocalFunction(name="one", annotations={"topic": "tick"})
    async with LocalGateway(functions=[function]) as gateway:
        async with replicas(tmp_path, gateway, CRON) as another:
            replica = await another()
            for number in range(rounds):
                await another_call(gateway)
                await part_of_second(AROUND[number % len(AROUND)])
                await (replica.stop() if end == "stop" else replica.kill())
                await replica.start()
            last = int(time.time())
            await eventually(lambda: fired(gateway)[last])
            await replica.stop()
    times = fired(gateway)
    assert set(times) == set(range(min(times), max(times) + 1))
    # A kill may come after the call, and before it is written down that it was made.
    assert sum(times.values()) - len(times) <= (0 if end == "stop" else rounds)
