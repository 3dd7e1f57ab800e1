"""The cron source in a run: whom it calls, and what a restart does."""

import asyncio
import time
from datetime import datetime, timedelta

import pytest
from tests.brokers.harness import eventually

from faas_connector import Controller, ControllerConfig, Scoped
from faas_connector.errors import ConfigError
from faas_connector.sources.cron import CronSource, Overlap
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import LocalFunction, LocalGateway


def scheduled(name, schedule):
    return LocalFunction(name=name, annotations={"topic": "cron-function", "schedule": schedule})


async def run_until_received(gateway, store, source, count):
    async with Controller(ControllerConfig(gateway_url=gateway.url)) as controller:
        run = asyncio.create_task(controller.run(source, store=store))
        await eventually(lambda: len(gateway.received) >= count)
        run.cancel()
        await asyncio.wait([run])


async def test_a_schedule_calls_its_function_and_no_other():
    functions = [scheduled("often", "* * * * * *"), scheduled("seldom", "0 0 29 2 *")]
    async with LocalGateway(functions=functions) as gateway:
        await run_until_received(gateway, MemoryStore(), CronSource(), 2)
        assert {each.function.name for each in gateway.received} == {"often"}
        first = gateway.received[0]
        assert first.header("X-Topic") == "cron-function"
        assert first.header("X-Cron-Schedule") == "* * * * * *"
        assert (first.header("X-Cron-Scheduled-Time") or "").endswith("+00:00")


async def test_schedules_of_other_namespaces_are_left_alone():
    functions = [
        scheduled("often", "* * * * * *"),
        LocalFunction(
            name="often",
            namespace="staging",
            annotations={"topic": "cron-function", "schedule": "* * * * * *"},
        ),
    ]
    source = Scoped(CronSource(), namespaces=("staging",))
    async with LocalGateway(functions=functions) as gateway:
        await run_until_received(gateway, MemoryStore(), source, 2)
        assert {each.function.namespace for each in gateway.received} == {"staging"}


async def test_a_restart_repeats_no_firing():
    """The second run catches up with the same minute, and finds it claimed."""
    begun, store = time.time(), MemoryStore()
    source = CronSource(clock=lambda: begun, catch_up=3.0)
    async with LocalGateway(functions=[scheduled("often", "* * * * * *")]) as gateway:
        await run_until_received(gateway, store, source, 3)
        later = CronSource(clock=lambda: begun + 1.0, catch_up=4.0)
        await run_until_received(gateway, store, later, 4)
        times = [each.header("X-Cron-Scheduled-Time") for each in gateway.received]
        assert len(set(times)) == len(times)


def source(now, catch_up):
    return CronSource(clock=lambda: now, catch_up=catch_up, overlap=Overlap.SKIP)


async def test_of_what_was_missed_the_last_is_delivered_where_firings_must_not_overlap():
    """After a restart the first that is due was delivered before, and must not hide the others."""
    begun, store = time.time(), MemoryStore()
    async with LocalGateway(functions=[scheduled("often", "* * * * * *")]) as gateway:
        await run_until_received(gateway, store, source(begun, 1.0), 1)
        later = source(begun + 2.0, 3.0)
        await run_until_received(gateway, store, later, 2)
        first, second = (
            datetime.fromisoformat(each.header("X-Cron-Scheduled-Time"))
            for each in gateway.received
        )
        assert second - first == timedelta(seconds=2)


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
