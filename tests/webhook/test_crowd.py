"""As many clients at once as a large sender has: nothing accepted is lost, memory is bounded."""

import asyncio
import itertools
import resource
from collections import Counter
from pathlib import Path

import pytest

from faas_connector.serving.listener import Port
from faas_connector.testing import LocalGateway

from .pusher import Client, eventually, function
from .test_kills import connector

CROWD, FILES = 10_000, 11_000
MIB = 1024 * 1024


def peak_memory(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@pytest.fixture
def _many_files():
    """As many open files as the system lets us have, where they are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    if hard < FILES:
        pytest.skip(f"needs {FILES} open files, and this system allows {hard}")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def at_once(client, request):
    client.write(request)


async def slowly(client, request):
    for at in range(0, len(request), 1024):
        client.write(request[at : at + 1024])
        await asyncio.sleep(0.3)


async def half_closed(client, request):
    client.write(request)
    client.writer.write_eof()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("clients", "idle"),
    [
        pytest.param(500, 50, id="500"),
        pytest.param(CROWD, 500, id="10,000"),
    ],
)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.usefixtures("_many_files")
async def test_a_crowd(tmp_path, clients, idle):
    """Each sends one event of 4 KB; some say nothing, stop half-way, are slow, or half close."""
    port = Port("127.0.0.1", 0)
    connections = []
    try:
        async with LocalGateway(functions=[function()]) as gateway:
            async with connector(tmp_path, gateway, port.number) as process:
                for _ in range(clients):
                    streams = await asyncio.open_connection("127.0.0.1", port.number)
                    connections.append(Client(*streams))
                for silent in connections[: idle // 2]:
                    silent.write(b"POST /orders HTTP/1.1\r\n")
                sending = connections[idle:]
                padding = "x" * 4096
                ways = itertools.cycle([half_closed, slowly, *[at_once] * 8])
                replies = await asyncio.gather(
                    *(
                        post(client, f"{number} {padding}".encode(), way)
                        for (number, client), way in zip(enumerate(sending), ways, strict=False)
                    )
                )
                accepted = {number for number, status in enumerate(replies) if status == 202}
                assert set(replies) <= {202, 503}
                assert len(accepted) > len(sending) / 2
                await eventually(lambda: len(gateway.received) >= len(accepted), within=120)
                assert peak_memory(process) < 100 * MIB + clients * 20_000
            called = Counter(int(call.body.split()[0]) for call in gateway.received)
        assert set(called) == accepted
        assert set(called.values()) == {1}
    finally:
        for client in connections:
            client.writer.close()
        port.close()


async def post(client, body, send):
    head = b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    await send(client, head + body)
    async with asyncio.timeout(100):
        head = await client.reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1])
