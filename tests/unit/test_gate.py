"""The gate opens for all who wait, with the first probe that succeeds."""

import asyncio

from faas_connector.gate import OutageGate


async def test_who_waits_goes_on_when_a_probe_succeeds(monkeypatch):
    monkeypatch.setattr("faas_connector.gate._INTERVAL", 0.01)
    answers = iter([False, False, True])

    async def probe():
        await asyncio.sleep(0)
        return next(answers)

    gate = OutageGate(probe, where="http://gateway")
    assert not await gate.gateway_is_well()
    assert gate.is_closed
    assert not await gate.gateway_is_well()
    async with asyncio.timeout(60):
        await asyncio.gather(*(gate.opened() for _ in range(3)))
    assert not gate.is_closed
    await gate.aclose()


async def test_a_probe_that_succeeds_charges_the_function():
    async def probe():
        await asyncio.sleep(0)
        return True

    gate = OutageGate(probe, where="http://gateway")
    assert await gate.gateway_is_well()
    assert not gate.is_closed
    await gate.aclose()


async def test_who_asks_while_a_probe_runs_is_told_by_the_next_one():
    """What that one began to see may have been before the failure."""
    begun = asyncio.Queue()

    async def probe():
        answer = asyncio.get_running_loop().create_future()
        begun.put_nowait(answer)
        return await answer

    gate = OutageGate(probe, where="http://gateway")
    first = asyncio.create_task(gate.gateway_is_well())
    probed = await begun.get()
    second = asyncio.create_task(gate.gateway_is_well())
    await asyncio.sleep(0)
    probed.set_result(True)
    assert await first
    probed = await begun.get()
    assert not second.done()
    probed.set_result(False)
    assert not await second
    await gate.aclose()
