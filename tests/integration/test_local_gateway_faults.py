"""Faults on request: every one of them, by API and as `--fault` spells it."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from faas_connector.errors import ConfigError, ConnectError, ConnectionLostError
from faas_connector.gateway.http1 import RawResponse
from faas_connector.gateway.transport import Origin, Transport, request_head
from faas_connector.testing import Fault, LocalFunction, LocalGateway

FUNCTIONS = [
    LocalFunction(name="echo", answer=lambda call: call.body),
    LocalFunction(name="echo", namespace="dev", answer="dev"),
    LocalFunction(name="other", answer="other"),
]


async def send(gateway: LocalGateway, line: str, body: bytes = b"") -> RawResponse:
    origin = Origin.parse(gateway.url)
    method, target = line.split(" ")
    fields = (("Host", origin.host_header), ("Content-Length", str(len(body))))
    async with Transport(origin) as transport:
        return await transport.request(request_head(method, target, fields), body)


@pytest.fixture
async def gateway():
    async with LocalGateway(functions=FUNCTIONS) as opened:
        yield opened


@pytest.mark.parametrize(
    ("fault", "line", "status", "body"),
    [
        ("function/echo:status=503", "POST /function/echo", 503, b""),
        ("function/echo:status=418,body=a, b", "POST /function/echo", 418, b"a, b"),
        ("function/echo:status=500", "POST /function/echo.openfaas-fn", 500, b""),
        ("function/echo.dev:status=500", "POST /function/echo.dev", 500, b""),
        ("function/*:status=500", "POST /function/other", 500, b""),
        ("function/*.dev:status=500", "POST /function/echo.dev", 500, b""),
        ("function/o*:status=500", "POST /function/other", 500, b""),
        ("system/functions:empty", "GET /system/functions", 200, b"[]"),
        ("system/functions:null", "GET /system/functions", 200, b"null"),
        ("system/functions:status=401", "GET /system/functions", 401, b"invalid credentials"),
        ("system/namespaces:status=404", "GET /system/namespaces", 404, b"404 page not found\n"),
        ("system/namespaces:null", "GET /system/namespaces", 200, b"null"),
        ("system/namespaces:status=200,body=", "GET /system/namespaces", 200, b""),
        ("healthz:status=503", "GET /healthz", 503, b""),
        ("system/*:status=502", "GET /system/info", 502, b""),
        ("system/*:status=502", "GET /system/functions", 502, b"\n"),
        ("system/functions:status=429,retry-after=1", "GET /system/functions", 429, b"\n"),
        ("*:status=500", "GET /healthz", 500, b""),
        ("async-function/echo:status=500,body=queue", "POST /async-function/echo", 500, b"queue"),
    ],
)
async def test_another_answer(
    gateway: LocalGateway, fault: str, line: str, status: int, body: bytes
) -> None:
    gateway.inject(fault)
    answer = await send(gateway, line)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("function/echo:status=500", "POST /function/other"),
        ("function/echo:status=500", "POST /function/echo.dev"),
        ("function/echo:status=500", "GET /system/functions"),
        ("function/echo:status=500,after=1", "POST /function/echo"),
        ("system/functions:null", "GET /system/namespaces"),
        ("async-function/echo:status=500", "POST /function/echo"),
    ],
)
async def test_others_are_left_alone(gateway: LocalGateway, fault: str, line: str) -> None:
    gateway.inject(fault)
    assert (await send(gateway, line)).status == 200


async def test_429_says_when_to_come_back(gateway: LocalGateway) -> None:
    gateway.inject("function/echo:status=429,retry-after=2,times=1")
    answer = await send(gateway, "POST /function/echo")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
    assert "X-Call-Id" in answer.headers, "the function answered, not the gateway"
    assert (await send(gateway, "POST /function/echo")).status == 200


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("function/echo:hang-up", "POST /function/echo"),
        ("function/echo:delay=1ms,hang-up", "POST /function/echo"),
        ("async-function/echo:hang-up", "POST /async-function/echo"),
        ("system/functions:hang-up", "GET /system/functions"),
        ("healthz:hang-up", "GET /healthz"),
    ],
)
async def test_a_hang_up_is_not_a_byte(gateway: LocalGateway, fault: str, line: str) -> None:
    gateway.inject(fault)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("target", "line", "body"),
    [("function/echo", "POST /function/echo", b"x" * 100), ("healthz", "GET /healthz", b"")],
)
async def test_a_short_body(gateway: LocalGateway, target: str, line: str, body: bytes) -> None:
    gateway.inject(f"{target}:short-body")
    with pytest.raises(ConnectionLostError):
        await send(gateway, line, body)


async def test_a_slow_body_comes_byte_by_byte(gateway: LocalGateway) -> None:
    gateway.inject("function/echo:slow-body=5ms")
    begun = time.monotonic()
    answer = await send(gateway, "POST /function/echo", b"0123456789")
    assert answer.body == b"0123456789"
    assert time.monotonic() - begun > 0.04


@pytest.mark.parametrize("line", ["POST /function/echo", "GET /system/functions", "GET /healthz"])
async def test_a_delay_comes_before_the_usual_answer(gateway: LocalGateway, line: str) -> None:
    gateway.inject("*:delay=30ms")
    begun = time.monotonic()
    assert (await send(gateway, line)).status == 200
    assert time.monotonic() - begun > 0.025


async def test_a_delayed_refusal_is_still_one(gateway: LocalGateway) -> None:
    gateway.inject("system/functions:delay=1ms")
    assert (await send(gateway, "GET /system/functions?namespace=no")).status == 400


async def test_a_script_of_faults(gateway: LocalGateway) -> None:
    gateway.inject(
        Fault(target="function/echo", status=500, times=2),
        Fault(target="function/echo", status=429, headers=(("Retry-After", "1"),), times=1),
    )
    statuses = [(await send(gateway, "POST /function/echo")).status for _ in range(4)]
    assert statuses == [500, 500, 429, 200]
    assert len(gateway.received) == 4
    gateway.inject("function/echo:status=500", "function/other:status=500")
    gateway.clear_faults("function/echo")
    assert (await send(gateway, "POST /function/echo")).status == 200
    assert (await send(gateway, "POST /function/other")).status == 500
    gateway.clear_faults()
    assert (await send(gateway, "POST /function/other")).status == 200


async def test_down_and_back_on_the_same_port(gateway: LocalGateway) -> None:
    port = gateway.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        async with gateway.outage():
            with pytest.raises(ConnectError):
                await send(gateway, "GET /healthz")
        assert gateway.port == port
        assert (await send(gateway, "GET /healthz")).status == 200
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b"", "connections are cut"
    writer.close()
    await gateway.up()  # again does nothing
    await gateway.down()
    await gateway.down()


async def test_an_outage_by_spec() -> None:
    async with LocalGateway(faults=["gateway:down=50ms,at=20ms"]) as gateway:
        up = [True]
        deadline = time.monotonic() + 60
        while up[-3:] != [True, False, True] and time.monotonic() < deadline:
            try:
                now = (await send(gateway, "GET /healthz")).status == 200
            except (ConnectError, ConnectionLostError):
                now = False
            if now is not up[-1]:
                up.append(now)
            await asyncio.sleep(0)
        assert up[-3:] == [True, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "function/echo",
        "function/echo:",
        ":status=500",
        "nowhere:status=500",
        "function/echo:status=99",
        "function/echo:status=abc",
        "function/echo:status",
        "function/echo:delay=soon",
        "function/echo:times=-1",
        "function/echo:explode",
        "function/echo:hang-up=1",
        "function/ec ho:status=500",
        "gateway:status=500",
        "function/echo:down=5s",
    ],
)
def test_what_is_no_fault_is_named(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Fault.parse(text)
    assert repr(text)[1:-1] in str(caught.value)
    assert "for example" in str(caught.value)
    assert "\n" not in str(caught.value)
