"""The local gateway's life: starting, stopping, many calls at once, stack files, logs, sleep."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import random
import time
from pathlib import Path
from typing import Self

import pytest
import uvloop

from faas_connector.errors import TransportError
from faas_connector.gateway.http1 import RawResponse
from faas_connector.gateway.transport import Origin, Transport, request_head
from faas_connector.local.stack import read_stack
from faas_connector.testing import (
    Answer,
    Call,
    FinishedCall,
    LocalFunction,
    LocalGateway,
    PortInUseError,
)

MIXED = """\
provider: {name: openfaas}
functions:
  steady: {lang: python3-http, handler: ./steady, image: i}
  sleeps: {lang: python3-http, handler: ./sleeps, image: i}
  crashes: {lang: python3-http, handler: ./crashes, image: i}
  exits: {lang: python3-http, handler: ./exits, image: i}
  copies: {fprocess: cat, image: i}
"""
HANDLERS = {
    "steady": "def handle(event, context):\n    return event.body\n",
    "sleeps": (
        "import time\ndef handle(event, context):\n    time.sleep(0.005)\n    return event.body\n"
    ),
    "crashes": "def handle(event, context):\n    raise ValueError(event.body)\n",
    "exits": "import os\ndef handle(event, context):\n    os._exit(3)\n",
}


class Caller:
    """Calls one gateway over a pool of connections."""

    def __init__(self, gateway: LocalGateway, connections: int = 64) -> None:
        self.origin = Origin.parse(gateway.url)
        self.transport = Transport(self.origin, max_connections=connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.transport.aclose()

    async def __call__(self, line: str, body: bytes = b"") -> RawResponse:
        method, target = line.split(" ")
        fields = (("Host", self.origin.host_header), ("Content-Length", str(len(body))))
        return await self.transport.request(request_head(method, target, fields), body)


def write_stack(folder: Path, text: str = MIXED) -> Path:
    for name, code in HANDLERS.items():
        (folder / name).mkdir()
        (folder / name / "handler.py").write_text(code)
    (folder / "stack.yaml").write_text(text)
    return folder / "stack.yaml"


async def test_it_starts_in_less_than_50_ms() -> None:
    took = 1.0
    for _ in range(100):  # the fastest counts, as others may use the machine too
        begun = time.perf_counter()
        async with LocalGateway(functions=[LocalFunction(name="a")], metrics_port=0) as gateway:
            async with Caller(gateway) as call:
                assert (await call("GET /healthz")).status == 200
            took = min(took, time.perf_counter() - begun)
        if took < 0.05:
            return
    pytest.fail(f"at its fastest, it took {took:.3f} s")


async def test_a_taken_port_is_an_os_error_with_advice() -> None:
    async with LocalGateway() as first:
        with pytest.raises(PortInUseError) as caught:
            async with LocalGateway(port=first.port):
                pass
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == errno.EADDRINUSE
        assert str(caught.value).startswith(f"port {first.port} on 127.0.0.1 is taken; give ")
        with pytest.raises(PortInUseError):
            async with LocalGateway(metrics_port=first.port):
                pass
    async with LocalGateway(port=first.port) as second:
        assert second.port == first.port


async def test_the_port_of_a_gateway_that_is_down_is_kept() -> None:
    async with LocalGateway() as gateway, gateway.outage(), LocalGateway() as other:
        assert other.port != gateway.port


def test_it_must_be_entered() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = LocalGateway().url


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_thousand_calls_side_by_side_get_their_own_answers(loop: str, tmp_path: Path) -> None:
    stack = read_stack(write_stack(tmp_path), {})
    expected = {"steady": 200, "sleeps": 200, "copies": 200, "crashes": 500, "exits": 500}
    names = [name for name in expected for _ in range(200)]
    random.shuffle(names)

    async def main() -> None:
        before = set(children())
        async with LocalGateway(stack=stack) as gateway, Caller(gateway, 100) as call:

            async def one(number: int, name: str) -> None:
                body = f"{name} {number}".encode()
                answer = await call(f"POST /function/{name}", body)
                assert answer.status == expected[name], (name, answer.body)
                if answer.status == 200:
                    assert answer.body == body
                if name == "crashes":
                    assert b"Can't reach" not in answer.body
                if name == "exits":
                    assert answer.body == b"Can't reach service for: exits.\n"

            async with asyncio.TaskGroup() as group:
                for number, name in enumerate(names):
                    group.create_task(one(number, name))
            assert len(gateway.received) == 1000
        assert set(children()) == before, "a process is left behind"

    factory = uvloop.new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def children() -> list[int]:
    """The processes of this one, the dead that nobody has waited for included."""
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(pid) for file in listed for pid in file.read_text().split()]


async def test_closing_in_the_midst_of_calls_leaves_nothing(tmp_path: Path) -> None:
    stack = read_stack(write_stack(tmp_path), {})
    before = set(children())
    async with LocalGateway(stack=stack, scale_to_zero_after=30) as gateway:
        async with Caller(gateway) as call:
            await call("POST /function/steady", b"warm")
            async with asyncio.TaskGroup() as group:
                calls = [
                    group.create_task(swallow(call(f"POST /{route}/sleeps", b"x")))
                    for route in ("function", "async-function")
                    for _ in range(50)
                ]
                await asyncio.sleep(0)
                await gateway.wait_received(5)
                await gateway.aclose()
        assert all(task.done() for task in calls)
    assert set(children()) == before


async def swallow(work) -> None:
    with contextlib.suppress(TransportError):
        await work


async def test_a_graceful_close_lets_calls_end() -> None:
    begun, leave = asyncio.Event(), asyncio.Event()

    async def waits(_call: Call) -> str:
        begun.set()
        await leave.wait()
        return "done"

    async with (
        LocalGateway(functions=[LocalFunction(name="waits", answer=waits)]) as gateway,
        Caller(gateway) as call,
        asyncio.TaskGroup() as group,
    ):
        calling = group.create_task(call("POST /function/waits"))
        await begun.wait()
        closing = group.create_task(gateway.aclose(grace=10))
        await asyncio.sleep(0)
        leave.set()
        assert (await calling).body == b"done"
        await closing


async def test_what_a_stack_has_is_listed_and_what_can_not_run_is_said(tmp_path: Path) -> None:
    text = MIXED + "  compiled: {lang: golang-middleware, handler: ./x, namespace: dev, image: i}\n"
    stack = read_stack(write_stack(tmp_path, text), {})
    logged: list[tuple[str, str]] = []
    async with (
        LocalGateway(
            stack=stack, on_log=lambda function, line: logged.append((str(function), line))
        ) as gateway,
        Caller(gateway) as call,
    ):
        listed = json.loads((await call("GET /system/functions?namespace=dev")).body)
        assert "replicas" not in listed[0]
        assert "golang-middleware" in listed[0]["labels"]["faas-connector.local.unsupported"]
        assert (await call("POST /function/compiled.dev")).status == 503
        assert (await call("POST /function/steady", b"on")).body == b"on"
        assert (await call("POST /function/crashes", b"boom")).status == 500
        shown = {str(function) for function in gateway.functions}
        assert "steady.openfaas-fn" in shown
        assert any(line.startswith("compiled.dev (the language") for line in shown)
        assert any("ValueError: b'boom'" in line for line in gateway.log("crashes"))
    assert any(name == "compiled.dev" for name, _ in logged)
    assert any(name == "crashes.openfaas-fn" and "ValueError" in line for name, line in logged)


async def test_secrets_beside_the_stack_reach_its_functions(tmp_path: Path) -> None:
    (tmp_path / ".secrets").mkdir()
    (tmp_path / ".secrets" / "key").write_text("hush")
    (tmp_path / "stack.yaml").write_text(
        "provider: {name: openfaas}\n"
        "functions:\n"
        "  tells: {fprocess: sh -c 'cat $secret_mount_path/key', image: i, secrets: [key]}\n"
    )
    stack = read_stack(tmp_path / "stack.yaml", {})
    async with LocalGateway(stack=stack) as gateway, Caller(gateway) as call:
        assert (await call("POST /function/tells")).body == b"hush"
        assert b"hush" not in (await call("GET /system/secrets")).body


async def test_every_finished_call_is_told() -> None:
    told: list[FinishedCall] = []
    function = LocalFunction(name="echo", answer=lambda call: call.body + b"!")
    async with (
        LocalGateway(functions=[function], on_call=told.append) as gateway,
        Caller(gateway) as call,
    ):
        await call("POST /function/echo", b"abc")
        await call("POST /async-function/echo", b"")
        await gateway.queue_done()
        await call("POST /function/absent")
    assert [(str(one.function), one.status) for one in told] == [
        ("echo.openfaas-fn", 200),
        ("echo.openfaas-fn", 200),
        ("absent.openfaas-fn", 503),
    ]
    first = told[0]
    assert (first.method, first.topic) == ("POST", "")
    assert (first.received_bytes, first.sent_bytes) == (3, 4)
    assert 0 < first.duration < 10


async def test_logs_are_followed_until_the_client_goes() -> None:
    function = LocalFunction(name="talks", answer=lambda call: 1 / 0)
    async with LocalGateway(functions=[function]) as gateway, Caller(gateway) as call:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(
            b"GET /system/logs?name=talks&follow=1&tail=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert (await call("POST /function/talks")).status == 500
        text = b""
        while b"ZeroDivisionError" not in text:
            text += await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_functions_go_to_sleep_and_are_woken(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(
        "provider: {name: openfaas}\nfunctions:\n  copies: {fprocess: cat, image: i}\n"
    )
    stack = read_stack(tmp_path / "stack.yaml", {})
    async with (
        LocalGateway(
            stack=stack, scale_from_zero=True, scale_to_zero_after=0.05, start_delay=0.01
        ) as gateway,
        Caller(gateway) as call,
    ):
        for _ in range(2):
            assert (await call("POST /function/copies", b"hello")).body == b"hello"
            assert await asleep(call)
        gateway.scale("copies", 1)
        assert (await call("POST /function/copies", b"hello")).body == b"hello"
        body = b'{"serviceName":"copies","replicas":0}'
        assert (await call("POST /system/scale-function/copies", body)).status == 202
        assert await asleep(call)


async def asleep(call: Caller) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if "replicas" not in json.loads((await call("GET /system/function/copies")).body):
            return True
        await asyncio.sleep(0.005)
    return False


async def test_an_update_lets_calls_of_the_old_instance_end() -> None:
    begun, leave = asyncio.Event(), asyncio.Event()

    async def old(_call: Call) -> Answer:
        begun.set()
        await leave.wait()
        return Answer(200, (), b"old")

    async with (
        LocalGateway(functions=[LocalFunction(name="f", answer=old)]) as gateway,
        Caller(gateway) as call,
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(call("POST /function/f"))
        await begun.wait()
        gateway.add(LocalFunction(name="f", answer="new"))
        assert (await call("POST /function/f")).body == b"new"
        leave.set()
        assert (await first).body == b"old"


async def test_removing_and_scaling_from_the_test() -> None:
    async with (
        LocalGateway(functions=[LocalFunction(name="f", answer="yes")]) as gateway,
        Caller(gateway) as call,
    ):
        gateway.scale("f", 0)
        assert (await call("POST /function/f")).status == 503
        gateway.scale("f", 2)
        assert (await call("POST /function/f")).status == 200
        gateway.remove("f")
        assert (await call("POST /function/f")).status == 503
        assert gateway.functions == []


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("debug", [False, True])
def test_it_runs_on_every_loop(loop: str, debug: bool) -> None:
    async def main() -> None:
        function = LocalFunction(name="echo", answer=lambda call: call.body)
        async with LocalGateway(functions=[function]) as gateway, Caller(gateway) as call:
            assert (await call("POST /function/echo", b"abc")).body == b"abc"
            assert (await call("POST /async-function/echo", b"abc")).status == 202
            await gateway.queue_done()
            async with gateway.outage():
                pass
            assert (await call("POST /function/echo", b"x" * 1_000_000)).status == 200

    factory = uvloop.new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        runner.run(main())
