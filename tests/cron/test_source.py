"""The cron source in a run: whom it calls, and what a restart does."""

import asyncio
import time

import pytest

from faas_connector import Controller, ControllerConfig
from faas_connector.errors import ConfigError
from faas_connector.local import LocalFunction, LocalGateway
from faas_connector.sources.cron import CronSource
from faas_connector.stores.memory import MemoryStore


def scheduled(name, schedule):
    return LocalFunction(name=name, annotations={"topic": "cron-function", "schedule": schedule})


async def run_until_received(gateway, store, source, count):
    async with Controller(ControllerConfig(gateway_url=gateway.url)) as controller:
        run = asyncio.create_task(controller.run(source, store=store))
        async with asyncio.timeout(20):
            while len(gateway.received) < count:
                await asyncio.sleep(0.02)
        run.cancel()
        await asyncio.wait([run])


async def test_a_schedule_calls_its_function_and_no_other():
    functions = [scheduled("often", "* * * * * *"), scheduled("seldom", "0 0 29 2 *")]
    async with LocalGateway(functions=functions) as gateway:
        await run_until_received(gateway, MemoryStore(), CronSource(), 2)
        assert {each.function for each in gateway.received} == {"often"}
        headers = gateway.received[0].headers
        assert headers["X-Topic"] == "cron-function"
        assert headers["X-Cron-Schedule"] == "* * * * * *"
        assert headers["X-Cron-Scheduled-Time"].endswith("+00:00")


async def test_a_restart_repeats_no_firing():
    """The second run catches up with the same minute, and finds it claimed."""
    begun, store = time.time(), MemoryStore()
    source = CronSource(clock=lambda: begun, catch_up=3.0)
    async with LocalGateway(functions=[scheduled("often", "* * * * * *")]) as gateway:
        await run_until_received(gateway, store, source, 3)
        later = CronSource(clock=lambda: begun + 1.0, catch_up=4.0)
        await run_until_received(gateway, store, later, 4)
        times = [each.headers["X-Cron-Scheduled-Time"] for each in gateway.received]
        assert len(set(times)) == len(times)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedules": {"t": "often"}}, "cron: 'often' is no schedule"),
        ({"schedules": {"t": ""}}, "'t' has no schedule"),
        ({"time_zone": "Mars"}, "no time zone 'Mars'"),
        ({"payloads": {"t": "{}"}}, "'t' is no topic of schedules"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        CronSource(**options)
