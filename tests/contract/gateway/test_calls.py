"""What a function sees and what its caller gets: sections 5.1 to 5.3."""

from __future__ import annotations

import asyncio
import gzip
import re
import time

import pytest

from faas_connector._version import __version__

from .functions import seen, seen_values
from .wire import (
    NANOSECONDS,
    PLAIN,
    SERVED_BY,
    UUID,
    Client,
    read_response,
    request,
)


class TestWhatTheFunctionSees:
    """Section 5.1."""

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def test_the_method_as_sent(self, call: Client, method: str) -> None:
        assert seen(await call(f"{method} /function/echo"))["method"] == method

    async def test_other_methods_are_405_with_the_gateways_fields(self, call: Client) -> None:
        response = await call("BREW /function/echo")
        assert (response.status, response.body) == (405, b"")
        assert response["X-Served-By"] == SERVED_BY

    async def test_head_has_no_body(self, call: Client) -> None:
        response = await call("HEAD /function/big")
        assert (response.status, response.body) == (200, b"")

    @pytest.mark.parametrize(
        ("sent", "path", "query"),
        [
            ("", "/", ""),
            ("/", "/", ""),
            ("/a/b?x=1", "/a/b", "x=1"),
            ("/a%2Fb", "/a/b", ""),
            ("/a%3Fd", "/a", "d"),
            ("/a%3Fd?x=1", "/a", "d?x=1"),
            ("/a%20b", "/a%20b", ""),
            ("/%C3%A9", "/%C3%A9", ""),
            ("/a;b?c;d", "/a;b", "c;d"),
            ("?b=2&a=1&a=%2F&c=x+y", "/", "b=2&a=1&a=%2F&c=x+y"),
        ],
    )
    async def test_the_path_is_decoded_once_and_parsed_again(
        self, call: Client, sent: str, path: str, query: str
    ) -> None:
        saw = seen(await call(f"POST /function/echo{sent}"))
        assert (saw["path"], saw["query"]) == (path, query)

    async def test_a_path_that_decodes_to_a_bad_escape_ends_the_connection(
        self, call: Client
    ) -> None:
        assert await call.closes("POST /function/echo/%25zz")

    @pytest.mark.parametrize("body", [b"", b"\x00\xff", b"x" * 300_000])
    async def test_the_body_as_sent(self, call: Client, body: bytes) -> None:
        response = await call("POST /function/echo", body=body)
        saw = seen(response)
        assert saw["body"].encode("latin-1") == body
        assert seen_values(response, "Content-Length") == (["0"] if not body else [])

    async def test_a_chunked_body_loses_its_trailer(self, call: Client) -> None:
        body = b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"
        response = await call.raw(
            request("POST /function/echo", "Transfer-Encoding: chunked", body=body, length=False)
        )
        assert response is not None
        assert seen(response)["body"] == "abc"
        assert seen_values(response, "X-Trailer") == []

    async def test_a_get_may_have_a_body(self, call: Client) -> None:
        assert seen(await call("GET /function/echo", body=b"abc"))["body"] == "abc"

    async def test_what_the_gateway_adds(self, call: Client) -> None:
        response = await call("POST /function/echo", "Host: localhost:1")
        [call_id] = seen_values(response, "X-Call-Id")
        assert UUID.fullmatch(call_id)
        assert response["X-Call-Id"] == call_id
        [start] = seen_values(response, "X-Start-Time")
        assert NANOSECONDS.fullmatch(start)
        assert abs(int(start) / 1e9 - time.time()) < 60
        assert seen_values(response, "X-Forwarded-Host") == ["localhost:1"]
        [peer] = seen_values(response, "X-Forwarded-For")
        assert re.fullmatch(r"127\.0\.0\.1:\d+", peer)
        assert seen_values(response, "User-Agent") == [f"openfaas-ce-gateway/{__version__}"]
        assert seen_values(response, "Accept-Encoding") == ["gzip"]

    @pytest.mark.parametrize("value", ["mine", "any text; at all", "00000000"])
    async def test_a_call_id_of_the_client_is_kept_and_not_given_back(
        self, call: Client, value: str
    ) -> None:
        response = await call("POST /function/echo", f"X-Call-Id: {value}")
        assert seen_values(response, "X-Call-Id") == [value]
        assert response["X-Call-Id"] is None

    async def test_what_the_client_sent_comes_first_or_stays(self, call: Client) -> None:
        response = await call(
            "POST /function/echo",
            "X-Start-Time: 5",
            "X-Forwarded-Host: h",
            "X-Forwarded-For: f",
            "User-Agent: ua",
            "Accept-Encoding: br",
            "Cookie: c",
            "X-Multi: 1",
            "X-Multi: 2",
            "Content-Encoding: own",
        )
        times = seen_values(response, "X-Start-Time")
        assert times[0] == "5"
        assert NANOSECONDS.fullmatch(times[1])
        for name, value in {
            "X-Forwarded-Host": ["h"],
            "X-Forwarded-For": ["f"],
            "User-Agent": ["ua"],
            "Accept-Encoding": ["br"],
            "Cookie": ["c"],
            "X-Multi": ["1", "2"],
            "Content-Encoding": ["own"],
        }.items():
            assert seen_values(response, name) == value

    @pytest.mark.parametrize(
        "name",
        [
            "Proxy-Connection",
            "Keep-Alive",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            "TE",
            "Trailer",
            "Upgrade",
        ],
    )
    async def test_hop_by_hop_fields_are_removed(self, call: Client, name: str) -> None:
        response = await call("POST /function/echo", f"{name}: x", "Connection: keep-alive")
        assert seen_values(response, name) == []
        assert seen_values(response, "Connection") == []
        assert "localhost" not in seen_values(response, "Host")

    async def test_an_expectation_is_answered_and_passed_on(self, call: Client) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", call.gateway.port)
        head = request(
            "POST /function/echo", "Expect: 100-continue", "Content-Length: 3", length=False
        )
        writer.write(head)
        first = await read_response(reader)
        assert first is not None
        assert first.status == 100
        writer.write(b"abc")
        response = await read_response(reader)
        assert response is not None
        assert seen(response)["body"] == "abc"
        assert seen_values(response, "Expect") == ["100-continue"]
        writer.close()
        await writer.wait_closed()

    async def test_event_streams_take_another_way(self, call: Client) -> None:
        response = await call("POST /function/echo", "Accept: text/event-stream", body=b"abc")
        address = r"127\.0\.0\.1"
        [peer] = seen_values(response, "X-Forwarded-For")
        assert re.fullmatch(address, peer)
        assert seen_values(response, "X-Forwarded-Host") == []
        assert seen_values(response, "User-Agent") == []
        assert seen_values(response, "Content-Length") == ["3"]


class TestWhatTheCallerGets:
    """Sections 5.2 and 5.3."""

    async def test_the_gateways_fields(self, call: Client) -> None:
        response = await call("POST /function/echo")
        assert response["X-Served-By"] == SERVED_BY
        assert NANOSECONDS.fullmatch(response["X-Start-Time"] or "")
        assert response["Content-Type"] == "application/json"
        assert response["Date"]
        assert response["X-Duration-Seconds"] is None

    async def test_a_function_that_sets_them_wins(self, call: Client) -> None:
        response = await call("POST /function/own")
        for name, value in {
            "X-Call-Id": "own",
            "X-Start-Time": "1",
            "X-Served-By": "me",
            "Date": "Thu, 01 Jan 1970 00:00:00 GMT",
            "Server": "mine",
            "Keep-Alive": "timeout=5",
            "Proxy-Authenticate": "Basic",
        }.items():
            assert response[name] == value
        assert response.all("Set-Cookie") == ["a=1", "b=2"]

    @pytest.mark.parametrize(
        ("sent", "given"),
        [("", "text/plain"), ("Content-Type: application/cloudevents", "application/cloudevents")],
    )
    async def test_the_content_type_is_the_requests_unless_the_function_has_one(
        self, call: Client, sent: str, given: str
    ) -> None:
        assert (await call("POST /function/big", sent))["Content-Type"] == given

    @pytest.mark.parametrize("code", [201, 202, 204, 301, 304, 404, 429, 500, 503, 599])
    async def test_the_functions_status_passes(self, call: Client, code: int) -> None:
        response = await call(f"POST /function/status/{code}")
        assert response.status == code
        assert response["X-Openfaas-Internal"] is None
        assert response["Location"] == ("/elsewhere" if code == 301 else None)
        assert response["Retry-After"] == ("7" if code == 429 else None)
        if code in {204, 304}:
            assert response["Content-Length"] is None

    async def test_gzip_is_undone_for_who_did_not_ask(self, call: Client) -> None:
        response = await call("POST /function/zipped")
        assert (response.body, response["Content-Encoding"]) == (b"plain", None)
        asked = await call("POST /function/zipped", "Accept-Encoding: identity")
        assert asked["Content-Encoding"] == "gzip"
        assert gzip.decompress(asked.body) == b"plain"

    async def test_small_answers_have_a_length_and_large_ones_chunks(self, call: Client) -> None:
        assert (await call("POST /function/echo"))["Content-Length"] is not None
        large = await call("POST /function/big")
        assert (large["Transfer-Encoding"], large.body) == ("chunked", b"x" * 5000)

    async def test_a_body_shorter_than_promised(self, call: Client) -> None:
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await call("POST /function/short")
        assert caught.value.partial == b"half"

    @pytest.mark.parametrize("name", ["absent", "absent.nowhere", "asleep"])
    async def test_no_endpoints(self, call: Client, name: str) -> None:
        response = await call(f"POST /function/{name}/path")
        assert response.status == 503
        assert response.body == f"No endpoints available for: {name}.\n".encode()
        assert response["X-Openfaas-Internal"] == "proxy"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Content-Type"] == PLAIN
        assert UUID.fullmatch(response["X-Call-Id"] or "")
        assert response["X-Served-By"] == SERVED_BY

    async def test_a_function_that_aborts(self, call: Client) -> None:
        response = await call("POST /function/aborts.openfaas-fn")
        assert response.status == 500
        assert response.body == b"Can't reach service for: aborts.openfaas-fn.\n"
        assert response["X-Openfaas-Internal"] == "proxy"

    async def test_a_function_that_takes_longer_than_the_upstream_timeout(
        self, call: Client
    ) -> None:
        response = await call("POST /function/hangs")
        assert (response.status, response.body) == (502, b"")
        assert UUID.fullmatch(response["X-Call-Id"] or "")

    async def test_event_streams_hide_both(self, call: Client) -> None:
        for name in ("aborts", "hangs"):
            response = await call(f"POST /function/{name}", "Accept: text/event-stream")
            assert (response.status, response.body) == (200, b"")

    async def test_bad_chunks_are_502_on_the_function_route_and_400_on_the_other(
        self, call: Client
    ) -> None:
        for route, code in (("function", 502), ("async-function", 400)):
            response = await call.raw(
                request(f"POST /{route}/echo", "Transfer-Encoding: chunked", length=False)
                + b"xyz\r\n"
            )
            assert response is not None
            assert response.status == code
            if code == 502:
                assert response.body == b""

    async def test_a_head_over_the_limit_is_431(self, call: Client) -> None:
        reply = await call("POST /function/echo", f"X-Large: {'x' * 100_000}")
        assert reply.status == 200
        too_large = await call.raw(request("POST /function/echo", f"X-Large: {'x' * 1_100_000}"))
        assert too_large is not None
        assert too_large.status == 431
        assert too_large.body.startswith(b"431 Request Header Fields Too Large")

    @pytest.mark.parametrize(
        "data",
        [
            b"GET /healthz HTTP/1.1\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: \x01\r\n\r\n",
            b"GET /healthz\r\n\r\n",
            b"nonsense\r\n\r\n",
            b"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01",
        ],
    )
    async def test_what_is_no_request_is_400_and_closed(self, call: Client, data: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", call.gateway.port)
        writer.write(data)
        response = await read_response(reader)
        assert response is not None
        assert response.status == 400
        assert response["Content-Type"] == PLAIN
        assert response.body.startswith(b"400 Bad Request")
        if data.startswith(b"GET /%zz"):  # a good request for a bad URL: the connection stays
            writer.write(request("GET /healthz", "Connection: close"))
            assert await read_response(reader) is not None
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
