"""Connectors in processes of their own, killed, stopped and aborted under load."""

import asyncio
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from faas_connector.store import Query, State
from faas_connector.stores.sqlite import SqliteStore
from faas_connector.testing import Fault, LocalFunction, LocalGateway

PROGRAM = Path(__file__).with_name("connector.py")
KILLS = [
    *(pytest.param(number, id=f"kill {number}") for number in range(5)),
    *(pytest.param(number, id=f"kill {number}", marks=pytest.mark.soak) for number in range(5, 50)),
]
EVENTS = 400


@asynccontextmanager
async def gateway_of(delay=0.02, name="one"):
    async with LocalGateway(
        functions=[LocalFunction(name=name, annotations={"topic": "orders"})]
    ) as gateway:
        gateway.inject(Fault(target=f"function/{name}", delay=delay))
        yield gateway


@asynccontextmanager
async def connector(kind, folder, gateway, *more):
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), kind, str(folder), gateway.url, *more,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def eventually(condition, within):
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - it is other processes that change it
            await asyncio.sleep(0.02)


def log(folder, count=EVENTS):
    (folder / "log.txt").write_text("".join(f"{number}\n" for number in range(count)))


def called(gateway):
    return Counter(int(call.body) for call in gateway.received)


@pytest.mark.parametrize("kill", KILLS)
async def test_a_kill_loses_nothing_of_a_log(tmp_path, kill):
    log(tmp_path)
    async with gateway_of() as gateway:
        async with connector("log", tmp_path, gateway) as first:
            # More calls have come than can be in flight: at least 16 events are unsettled.
            await gateway.wait_received(33 + 37 * (kill % 8), within=60)
            first.send_signal(signal.SIGKILL)
            await first.wait()
        committed = tmp_path / "offset.txt"
        offset = int(committed.read_text()) if committed.exists() else 0
        before = called(gateway)
        unsettled = [number for number in before if number >= offset]
        async with connector("log", tmp_path, gateway) as second:
            await second.wait()
            assert second.returncode == 0
        after = called(gateway)
    assert set(after) == set(range(EVENTS))
    # 64 are read and not settled as long as there are so many left.
    assert EVENTS - offset >= 64
    repeated = {number for number, count in after.items() if count > 1}
    assert repeated <= set(unsettled)


@pytest.mark.parametrize("kill", KILLS)
async def test_a_kill_loses_nothing_that_the_journal_accepted(tmp_path, kill):
    async with gateway_of() as gateway:
        async with connector("push", tmp_path, gateway) as first:
            for number in range(EVENTS):
                first.stdin.write(b"%d\n" % number)
            await gateway.wait_received(10 + 30 * (kill % 8), within=60)
            # The function stands still from now on, so that what is accepted stays unsettled.
            gateway.inject(Fault(target="function/one", delay=20.0))
            accepted = set[int]()
            while len(accepted) < len(gateway.received) + 16:
                accepted.add(int(await first.stdout.readline()))
            first.send_signal(signal.SIGKILL)
            accepted |= {int(line) for line in (await first.stdout.read()).split()}
            await first.wait()
            gateway.clear_faults()
        async with SqliteStore(tmp_path / "state", lock_wait=None) as store:
            journal = await store.select(Query(state=State.JOURNAL))
        unsettled = {int(entry.event.data) for entry in journal}
        assert len(unsettled) >= 16
        async with connector("push", tmp_path, gateway) as second:
            assert await _line_with(second.stderr, b"source push is open")
            await eventually(lambda: accepted | unsettled <= set(called(gateway)), within=60)
            second.send_signal(signal.SIGTERM)
            await second.wait()
            assert second.returncode == 0
        repeated = {number for number, count in called(gateway).items() if count > 1}
        assert repeated <= unsettled


@pytest.mark.timeout(180)
async def test_graceful_restarts_lose_and_repeat_nothing(tmp_path):
    log(tmp_path, 2500)
    async with gateway_of() as gateway:
        for restart in range(1, 21):
            async with connector("log", tmp_path, gateway) as process:
                if restart < 20:
                    await gateway.wait_received(len(gateway.received) + 20, within=60)
                    process.send_signal(signal.SIGTERM)
                await process.wait()
                assert process.returncode == 0
        assert called(gateway) == Counter(range(2500))


async def test_a_second_signal_aborts_with_status_1(tmp_path):
    log(tmp_path, 10)
    async with gateway_of(delay=20.0) as gateway:
        async with connector("log", tmp_path, gateway) as process:
            await gateway.wait_received(10)
            process.send_signal(signal.SIGTERM)
            assert b"draining" in await _line_with(process.stderr, b"draining")
            process.send_signal(signal.SIGINT)
            assert b"aborted" in await _line_with(process.stderr, b"aborted")
            assert await process.wait() == 1
    assert not (tmp_path / "offset.txt").exists()


async def test_a_drain_that_takes_too_long_ends_with_status_1(tmp_path):
    log(tmp_path, 10)
    async with gateway_of(delay=20.0) as gateway:
        async with connector("log", tmp_path, gateway, "0.2") as process:
            await gateway.wait_received(10)
            process.send_signal(signal.SIGTERM)
            assert b"ran out of time" in await _line_with(process.stderr, b"ran out of time")
            assert await process.wait() == 1


async def _line_with(stream, text):
    while line := await stream.readline():
        if text in line:
            return line
    return b""


async def test_the_state_folder_is_named_at_the_start(tmp_path):
    log(tmp_path, 0)
    async with gateway_of() as gateway:
        async with connector("log", tmp_path, gateway) as process:
            line = await _line_with(process.stderr, b"state folder")
            assert str(tmp_path / "state").encode() in line
            assert await process.wait() == 0
