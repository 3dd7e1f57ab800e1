"""The asynchronous route, its queue and its callbacks: section 6."""

from __future__ import annotations

import asyncio
import re

import pytest

from faas_connector.local.function import Answer, Call
from faas_connector.testing import LocalFunction, LocalGateway

from .functions import FUNCTIONS
from .wire import (
    NANOSECONDS,
    PAGE,
    SERVED_BY,
    UUID,
    Client,
    assert_page_not_found,
)


class TestAsync:
    """Section 6."""

    async def test_202_says_little_and_checks_nothing(self, call: Client) -> None:
        for name in ("echo", "absent", "echo.nowhere"):
            response = await call(f"POST /async-function/{name}/a?b=c")
            assert (response.status, response.body) == (202, b"")
            assert UUID.fullmatch(response["X-Call-Id"] or "")
            assert NANOSECONDS.fullmatch(response["X-Start-Time"] or "")
            assert response["X-Served-By"] == SERVED_BY
        own = await call("POST /async-function/echo", "X-Call-Id: mine")
        assert own["X-Call-Id"] is None
        await call.gateway.queue_done()

    async def test_without_a_queue_it_is_the_404_page_for_every_method(self) -> None:
        async with LocalGateway(functions=FUNCTIONS, async_queue=False) as gateway:
            for method in ("GET", "POST", "DELETE"):
                assert_page_not_found(await Client(gateway)(f"{method} /async-function/echo"))

    @pytest.mark.parametrize(
        ("url", "text"),
        [
            ("http://[::1", b"parse \"http://[::1\": missing ']' in host"),
            ("http://a b/", b'parse "http://a b/": invalid character " " in host name'),
            ("http://x:y/", b'parse "http://x:y/": invalid port ":y" after host'),
            ("://x", b'parse "://x": missing protocol scheme'),
            ("/%zz", b'parse "/%zz": invalid URL escape "%zz"'),
        ],
    )
    async def test_a_callback_that_is_no_url(self, call: Client, url: str, text: bytes) -> None:
        response = await call("POST /async-function/echo", f"X-Callback-Url: {url}")
        assert (response.status, response.body) == (400, text)

    @pytest.mark.parametrize("url", ["", "/relative", "http://127.0.0.1:1/x", "mailto:a"])
    async def test_a_callback_that_can_not_work_is_accepted(self, call: Client, url: str) -> None:
        response = await call("POST /async-function/echo", f"X-Callback-Url: {url}")
        assert response.status == 202
        await call.gateway.queue_done()
        assert len(call.gateway.received) == 1

    async def test_the_limit_of_a_body(self, call: Client) -> None:
        assert (await call("POST /async-function/echo", body=b"x" * 256_000)).status == 202
        response = await call("POST /async-function/echo", body=b"x" * 256_001)
        assert (response.status, response.body) == (
            500,
            (
                b"Error queuing request: request body too large for OpenFaaS CE (256001 bytes), "
                b"maximum: 256000 bytes\n"
            ),
        )
        await call.gateway.queue_done()

    async def test_the_limit_of_a_message(self, call: Client) -> None:
        response = await call(
            "POST /async-function/echo", f"X-Large: {'x' * 800_000}", body=b"x" * 200_000
        )
        assert (response.status, response.body) == (
            500,
            b"Error queuing request: nats: maximum payload exceeded\n",
        )

    async def test_what_the_function_sees(self, call: Client) -> None:
        response = await call(
            "POST /async-function/echo/a%20b?x=1",
            "User-Agent: mine",
            "Authorization: Bearer own",
            "X-Callback-Url: http://127.0.0.1:1/",
            body=b"abc",
        )
        await call.gateway.queue_done()
        [received] = call.gateway.received
        assert (received.call.method, received.call.path) == ("POST", "/a%20b")
        assert (received.call.query, received.body) == ("x=1", b"abc")
        assert received.call_id == response["X-Call-Id"]
        assert received.header("User-Agent") == "openfaas-ce/nats-queue-worker"
        assert received.header("Authorization") == "Bearer own"
        assert received.header("X-Callback-Url") == "http://127.0.0.1:1/"
        assert received.header("X-Forwarded-Host") == f"127.0.0.1:{call.gateway.port}"
        starts = [v for n, v in received.call.headers if n == "X-Start-Time"]
        assert len(starts) == 2
        assert int(starts[0]) < int(starts[1])

    async def test_a_path_that_can_not_be_parsed_is_dropped_without_a_callback(
        self, call: Client
    ) -> None:
        back = f"X-Callback-Url: {call.gateway.url}/function/echo"
        assert (await call("POST /async-function/echo/%25zz", back)).status == 202
        await call.gateway.queue_done()
        assert call.gateway.received == []

    @pytest.mark.parametrize(
        ("name", "code", "body", "internal"),
        [
            ("status/418", "418", b"text", None),
            ("absent", "503", b"No endpoints available for: absent.\n", "proxy"),
            ("aborts", "500", b"Can't reach service for: aborts.\n", "proxy"),
            ("hangs", "502", b"", None),
            ("zipped", "200", b"plain", None),
            ("status/301", "404", PAGE, None),
        ],
    )
    async def test_callbacks(
        self, call: Client, name: str, code: str, body: bytes, internal: str | None
    ) -> None:
        back = f"X-Callback-Url: {call.gateway.url}/function/echo.staging-fn/done?q=1"
        queued = await call(f"POST /async-function/{name}", back, body=b"in")
        await call.gateway.queue_done()
        [received] = call.gateway.received_by("echo.staging-fn")
        assert (received.call.method, received.call.path) == ("POST", "/done")
        assert received.call.query == "q=1"
        assert received.body == body
        assert received.call_id == queued["X-Call-Id"]
        assert received.header("X-Function-Status") == code
        assert received.header("X-Function-Name") == name.partition("/")[0]
        assert re.fullmatch(r"\d+\.\d{6}", received.header("X-Duration-Seconds") or "")
        assert received.header("X-Openfaas-Internal") == internal
        assert received.header("User-Agent") == "Go-http-client/1.1"
        assert received.header("X-Callback-Url") is None
        if name != "status/301":
            assert received.header("X-Served-By") == SERVED_BY

    async def test_the_name_in_a_callback_is_as_in_the_url(self, call: Client) -> None:
        back = f"X-Callback-Url: {call.gateway.url}/function/echo"
        await call("POST /async-function/a.b.c", back)
        await call.gateway.queue_done()
        [received] = call.gateway.received_by("echo")
        assert received.header("X-Function-Name") == "a.b.c"

    async def test_a_callback_may_be_another_asynchronous_call(self, call: Client) -> None:
        back = f"X-Callback-Url: {call.gateway.url}/async-function/echo"
        queued = await call("POST /async-function/status/201", back)
        await call.gateway.queue_done()
        [received] = call.gateway.received_by("echo")
        assert received.call_id == queued["X-Call-Id"]
        assert received.header("X-Function-Status") == "201"
        assert received.header("X-Callback-Url") is None

    async def test_a_callback_is_tried_once_and_its_redirect_followed_as_get(
        self, call: Client
    ) -> None:
        gateway = call.gateway
        gateway.add(
            LocalFunction(
                name="moved",
                answer=Answer(302, (("Location", f"{gateway.url}/function/echo"),)),
            )
        )
        await call(
            "POST /async-function/status/200", f"X-Callback-Url: {gateway.url}/function/moved"
        )
        await gateway.queue_done()
        [received] = gateway.received_by("echo")
        assert (received.call.method, received.body) == ("GET", b"")
        assert received.header("X-Function-Status") == "200"
        await call(
            "POST /async-function/status/200", f"X-Callback-Url: {gateway.url}/function/status/500"
        )
        await gateway.queue_done()
        assert len(gateway.received_by("status")) == 3

    async def test_no_status_is_tried_again(self, call: Client) -> None:
        await call("POST /async-function/status/503")
        await call.gateway.queue_done()
        assert len(call.gateway.received) == 1

    async def test_one_at_a_time_and_in_order(self) -> None:
        running, most, order = 0, 0, []

        async def slow(call: Call) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            order.append(call.body)
            await asyncio.sleep(0)
            running -= 1

        async with LocalGateway(functions=[LocalFunction(name="slow", answer=slow)]) as gateway:
            for number in range(5):
                await Client(gateway)("POST /async-function/slow", body=str(number))
            await gateway.queue_done()
        assert (most, order) == (1, [b"0", b"1", b"2", b"3", b"4"])

    async def test_a_call_longer_than_ack_wait_is_made_again(self) -> None:
        enough = asyncio.Event()
        ids = []

        async def waits(call: Call) -> None:
            ids.append(dict(call.headers)["X-Call-Id"])
            if len(ids) >= 3:
                enough.set()
            await enough.wait()

        async with LocalGateway(
            functions=[LocalFunction(name="waits", answer=waits)], ack_wait=0.01, workers=3
        ) as gateway:
            await Client(gateway)("POST /async-function/waits", "X-Call-Id: same")
            await asyncio.wait_for(enough.wait(), 5)
            await gateway.queue_done()
        assert set(ids) == {"same"}

    async def test_a_gateway_that_is_gone_is_one_callback_with_503(self) -> None:
        async with LocalGateway(functions=FUNCTIONS) as other, LocalGateway() as gateway:
            entered, leave = asyncio.Event(), asyncio.Event()

            async def waits(_call: Call) -> None:
                entered.set()
                await leave.wait()

            gateway.add(LocalFunction(name="waits", answer=waits))
            client = Client(gateway)
            await client("POST /async-function/waits")
            back = f"X-Callback-Url: {other.url}/function/echo"
            await client("POST /async-function/anything", back)
            await entered.wait()
            async with gateway.outage():
                [received] = await other.wait_received(1)
            assert received.header("X-Function-Status") == "503"
            assert received.header("X-Served-By") is None
            assert received.body == b""
