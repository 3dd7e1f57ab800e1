"""The fixtures that users get, used as a user would."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from faas_connector.errors import ConnectionLostError
from faas_connector.gateway.transport import Origin, Transport, request_head
from faas_connector.testing import (
    Answer,
    Fault,
    LocalFunction,
    LocalGateway,
    PortInUseError,
    ThreadedGateway,
)

pytest_plugins = ["faas_connector.testing.plugin"]


async def fetch(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    origin = Origin.parse(url)
    method = "GET" if body is None else "POST"
    fields = (("Host", origin.host_header), ("Content-Length", str(len(body or b""))))
    async with Transport(origin) as transport:
        answer = await transport.request(
            request_head(method, origin.base_path or "/", fields), body or b""
        )
        return answer.status, answer.body


async def test_functions_are_defined_in_the_test_and_what_they_received_is_kept(
    local_gateway: LocalGateway,
) -> None:
    local_gateway.add(LocalFunction(name="echo", answer=lambda call: call.body))
    local_gateway.add(LocalFunction(name="teapot", answer=418))
    local_gateway.add(LocalFunction(name="words", answer="hello"))
    assert await fetch(f"{local_gateway.url}/function/echo", b"abc") == (200, b"abc")
    assert await fetch(f"{local_gateway.url}/function/teapot", b"") == (418, b"")
    assert await fetch(f"{local_gateway.url}/function/words") == (200, b"hello")
    [first, second, third] = local_gateway.received
    assert (str(first.function), first.body) == ("echo.openfaas-fn", b"abc")
    assert second.call.method == "POST"
    assert third.header("x-call-id") == third.call_id
    assert [call.body for call in local_gateway.received_by("echo")] == [b"abc"]


async def test_a_fault_script_runs_before_the_function_does(local_gateway: LocalGateway) -> None:
    async def answer(_call: object) -> Answer:
        await asyncio.sleep(0)
        return Answer(201, (("X-Own", "1"),), b"made")

    local_gateway.add(
        LocalFunction(name="flaky", answer=answer, faults=("status=503,times=2", "after=1,hang-up"))
    )
    local_gateway.inject(Fault(target="system/functions", status=200, body=b"null", times=1))
    url = f"{local_gateway.url}/function/flaky"
    assert [(await fetch(url, b""))[0] for _ in range(3)] == [503, 503, 201]
    with pytest.raises(ConnectionLostError):
        await fetch(url, b"")
    local_gateway.clear_faults("function/flaky")
    assert await fetch(url, b"") == (201, b"made")
    assert len(local_gateway.received_by("flaky")) == 5
    assert await fetch(f"{local_gateway.url}/system/functions") == (200, b"null")


async def test_waiting_for_calls_says_how_many_came(local_gateway: LocalGateway) -> None:
    local_gateway.add(LocalFunction(name="echo"))
    await fetch(f"{local_gateway.url}/function/echo", b"")
    with pytest.raises(TimeoutError, match=r"1 of 2 calls came within 0\.01 s"):
        await local_gateway.wait_received(2, within=0.01)


async def test_the_factory_opens_gateways_as_asked(local_gateways) -> None:
    one = await local_gateways(basic_auth=("admin", "secret"))
    two = await local_gateways(functions=[LocalFunction(name="a")])
    assert (await fetch(f"{one.url}/system/functions"))[0] == 401
    assert (await fetch(f"{two.url}/system/functions"))[0] == 200
    with pytest.raises(PortInUseError, match="is taken"):
        await local_gateways(port=one.port)


def test_the_threaded_gateway_needs_no_event_loop(threaded_gateway: ThreadedGateway) -> None:
    seen: list[str] = []
    threaded_gateway.add(
        LocalFunction(
            name="echo",
            answer=lambda call: (seen.append(threading.current_thread().name), call.body)[1],
        )
    )
    with urllib.request.urlopen(f"{threaded_gateway.url}/function/echo", b"x") as answer:
        assert answer.read() == b"x"
    assert seen == ["local gateway"]
    assert [call.body for call in threaded_gateway.wait_received(1, by="echo")] == [b"x"]
    threaded_gateway.down()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{threaded_gateway.url}/healthz")
    threaded_gateway.up()
    with urllib.request.urlopen(f"{threaded_gateway.url}/healthz") as answer:
        assert answer.status == 200


def test_a_threaded_gateway_that_can_not_open_says_why() -> None:
    with (
        ThreadedGateway() as first,
        pytest.raises(PortInUseError),
        ThreadedGateway(lambda: LocalGateway(port=int(first.url.rpartition(":")[2]))),
    ):
        pass


def test_the_package_needs_no_pytest() -> None:
    script = "import sys, faas_connector.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
