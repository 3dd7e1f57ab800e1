"""A million events through the engine, over real sockets and a store on disk: memory stays flat."""

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import linear_regression

import pytest

PROGRAM = Path(__file__).with_name("many_events.py")
MIB = 1 << 20
COUNTS = pytest.mark.parametrize(
    "count",
    [
        pytest.param(10_000, id="few", marks=pytest.mark.timeout(120)),
        pytest.param(
            1_000_000, id="a million", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]
        ),
    ],
)


def answer(status, body, kind="text/plain"):
    head = f"HTTP/1.1 {status} .\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


FUNCTIONS = answer(
    200,
    json.dumps(
        [
            {"name": "plain", "annotations": {"topic": "plain"}},
            {"name": "ordered", "annotations": {"topic": "ordered", "faas-connector.order": "key"}},
        ]
    ).encode(),
    "application/json",
)
OK, FAILED, REFUSED = answer(200, b"ok"), answer(500, b"no"), answer(400, b"never")


class Gateway(asyncio.Protocol):
    """As fast as Python can; its functions fail for the numbers in the events' bodies."""

    def __init__(self, calls):
        self._calls = calls
        self._begun = b""

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        data = self._begun + data
        end = data.find(b"\r\n\r\n")
        at = data.find(b"\r\nContent-Length: ", 0, end)
        length = 0 if at < 0 else int(data[at + 18 : data.find(b"\r", at + 2)])
        if end < 0 or len(data) < end + 4 + length:
            self._begun = data
            return
        self._begun = b""
        self._transport.write(self._answer(data, end))

    def _answer(self, data, end):
        if data.startswith(b"GET /system/namespaces"):
            return answer(404, b"404 page not found")
        if data.startswith(b"GET /system/functions"):
            return FUNCTIONS
        if not data.startswith(b"POST"):
            return OK
        self._calls[0] += 1
        number = int(data[end + 4 : data.find(b" ", end + 4)])
        if number % 1000 == 13:
            return REFUSED
        return FAILED if number % 1000 == 7 and b"\r\nX-Event-Attempt: 1\r\n" in data else OK


@asynccontextmanager
async def gateway():
    calls = [0]
    server = await asyncio.get_running_loop().create_server(lambda: Gateway(calls), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls
    finally:
        server.close()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@COUNTS
async def test_memory_stays_flat(tmp_path, count, record_property):
    begun = time.monotonic()
    async with gateway() as (url, calls):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), url, str(tmp_path / "state"), str(count),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0
    told = json.loads(said)
    assert told["once"] == count
    assert told["dead"] == count // 1000
    assert calls[0] == count + count // 1000  # nothing is called in vain, or again
    settled, resident = zip(*told["samples"][len(told["samples"]) // 4 :], strict=True)
    slope, _ = linear_regression(settled, resident)
    growth = slope * (settled[-1] - settled[0])
    seconds = time.monotonic() - begun
    report = (
        f"{count} events in {seconds:.0f} s: {max(resident) / MIB:.1f} MiB at most, "
        f"{growth / MIB:+.1f} MiB over the last three quarters, {slope:+.2f} bytes an event"
    )
    record_property("memory", report)
    sys.stdout.write(f"\n{report}\n")
    assert growth < 8 * MIB, report
    assert max(resident) < 150 * MIB, report
