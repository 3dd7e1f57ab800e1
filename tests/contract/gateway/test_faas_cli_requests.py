"""What faas-cli 0.18.12 sends (section 8), for machines without it: each request and its answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from faas_connector.testing import LocalFunction, LocalGateway

from .wire import Client

AGENT = "User-Agent: faas-cli/0.18.12"
SDK = "User-Agent: openfaas-go-sdk"
GO = "User-Agent: Go-http-client/1.1"
AUTH = "Authorization: Basic YWRtaW46cHc="
NO_LOGIN = "Authorization: Bearer "
GZIP = "Accept-Encoding: gzip"
JSON = "Content-Type: application/json"
DEPLOYMENT = {
    "service": "figlet",
    "image": "example/figlet:1",
    "envProcess": "figlet",
    "labels": {},
    "annotations": {},
}


@pytest.fixture
async def call() -> AsyncIterator[Client]:
    async with LocalGateway(
        functions=[LocalFunction(name="F", answer=lambda call: call.body)],
        basic_auth=("admin", "pw"),
        namespaces=["NS"],
        allow_deploy=True,
    ) as gateway:
        yield Client(gateway)


@pytest.mark.parametrize(
    ("line", "agent", "status"),
    [
        ("GET /system/functions", AGENT, 200),
        ("GET /system/functions?namespace=NS", AGENT, 200),
        ("GET /system/function/F?usage=1", AGENT, 200),
        ("GET /system/function/F?namespace=NS&usage=1", AGENT, 404),
        ("GET /system/namespaces", SDK, 200),
        ("GET /system/namespace/none", SDK, 404),
        ("GET /system/functions", GO, 200),
        ("GET /healthz", GO, 200),
        ("GET /system/info", AGENT, 200),
        ("GET /system/secrets", AGENT, 200),
        ("GET /system/logs?follow=false&name=F&tail=-1", AGENT, 200),
        ("GET /system/logs?follow=false&name=F&since=2026-01-02T03%3A04%3A05Z&tail=5", AGENT, 200),
    ],
)
async def test_what_it_asks(call: Client, line: str, agent: str, status: int) -> None:
    assert (await call(line, agent, AUTH, GZIP)).status == status


async def test_without_a_login_it_sends_an_empty_bearer_token(call: Client) -> None:
    assert (await call("GET /system/functions", AGENT, NO_LOGIN, GZIP)).status == 401
    async with LocalGateway() as other:
        answer = await Client(other)("GET /system/functions", AGENT, NO_LOGIN, GZIP)
        assert answer.status == 200


async def test_it_puts_first_and_posts_after_a_404(call: Client) -> None:
    body = json.dumps(DEPLOYMENT)
    for method, status in (("PUT", 404), ("POST", 202), ("PUT", 202)):
        answer = await call(f"{method} /system/functions", AGENT, AUTH, JSON, GZIP, body=body)
        assert answer.status == status
    gone = '{"functionName":"figlet"}'
    for status in (202, 404):
        answer = await call("DELETE /system/functions", AGENT, AUTH, JSON, body=gone)
        assert answer.status == status


async def test_it_invokes_with_the_namespace_and_without_credentials(call: Client) -> None:
    agent = "User-Agent: faas-cli/0.18.12 (openfaas; linux; amd64)"
    plain = "Content-Type: text/plain"
    answer = await call("POST /function/F.openfaas-fn", agent, plain, GZIP, body="hello")
    assert (answer.status, answer.body, answer["Content-Type"]) == (200, b"hello", "text/plain")
    queued = await call("POST /async-function/F.openfaas-fn", agent, plain, GZIP, body="hello")
    assert queued.status == 202
    await call.gateway.queue_done()
    assert [received.body for received in call.gateway.received] == [b"hello", b"hello"]
    dotted = await call("POST /function/F.NS.openfaas-fn", agent, plain)
    assert dotted.status == 503


async def test_namespaces_and_secrets(call: Client) -> None:
    space = '{"name":"n","labels":{"openfaas":"1"},"annotations":{"openfaas":"1"}}'
    for line, body, status in (
        ("POST /system/namespace/", space, 201),
        ("PUT /system/namespace/n", space, 202),
        ("DELETE /system/namespace/n", '{"name":"n"}', 202),
        ("POST /system/secrets", '{"name":"s","value":"v"}', 202),
        ("PUT /system/secrets", '{"name":"s","value":"w"}', 202),
        ("DELETE /system/secrets", '{"name":"s"}', 202),
    ):
        assert (await call(line, SDK, AUTH, JSON, GZIP, body=body)).status == status
