"""Connections, timeouts and waking: sections 5.4 and 7."""

from __future__ import annotations

import asyncio
import json

from faas_connector.local.function import Call
from faas_connector.serving.connection import ServerLimits
from faas_connector.testing import LocalFunction, LocalGateway

from .functions import FUNCTIONS, seen
from .wire import (
    Client,
    read_response,
    request,
)


class TestConnections:
    """Section 5.4, and the timeouts of 5.3."""

    async def test_keep_alive_and_pipelining(self, call: Client) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", call.gateway.port)
        sent = [f"POST /function/{name}" for name in ("echo", "absent", "big", "echo.staging-fn")]
        writer.write(b"".join(request(line) for line in sent))
        statuses = []
        for _ in sent:
            response = await read_response(reader)
            assert response is not None
            statuses.append(response.status)
        assert statuses == [200, 503, 200, 200]
        writer.close()
        await writer.wait_closed()

    async def test_http_1_0(self, call: Client) -> None:
        response = await call.raw(b"POST /function/big HTTP/1.0\r\n\r\n")
        assert response is not None
        assert (response.status, len(response.body)) == (200, 5000)
        assert response["Transfer-Encoding"] is None

    async def test_idle_connections_and_slow_bodies_are_cut_without_a_byte(self) -> None:
        limits = ServerLimits(read_timeout=0.05)
        async with LocalGateway(functions=FUNCTIONS, limits=limits) as gateway:
            for data in (
                b"",
                b"POST /function/ec",
                b"POST /function/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc",
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                writer.write(data)
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()

    async def test_an_answer_after_the_write_timeout_is_a_closed_connection(self) -> None:
        async def slow(_call: Call) -> str:
            await asyncio.sleep(0.06)
            return "late"

        limits = ServerLimits(write_timeout=0.05)
        function = LocalFunction(name="slow", answer=slow)
        async with LocalGateway(functions=[function], limits=limits) as gateway:
            assert await Client(gateway).closes("POST /function/slow")
            assert len(gateway.received) == 1

    async def test_a_client_that_hangs_up_ends_the_call_and_counts_as_502(self) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def waits(_call: Call) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        function = LocalFunction(name="waits", answer=waits)
        async with LocalGateway(functions=[function], metrics_port=0) as gateway:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(request("POST /function/waits"))
            await begun.wait()
            writer.close()
            await asyncio.wait_for(ended.wait(), 5)
            await writer.wait_closed()
            listed = json.loads((await Client(gateway)("GET /system/functions")).body)
            assert listed[0]["invocationCount"] == 1


class TestScaleFromZero:
    """Section 7."""

    async def test_what_is_absent_is_404_without_the_gateways_fields(self) -> None:
        async with LocalGateway(scale_from_zero=True, metrics_port=0) as gateway:
            response = await Client(gateway)("POST /function/nope")
            assert response.status == 404
            assert response.body == (
                b"error finding function nope.openfaas-fn: server returned non-200 status code "
                b"(404) for function, nope, body: "
            )
            assert response["X-Call-Id"] is None
            assert response["X-Served-By"] is None

    async def test_a_function_without_replicas_is_woken_once_for_all(self) -> None:
        async with LocalGateway(
            functions=FUNCTIONS, scale_from_zero=True, start_delay=0.02
        ) as gateway:
            client = Client(gateway)
            answers = await asyncio.gather(*(client("POST /function/asleep") for _ in range(20)))
            assert {(answer.status, answer.body) for answer in answers} == {(200, b"awake")}
            assert seen(await client("GET /system/function/asleep"))["availableReplicas"] == 1
