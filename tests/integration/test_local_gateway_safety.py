"""Who may do what: the checks that keep web pages and other machines out."""

from __future__ import annotations

import json
import logging

import pytest

from faas_connector.errors import ConfigError
from faas_connector.gateway.http1 import RawResponse
from faas_connector.gateway.transport import Origin, Transport, request_head
from faas_connector.testing import LocalFunction, LocalGateway, ServerLimits


async def send(
    gateway: LocalGateway, line: str, *fields: tuple[str, str], body: bytes = b""
) -> RawResponse:
    origin = Origin.parse(gateway.url)
    method, target = line.split(" ")
    hosts = () if any(name == "Host" for name, _ in fields) else (("Host", origin.host_header),)
    framing = (("Content-Length", str(len(body))),)
    async with Transport(origin) as transport:
        return await transport.request(
            request_head(method, target, (*hosts, *fields, *framing)), body
        )


PRINTER = LocalFunction(name="printer", answer="ok")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_beyond_loopback_basic_auth_is_required(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LocalGateway(host)
    assert str(caught.value) == (
        f"host {host!r} is reached from other machines and needs basic auth; add "
        "--basic-auth-user and --basic-auth-password-file, or listen on 127.0.0.1"
    )


async def test_an_address_of_no_interface_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"can't listen on 192\.0\.2\.1:"):
        async with LocalGateway("192.0.2.1", basic_auth=("a", "b")):
            pass


@pytest.mark.parametrize(
    "line",
    ["GET /system/functions", "POST /function/printer", "GET /healthz", "GET /", "GET //x"],
)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "192.0.2.1", "[::2]", "["])
async def test_a_foreign_host_is_refused_on_every_route(line: str, host: str) -> None:
    async with LocalGateway(functions=[PRINTER]) as gateway:
        answer = await send(gateway, line, ("Host", host))
        assert answer.status == 403
        assert answer.body.decode() == (
            f"{host!r} is not the host of this gateway; use {gateway.url}, "
            "or start it with --allow-host\n"
        )
        assert gateway.received == []


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "127.1.2.3", "[::1]:80", "a.localhost", ""]
)
async def test_every_name_of_this_machine_is_taken(host: str) -> None:
    async with LocalGateway() as gateway:
        assert (await send(gateway, "GET /healthz", ("Host", host))).status == 200


async def test_a_name_may_be_allowed() -> None:
    async with LocalGateway(allowed_hosts=["gateway.test"]) as gateway:
        assert (await send(gateway, "GET /healthz", ("Host", "gateway.test:8080"))).status == 200


async def test_the_host_of_an_absolute_target_counts() -> None:
    async with LocalGateway() as gateway:
        good = await send(gateway, f"GET {gateway.url}/healthz", ("Host", "evil.example"))
        assert good.status == 200
        assert (await send(gateway, "GET http://evil.example/healthz")).status == 403


async def test_a_gateway_for_others_takes_addresses_but_no_foreign_names() -> None:
    async with LocalGateway("0.0.0.0", basic_auth=("a", "b")) as gateway:
        assert (await send(gateway, "GET /healthz", ("Host", "192.0.2.7:80"))).status == 200
        assert (await send(gateway, "GET /healthz", ("Host", "evil.example"))).status == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://localhost",
        "http://localhost:1",
        "file://",
        "http://[",
    ],
)
async def test_pages_of_others_may_only_get(origin: str) -> None:
    async with LocalGateway(functions=[PRINTER]) as gateway:
        for line in (
            "POST /function/printer",
            "OPTIONS /function/printer",
            "POST /async-function/printer",
            "DELETE /system/functions",
            "PUT /system/functions",
            "HEAD /function/printer",
            "POST /system/alert",
        ):
            answer = await send(gateway, line, ("Origin", origin))
            assert answer.status == 403, line
            assert line.startswith("HEAD") or b"--allow-origin" in answer.body
        assert (await send(gateway, "GET /system/functions", ("Origin", origin))).status == 200
        assert gateway.received == []


async def test_its_own_pages_and_allowed_ones_may_do_more() -> None:
    async with LocalGateway(
        functions=[PRINTER], allowed_origins=["http://app.test:3000"]
    ) as gateway:
        for origin in (gateway.url, f"http://localhost:{gateway.port}", "http://app.test:3000"):
            assert (await send(gateway, "POST /function/printer", ("Origin", origin))).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_deploying_is_refused_unless_it_is_allowed(method: str) -> None:
    async with LocalGateway(functions=[PRINTER], namespaces=["dev"]) as gateway:
        body = b'{"service":"x","image":"i","envProcess":"id","functionName":"printer"}'
        answer = await send(gateway, f"{method} /system/functions", body=body)
        assert answer.status == 403
        assert b"--allow-deploy" in answer.body
        assert [str(function) for function in gateway.functions] == ["printer.openfaas-fn"]
        gone = await send(gateway, "DELETE /system/namespace/dev", body=b'{"name":"dev"}')
        assert gone.status == 403


async def test_secrets_and_passwords_show_up_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hush-hush"
    async with LocalGateway(
        functions=[PRINTER], basic_auth=("admin", secret), metrics_port=0
    ) as gateway:
        login = ("Authorization", "Basic YWRtaW46aHVzaC1odXNo")
        body = json.dumps({"name": "key", "value": secret}).encode()
        shown = [await send(gateway, "POST /system/secrets", login, body=body)]
        shown += [await send(gateway, "POST /system/secrets", login, body=body[:-1])]
        for path in ("functions", "secrets", "function/printer", "info", "namespaces", "telemetry"):
            shown.append(await send(gateway, f"GET /system/{path}", login))
        assert all(secret.encode() not in answer.body for answer in shown)
        assert secret not in repr(gateway)
        assert secret not in repr(vars(gateway))
    assert secret not in caplog.text


async def test_a_body_over_the_limit_is_413_and_the_gateway_lives_on() -> None:
    limits = ServerLimits(max_body_bytes=1000)
    async with LocalGateway(functions=[PRINTER], limits=limits) as gateway:
        answer = await send(gateway, "POST /function/printer", body=b"x" * 100_000)
        assert answer.status == 413
        assert (await send(gateway, "POST /function/printer", body=b"x" * 1000)).status == 200
