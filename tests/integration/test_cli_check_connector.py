"""`faas-connector check -f`: for each broken set-up it names the cause."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trustme

from faas_connector.cli.app import run
from faas_connector.cli.connection import GatewayFlags
from faas_connector.cli.connector import connector_of
from faas_connector.cli.connector_findings import connector_findings
from faas_connector.settings.file import read_file
from faas_connector.settings.loading import Given, LoadedSource
from faas_connector.settings.sources import ScopeSettings
from faas_connector.source import Guarantee, SourceTraits
from faas_connector.stores.sqlite import SqliteStore
from faas_connector.testing import LocalFunction, LocalGateway, MemorySource

pytest_plugins = ["faas_connector.testing.plugin"]


def function(name="printer", topic="orders.new", **annotations) -> LocalFunction:
    return LocalFunction(name=name, annotations={"topic": topic, **annotations}, answer="ok")


@pytest.fixture
async def gateway(local_gateway):
    local_gateway.add(function())
    return local_gateway


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Check a file; gives the lines that are not ok, or all."""
    monkeypatch.setenv("HOME", str(tmp_path))

    async def check(
        url: str,
        text: str = "sources: [{timer: {topic: orders.new}}]",
        *,
        head: str = "",
        change=lambda plan: plan,
    ) -> list[str]:
        path = tmp_path / "connector.yaml"
        state = "" if "state:" in text else f"state: {{folder: '{tmp_path / 'state'}', wait: 0s}}\n"
        path.write_text(f'version: 1\ngateway: {{url: "{url}", {head}}}\n{state}{text}\n')
        plan = connector_of(GatewayFlags(), Given(file=read_file(path, {}), environ={}))
        found = [str(finding) async for finding in connector_findings(change(plan))]
        return [line for line in found if not line.startswith("ok ")]

    return check


def with_source(source, **scope):
    def change(plan):
        made = LoadedSource("memory", source, ScopeSettings(**scope), "connector.yaml:4")
        loaded = msgspec.structs.replace(plan.loaded, sources=(made,))
        return replace(plan, loaded=loaded)

    return change


class Listed(MemorySource):
    """One that knows its topics."""

    topics = ("orders.new",)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def test_a_set_up_that_works(check, gateway):
    assert await check(gateway.url) == []
    assert not gateway.received


async def test_the_gateway_is_down(check):
    lines = await check(f"http://127.0.0.1:{free_port()}")
    assert lines[0].startswith("failed  gateway")
    assert "ConnectionRefusedError" in lines[1] or "refused" in lines[1]


async def test_something_else_answers_in_the_gateways_place(check):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        lines = await check(url)
    assert lines[0].startswith("failed  gateway")
    assert "JSON" in lines[1] or "OpenFaaS" in lines[1]


@pytest.mark.parametrize(
    ("head", "cause"), [("", "none given"), ("password: wrong", "connector.yaml:2")]
)
async def test_the_credentials_are_missing_or_wrong(check, head, cause):
    async with LocalGateway(basic_auth=("admin", "s3cret")) as gateway:
        gateway.add(function())
        lines = await check(gateway.url, head=head)
        assert lines[0].startswith(f"failed  credentials  {cause}") or cause in lines[0]
        assert "401" in lines[1]
        assert await check(gateway.url, head="password: s3cret") == []


async def test_the_credentials_have_no_right_to_list_functions(check, gateway):
    gateway.inject("system/functions:status=403")
    lines = await check(gateway.url)
    assert any("403" in line for line in lines)


async def test_a_namespace_that_is_not_there(check, gateway):
    lines = await check(
        gateway.url, "namespaces: [stagin]\nsources: [{timer: {topic: orders.new}}]"
    )
    assert any("none is like 'stagin'; there are: openfaas-fn" in line for line in lines), lines


async def test_a_certificate_that_nobody_vouches_for(check, tmp_path):
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.configure_cert(context)
    listening = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        lines = await check(f"https://127.0.0.1:{port}")
    assert any("certificate" in line.lower() for line in lines), lines


async def test_nobody_listens_to_a_topic(check, gateway):
    lines = await check(gateway.url, "sources: [{timer: {topic: order.new}}]")
    assert len(lines) == 1
    assert "topic        timer: no function at" in lines[0]
    assert "asks for 'order.new'; did you mean 'orders.new'?" in lines[0]


async def test_nobody_in_the_sources_namespaces_listens(check, gateway):
    lines = await check(
        gateway.url, "sources: [{namespaces: [team-a], timer: {topic: orders.new}}]"
    )
    assert any("none is like 'team-a'" in line for line in lines)
    [line] = [line for line in lines if line.startswith("failed  topic")]
    assert "printer.openfaas-fn asks for 'orders.new'" in line
    assert "the source's namespaces are team-a" in line


async def test_an_annotation_is_wrong(check, gateway):
    gateway.add(function("mail", **{"faas-connector.modes": "sync"}))
    lines = await check(gateway.url)
    assert len(lines) == 1
    assert lines[0].startswith("failed  annotation")


async def test_a_sources_address_is_taken(check, gateway):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        lines = await check(
            gateway.url, f"sources: [{{webhook: {{listen: '{address}', topics: [orders.new]}}}}]"
        )
    assert len(lines) == 1
    assert lines[0].startswith(f"failed  source       webhook: can't listen on {address}: ")


async def test_two_sources_on_one_address(check, gateway):
    port = free_port()
    body = f"{{listen: '127.0.0.1:{port}', topics: [orders.new]}}"
    text = f"sources:\n- webhook: {body}\n- name: second\n  webhook: {body}\n"
    lines = await check(gateway.url, text)
    assert len(lines) == 1
    assert lines[0].startswith("failed  source       second: ")


async def test_the_admin_address_is_taken(check, gateway):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        lines = await check(
            gateway.url, f"admin: '{address}'\nsources: [{{timer: {{topic: orders.new}}}}]"
        )
    assert len(lines) == 1
    assert f"can't listen on {address}" in lines[0]


async def test_two_replicas_on_one_folder(check, gateway, tmp_path):
    async with SqliteStore(tmp_path / "state"):
        lines = await check(gateway.url)
    assert len(lines) == 1
    assert re.search(r"is used by another run \(pid \d+\): stop that one, or name", lines[0])
    assert "each replica needs a folder of its own" in lines[0]


async def test_a_folder_that_cannot_be_used(check, gateway, tmp_path):
    (tmp_path / "state").write_text("a file")
    lines = await check(gateway.url)
    assert len(lines) == 1
    assert lines[0].startswith("failed  state")
    assert "is a file; name another" in lines[0]


async def test_at_least_once_without_a_store(check, gateway):
    lines = await check(
        gateway.url,
        "state: {folder: none}\nsources: [{timer: {topic: orders.new}}]",
        change=with_source(Listed()),
    )
    assert len(lines) == 1
    assert lines[0].startswith("failed  policies")
    assert "no store to keep in what fails for good; name a folder with state.folder" in lines[0]
    assert "$FAAS_CONNECTOR_ON_FAILURE) be drop or stop" in lines[0]


async def test_a_brokers_deadline_below_the_time_of_a_call(check, gateway):
    source = Listed(traits=SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, deadline=30.0))
    lines = await check(gateway.url, change=with_source(source))
    assert len(lines) == 1
    assert (
        "delivers an event again after 30 s, and a call of printer.openfaas-fn may take 60 s"
        in (lines[0])
    )


async def test_order_over_replicas(check, gateway):
    gateway.add(function(**{"faas-connector.order": "key"}))
    source = Listed(traits=SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE, replicas_share=True))
    lines = await check(gateway.url, change=with_source(source))
    assert len(lines) == 1
    assert lines[0].startswith("doubt   order")


@pytest.mark.parametrize(
    ("source", "like"),
    [
        ("webhook: {listen: '127.0.0.1:0', topic_prefix: order.}", "order.*"),
        ("webhook: {listen: '127.0.0.1:0', paths: {/hook: order.new}}", "order.new"),
        ("cloudevents: {listen: '127.0.0.1:0', topic_prefix: com.example.}", "com.example.*"),
    ],
)
async def test_nobody_listens_to_what_a_pattern_lets_through(check, gateway, source, like):
    lines = await check(gateway.url, f"sources: [{{{source}}}]")
    assert len(lines) == 1
    assert f"asks for a topic like {like!r}; asked for are: orders.new" in lines[0]
    gateway.add(function("second", like.replace("*", "new")))
    assert await check(gateway.url, f"sources: [{{{source}}}]") == []


async def test_nobody_has_a_schedule(check, gateway):
    lines = await check(gateway.url, "sources: [{cron: }]")
    assert len(lines) == 1
    assert "cron: nothing is to fire" in lines[0]


async def test_schedules_that_never_fire(check, gateway):
    gateway.add(function("never", "cron-function"))
    gateway.add(function("wrong", "cron-function", schedule="61 * * * *"))
    gateway.add(function("right", "cron-function", schedule="5 * * * *"))
    lines = await check(gateway.url, "sources: [{cron: }]")
    assert len(lines) == 2
    assert "wrong.openfaas-fn: annotation schedule: must be cron expressions" in lines[0]
    assert "got '61 * * * *'" in lines[0]
    assert "never.openfaas-fn has the topic cron-function and no schedule" in lines[1]


def test_every_mistake_of_the_file_is_a_line(tmp_path: Path, capsys):
    path = tmp_path / "connector.yaml"
    path.write_text("version: 1\nlimit: {}\nsources: [{timer: {topics: x}}, {tmer: {}}]\n")
    assert run(["check", "-f", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("failed  settings") == 3
    assert "did you mean 'limits'?" in captured.out
    assert "did you mean 'topic'?" in captured.out
    assert "3 checks failed" in captured.err
