"""A durable webhook, killed under load: what was answered 202 is delivered all the same."""

import asyncio
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from faas_connector.serving.listener import Port
from faas_connector.testing import LocalGateway

from .pusher import eventually, function, listens, post

PROGRAM = Path(__file__).with_name("connector.py")
KILLS = [
    *(pytest.param(number, id=f"kill {number}") for number in range(4)),
    *(pytest.param(number, id=f"kill {number}", marks=pytest.mark.soak) for number in range(4, 50)),
]
SENDERS = 20


@asynccontextmanager
async def connector(folder, gateway, number):
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(folder), gateway.url, f"127.0.0.1:{number}",
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await listens(number)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Senders:
    """Send event after event, each with an id, and again until it is answered 202."""

    def __init__(self, number):
        self.number = number
        self.accepted = set()
        self.sent = 0
        self.repeated = 0
        self.stopped = False

    async def run(self):
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._send())

    async def _send(self):
        while not self.stopped:
            self.sent += 1
            await self._send_until_accepted(self.sent)

    async def _send_until_accepted(self, event):
        while event not in self.accepted:
            try:
                reply = await post(self.number, "/orders", b"%d" % event, f"X-Id: {event}")
                if reply.status == 202:
                    self.accepted.add(event)
            except (OSError, EOFError):
                self.repeated += 1
                await asyncio.sleep(0.05)


@asynccontextmanager
async def sending(number):
    senders = Senders(number)
    task = asyncio.create_task(senders.run())
    try:
        yield senders
        senders.stopped = True
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("kill", KILLS)
async def test_a_kill_loses_nothing_that_was_answered_202(tmp_path, kill):
    port, release = Port("127.0.0.1", 0), asyncio.Event()
    quick = 20 + 35 * (kill % 8)

    async def answer(_call):
        if len(gateway.received) > quick:
            await release.wait()
        return 200

    async with LocalGateway(functions=[function(answer=answer)]) as gateway:
        async with connector(tmp_path, gateway, port.number) as first:
            async with sending(port.number) as senders:
                # No more calls are answered than `quick`, and 32 are in flight.
                await eventually(lambda: len(senders.accepted) > quick + 40, within=60)
                first.send_signal(signal.SIGKILL)
                await first.wait()
                release.set()
                before = set(senders.accepted)
                assert before - {int(call.body) for call in gateway.received}
                async with connector(tmp_path, gateway, port.number) as second:
                    await eventually(lambda: len(senders.accepted) > len(before) + 20, within=60)
                    senders.stopped = True
                    await eventually(lambda: senders.accepted >= set(range(1, senders.sent + 1)))
                    second.send_signal(signal.SIGTERM)
                    await second.wait()
                    assert second.returncode == 0
        times = Counter(int(call.body) for call in gateway.received)
    port.close()
    assert senders.repeated
    assert senders.accepted <= set(times)
    # Sent twice, since the first answer was lost, and yet taken once: only what a function had, and
    # the journal too, is called again.
    assert all(count <= 2 for count in times.values())
    assert sum(count == 2 for count in times.values()) <= 64
