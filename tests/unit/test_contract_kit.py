"""What the contract suite reads with: it waits for nothing without an end."""

import asyncio

import pytest

from faas_connector.event import Event
from faas_connector.source import Delivery
from faas_connector.testing.contract_kit import ContractSession, Reading


async def _redelivering(seconds):
    while True:
        yield Delivery(Event("t", b"again"))
        await asyncio.sleep(seconds)


async def test_a_broker_that_redelivers_sooner_than_it_is_quiet_is_said_so():
    reading = Reading(ContractSession([]), _redelivering(0.01), patience=0.2)
    with pytest.raises(pytest.fail.Exception, match="is `quiet` below the time after which"):
        async with asyncio.timeout(30):
            await reading.rest(0.1)
    await reading.close()


async def test_a_pause_ends_it():
    reading = Reading(ContractSession([]), _redelivering(0.5), patience=30.0)
    assert [each.event.data for each in await reading.rest(0.05)] == [b"again"]
    await reading.close()
