"""Routes, authentication and names: sections 1 to 3."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode

import pytest

from .functions import seen, seen_values
from .wire import (
    PLAIN,
    Client,
    Response,
    assert_page_not_found,
    read_response,
    request,
)


class TestRoutes:
    """Section 1."""

    @pytest.mark.parametrize(
        "line",
        [
            "GET /nowhere",
            "GET /metrics",
            "GET /system/functions/",
            "GET /system",
            "GET /system/function/",
            "POST /oauth/token",
            "GET /ui",
            "POST /function/ec!ho",
            "POST /function/ec;ho",
            "POST /function/ec%20ho",
            "POST /function/",
            "POST /function",
            "POST /function/echo/a%0Ab",
            "POST /async-function/ec!ho",
            "GET /system/function/ec!ho",
        ],
    )
    async def test_what_is_no_route_is_the_404_page(self, call: Client, line: str) -> None:
        assert_page_not_found(await call(line))

    @pytest.mark.parametrize(
        "line",
        [
            "GET /async-function/echo",
            "PUT /async-function/echo/x",
            "DELETE /async-function/0f8fad5b-d9cb-469f-a165-70867728950e",
            "PATCH /system/functions",
            "OPTIONS /system/functions",
            "POST /system/function/echo",
            "GET /system/scale-function/echo",
            "POST /system/namespaces",
            "PATCH /system/namespace/x",
            "PATCH /system/secrets",
            "POST /system/logs",
            "POST /system/info",
            "GET /system/alert",
            "HEAD /healthz",
            "POST /healthz",
            "POST /",
        ],
    )
    async def test_a_wrong_method_is_405_with_nothing_in_it(self, call: Client, line: str) -> None:
        response = await call(line)
        assert (response.status, response.body, response["Allow"]) == (405, b"", None)

    async def test_the_root_leads_to_the_pages(self, call: Client) -> None:
        response = await call("GET /")
        assert (response.status, response["Location"]) == (307, "/ui/")
        assert (await call("GET /ui/")).status == 200

    @pytest.mark.parametrize("path", ["", "/", "/a", "/a/"])
    async def test_a_function_is_called_by_three_shapes_of_path(
        self, call: Client, path: str
    ) -> None:
        assert seen(await call(f"POST /function/echo{path}"))["path"] == (path or "/")
        assert (await call(f"POST /async-function/echo{path}")).status == 202

    @pytest.mark.parametrize(
        ("path", "place"),
        [
            ("//function/echo", "/function/echo"),
            ("/function//echo/", "/function/echo/"),
            ("/function/./echo?a=1&a=2", "/function/echo?a=1&a=2"),
            ("/x/../function/echo?", "/function/echo?"),
            ("/function/echo/a%2F%2Fb%20c", "/function/echo/a/b%20c"),
            ("//system/functions?namespace=x", "/system/functions?namespace=x"),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "BREW"])
    async def test_a_path_is_cleaned_by_301_for_every_method_without_auth(
        self, guarded: Client, method: str, path: str, place: str
    ) -> None:
        response = await guarded(f"{method} {path}")
        assert (response.status, response["Location"], response.body) == (301, place, b"")

    async def test_metrics_have_a_port_of_their_own(self, call: Client) -> None:
        port = int((call.gateway.metrics_url or "").rpartition(":")[2])

        async def ask(line: str) -> Response:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(line, "Connection: close"))
            response = await read_response(reader, line.partition(" ")[0])
            writer.close()
            await writer.wait_closed()
            assert response is not None
            return response

        healthy = await ask("GET /healthz")
        assert (healthy.status, healthy.body) == (200, b"OK")
        assert (await ask("POST /healthz")).status == 405
        assert_page_not_found(await ask("GET /system/functions"))
        await call("POST /function/echo")
        await call("POST /function/absent")
        text = (await ask("GET /metrics")).body.decode()
        for line in (
            'gateway_function_invocation_total{code="200",function_name="echo.openfaas-fn"} 1',
            'gateway_function_invocation_total{code="503",function_name="absent.openfaas-fn"} 1',
            'gateway_function_invocation_started{function_name="echo.openfaas-fn"} 1',
            'gateway_functions_seconds_count{code="200",function_name="echo.openfaas-fn"} 1',
            'gateway_service_count{function_name="a.b.c"} 1',
            'gateway_service_count{function_name="asleep.openfaas-fn"} 0',
        ):
            assert line in text.splitlines()
        assert re.search(r'gateway_functions_seconds_bucket\{.*,le="0.005"\} [01]\n', text), (
            "the buckets are those of the Prometheus client"
        )


def basic(user: str, password: str, scheme: str = "Basic") -> str:
    return f"Authorization: {scheme} {b64encode(f'{user}:{password}'.encode()).decode()}"


class TestAuthentication:
    """Section 2."""

    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            basic("Admin", "s3cret"),
            basic("admin", "wrong"),
            basic("admin", ""),
            "Authorization: Bearer s3cret",
            "Authorization: Bearer ",
            "Authorization: Basic !!!",
            "Authorization: Basic",
            "Authorization: Basic YWRtaW4",
        ],
    )
    async def test_whoever_is_not_known_gets_401(self, guarded: Client, authorization: str) -> None:
        response = await guarded("GET /system/functions", authorization)
        assert response.status == 401
        assert response["Www-Authenticate"] == 'Basic realm="Restricted"'
        assert response["Content-Type"] == PLAIN
        assert response.body == b"invalid credentials"

    @pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
    async def test_the_scheme_has_no_case(self, guarded: Client, scheme: str) -> None:
        header = basic("admin", "s3cret", scheme)
        assert (await guarded("GET /system/functions", header)).status == 200

    async def test_of_two_the_first_counts(self, guarded: Client) -> None:
        right, wrong = basic("admin", "s3cret"), basic("admin", "no")
        assert (await guarded("GET /system/functions", right, wrong)).status == 200
        assert (await guarded("GET /system/functions", wrong, right)).status == 401

    @pytest.mark.parametrize(
        "line",
        [
            "GET /system/functions",
            "POST /system/functions",
            "PUT /system/functions",
            "DELETE /system/functions",
            "GET /system/function/echo",
            "POST /system/scale-function/echo",
            "GET /system/namespaces",
            "GET /system/namespace/x",
            "POST /system/namespace/",
            "GET /system/secrets",
            "POST /system/secrets",
            "GET /system/logs?name=echo",
            "GET /system/info",
            "GET /system/telemetry",
            "POST /system/alert",
            "GET /ui/",
        ],
    )
    async def test_these_ask_for_credentials(self, guarded: Client, line: str) -> None:
        assert (await guarded(line)).status == 401

    async def test_these_do_not(self, guarded: Client) -> None:
        assert (await guarded("POST /function/echo")).status == 200
        assert (await guarded("POST /async-function/echo")).status == 202
        assert (await guarded("GET /healthz")).status == 200
        assert (await guarded("GET /")).status == 307

    @pytest.mark.parametrize("value", ["Bearer ", "Basic !!!", "nonsense"])
    async def test_without_basic_auth_any_authorization_is_ignored(
        self, call: Client, value: str
    ) -> None:
        response = await call("GET /system/functions", f"Authorization: {value}")
        assert response.status == 200

    async def test_a_function_is_given_the_authorization(self, guarded: Client) -> None:
        response = await guarded("POST /function/echo", "Authorization: Bearer mine")
        assert seen_values(response, "Authorization") == ["Bearer mine"]


class TestNames:
    """Section 3."""

    @pytest.mark.parametrize(
        ("name", "status", "body"),
        [
            ("echo.staging-fn", 200, b"staging"),
            ("a.b.c", 200, b"dotted"),
            ("a.b", 503, b"No endpoints available for: a.b.\n"),
            ("Echo", 503, b"No endpoints available for: Echo.\n"),
            ("echo.staging-fn.openfaas-fn", 503, None),
        ],
    )
    async def test_the_last_dot_splits_name_and_namespace(
        self, call: Client, name: str, status: int, body: bytes | None
    ) -> None:
        response = await call(f"POST /function/{name}")
        assert response.status == status
        assert body is None or response.body == body

    @pytest.mark.parametrize("name", ["echo", "echo.openfaas-fn"])
    async def test_the_default_namespace_may_be_named(self, call: Client, name: str) -> None:
        assert seen(await call(f"POST /function/{name}"))["method"] == "POST"

    async def test_describe_never_splits(self, call: Client) -> None:
        assert (await call("GET /system/function/echo.staging-fn")).status == 404
        response = await call("GET /system/function/echo?namespace=staging-fn&usage=1")
        assert seen(response)["namespace"] == "staging-fn"

    @pytest.mark.parametrize("where", ["query", "body"])
    async def test_scale_takes_the_namespace_from_query_or_body(
        self, call: Client, where: str
    ) -> None:
        query = "?namespace=staging-fn" if where == "query" else ""
        body = {"serviceName": "echo", "replicas": 3}
        if where == "body":
            body["namespace"] = "staging-fn"
        line = f"POST /system/scale-function/echo{query}"
        assert (await call(line, body=json.dumps(body))).status == 202
        scaled = await call("GET /system/function/echo?namespace=staging-fn")
        assert seen(scaled)["replicas"] == 3
        assert seen(await call("GET /system/function/echo"))["replicas"] == 1
