"""The controller against a gateway: entering, the map, calling, leaving."""

import asyncio
import logging
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
import uvloop

from faas_connector import (
    ConfigError,
    ConnectorError,
    Controller,
    ControllerConfig,
    Event,
    GatewayError,
    Invocation,
    Limits,
    LogResponses,
    Timeouts,
    TopicMatcher,
)
from faas_connector.errors import (
    CallTimeoutError,
    GatewayAuthError,
    GatewayResponseError,
    GatewayUnavailableError,
)
from faas_connector.local.definition import LocalFunction
from faas_connector.local.gateway import LocalGateway
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import MemorySource


def function(name, topic=None, **more):
    annotations = more.pop("annotations", {}) | ({"topic": topic} if topic else {})
    return LocalFunction(name=name, annotations=annotations, **more)


def config(gateway, **settings):
    return ControllerConfig(gateway_url=gateway.url, **settings)


def names(responses):
    return sorted(str(response.function) for response in responses)


async def eventually(condition, within=60):
    """Wait until `condition()`, or what it returns to be awaited, is true."""
    async with asyncio.timeout(within):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


# Entering


async def unused_url():
    server = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"http://127.0.0.1:{port}"


async def entering(settings):
    with pytest.raises(GatewayError) as caught:
        async with Controller(settings):
            pass
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("seconds", [1e-6, 1e12, float("inf")])
async def test_any_positive_rebuild_interval_works(seconds):
    async with LocalGateway(functions=[function("printer", "orders")]) as gateway:
        async with Controller(config(gateway, rebuild_interval=seconds)) as controller:
            assert controller.topics == ("orders",)
            await controller.refresh()


async def test_no_gateway_is_said_so():
    url = await unused_url()
    error = await entering(ControllerConfig(gateway_url=url, startup_timeout=0.3))
    assert isinstance(error, GatewayUnavailableError)
    assert url in str(error)
    assert "port-forwarded?" in str(error)


async def test_a_gateway_that_says_nothing_is_said_so():
    async with LocalGateway(faults=["system/*:delay=60s"]) as gateway:
        error = await entering(config(gateway, startup_timeout=0.3))
    assert isinstance(error, GatewayUnavailableError)
    assert "within 0.3 s" in str(error)


async def test_refused_credentials_are_said_at_once():
    async with LocalGateway(basic_auth=("admin", "s3cret-password")) as gateway:
        async with asyncio.timeout(60):
            error = await entering(config(gateway, startup_timeout=600.0))
    assert isinstance(error, GatewayAuthError)
    assert "401" in str(error)


@pytest.mark.parametrize("body", ["<html>hello</html>", '{"a": 1}', ""])
async def test_what_is_no_gateway_is_said_so(body):
    async with LocalGateway(faults=[f"system/*:status=200,body={body}"]) as gateway:
        error = await entering(config(gateway, startup_timeout=0.3))
    assert isinstance(error, GatewayResponseError)
    assert "is this an OpenFaaS gateway?" in str(error)


async def test_a_redirect_names_the_better_address():
    async with LocalGateway(functions=[]) as gateway:
        settings = ControllerConfig(gateway_url=f"{gateway.url}/a//b", startup_timeout=0.3)
        error = await entering(settings)
    assert "redirects to" in str(error)
    assert "gateway_url" in str(error)


async def test_a_gateway_that_comes_later_is_waited_for():
    gateway = LocalGateway(functions=[function("printer", "orders")])
    async with gateway:
        await gateway.down()
        entered = asyncio.create_task(Controller(config(gateway)).__aenter__())
        await asyncio.sleep(0)
        await gateway.up()
        controller = await entered
        assert controller.topics == ("orders",)
        await controller.__aexit__(None, None, None)


async def test_a_failing_namespace_does_not_keep_the_others_from_starting(caplog):
    functions = [function("one", "orders"), function("two", "orders", namespace="staging")]
    async with LocalGateway(functions=functions, namespaces=["staging"]) as gateway:
        settings = config(gateway, namespaces=["staging", "absent"], startup_timeout=0.5)
        async with Controller(settings) as controller:
            assert names(await controller.invoke("orders", b"")) == ["two.staging"]
            assert set(controller.failing) == {"absent"}
    assert "namespace absent" in caplog.text


async def test_it_is_used_inside_with_only():
    controller = Controller(ControllerConfig())
    with pytest.raises(ConnectorError, match="inside `async with"):
        await controller.invoke("orders", b"")
    with pytest.raises(ConnectorError, match="inside `async with"):
        _ = controller.topics
    async with LocalGateway() as gateway, Controller(config(gateway)) as controller:
        with pytest.raises(ConnectorError, match="entered already"):
            await controller.__aenter__()


# The map


async def test_namespaces():
    functions = [function("f", "orders", namespace=name) for name in ("", "team-a", "team-b")]
    async with LocalGateway(functions=functions, namespaces=["team-a", "team-b"]) as gateway:
        for wanted, found in [
            (None, ["f.openfaas-fn", "f.team-a", "f.team-b"]),
            ("team-a", ["f.team-a"]),
            (["team-b", "openfaas-fn"], ["f.openfaas-fn", "f.team-b"]),
            ("team-*", ["f.team-a", "f.team-b"]),
            (["*-fn", "team-b"], ["f.openfaas-fn", "f.team-b"]),
        ]:
            async with Controller(config(gateway, namespaces=wanted)) as controller:
                assert names(await controller.invoke("orders", b"")) == found


async def test_exact_namespaces_are_not_looked_up():
    functions = [function("f", "orders")]
    async with LocalGateway(
        functions=functions, faults=["system/namespaces:status=500"]
    ) as gateway:
        async with Controller(config(gateway, namespaces="openfaas-fn")) as controller:
            assert len(await controller.invoke("orders", b"")) == 1


@pytest.mark.parametrize("fault", ["status=404", "status=501", "null", "empty", "status=200,body="])
async def test_a_gateway_without_namespaces_has_its_default_one(fault):
    functions = [function("f", "orders")]
    async with LocalGateway(functions=functions, faults=[f"system/namespaces:{fault}"]) as gateway:
        async with Controller(config(gateway)) as controller:
            assert len(await controller.invoke("orders", b"")) == 1


async def test_no_suffix_where_no_namespace_is_known():
    listed = '[{"name": "printer", "annotations": {"topic": "orders"}}]'
    faults = ["system/namespaces:status=404", f"system/functions:status=200,body={listed}"]
    async with LocalGateway(functions=[function("printer")], faults=faults) as gateway:
        async with Controller(config(gateway)) as controller:
            (response,) = await controller.invoke("orders", b"")
            assert str(response.function) == "printer"
            assert response.ok


async def test_the_map_follows_on_its_interval():
    async with LocalGateway(functions=[function("one", "orders")]) as gateway:
        async with Controller(config(gateway, rebuild_interval=0.02)) as controller:
            gateway.add(function("two", "orders"))

            async def calls_both():
                return len(await controller.invoke("orders", b"")) == 2

            await eventually(calls_both)


async def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(caplog):
    caplog.set_level(logging.INFO, logger="faas_connector")
    async with LocalGateway(functions=[function("one", "orders")]) as gateway:
        async with Controller(config(gateway, rebuild_interval=0.02)) as controller:
            gateway.inject("system/functions:status=500")
            await eventually(lambda: controller.counts.refresh_failures >= 5)
            gateway.clear_faults()
            await eventually(lambda: not controller.failing)
    said = [record.getMessage() for record in caplog.records if "refresh" in record.getMessage()]
    assert len([text for text in said if "refresh failed; keeping the last map" in text]) == 1
    assert len([text for text in said if "works again" in text]) == 1


async def test_a_wrong_annotation_is_reported_and_the_function_still_called(caplog):
    odd = function("printer", "orders", annotations={"faas-connector.timeout": "soon"})
    async with LocalGateway(functions=[odd]) as gateway:
        async with Controller(config(gateway)) as controller:
            assert len(await controller.invoke("orders", b"")) == 1
            (problem,) = controller.topic_map.functions[0].problems
    assert "faas-connector.timeout" in str(problem)
    assert "'soon'" in str(problem)
    assert "function printer.openfaas-fn" in caplog.text


@pytest.mark.parametrize(
    ("matcher", "pattern", "topic"),
    [
        (TopicMatcher.CASE_INSENSITIVE, "Orders.New", "orders.new"),
        (TopicMatcher.GLOB, "orders.*", "orders.new"),
        (TopicMatcher.MQTT, "orders/+/new", "orders/7/new"),
        (TopicMatcher.NATS, "orders.>", "orders.7.new"),
        (lambda topic, pattern: topic.startswith(pattern), "orders", "orders.new"),
    ],
)
async def test_matchers(matcher, pattern, topic):
    twice = f"{pattern}, {pattern.lower()}" if matcher is TopicMatcher.CASE_INSENSITIVE else pattern
    async with LocalGateway(functions=[function("printer", twice)]) as gateway:
        async with Controller(config(gateway, topic_matcher=matcher)) as controller:
            assert len(await controller.invoke(topic, b"")) == 1
            assert await controller.invoke("else", b"") == []


async def test_a_delimiter_of_ones_own():
    functions = [function("one", "a;b,c"), function("two", "b,c")]
    async with LocalGateway(functions=functions) as gateway:
        async with Controller(config(gateway, topic_delimiter=";")) as controller:
            assert controller.topics == ("a", "b,c")
        async with Controller(config(gateway, topic_delimiter="")) as controller:
            assert controller.topics == ("a;b,c", "b,c")


# Calling


async def test_bytes_of_any_kind_come_through_unchanged():
    body = bytes(range(256)) * 300
    async with LocalGateway(
        functions=[function("echo", "orders", answer=lambda call: call.body)]
    ) as gateway:
        async with Controller(config(gateway)) as controller:
            (response,) = await controller.invoke("orders", body)
            assert response.body == body
            (response,) = await controller.invoke("orders", memoryview(body)[5:9])
            assert response.body == body[5:9]


async def test_a_function_by_its_name():
    functions = [function("a", namespace="staging"), function("b")]
    async with LocalGateway(functions=functions, namespaces=["staging"]) as gateway:
        async with Controller(config(gateway)) as controller:
            assert (await controller.invoke_function("a.staging", b"1")).status == 200
            assert (await controller.invoke_function("b", b"1", topic="t")).topic == "t"
            assert (await controller.invoke_function("absent", b"1")).status == 503
            with pytest.raises(ConfigError, match="is no function name"):
                await controller.invoke_function("no/name", b"1")
        topics = [dict(call.call.headers).get("X-Topic") for call in gateway.received]
        assert topics == [None, "t"]


async def test_the_asynchronous_route_by_default_and_by_call():
    functions = [function("printer", "orders"), function("collect")]
    async with LocalGateway(functions=functions) as gateway:
        callback = f"{gateway.url}/function/collect"
        settings = config(gateway, invocation=Invocation.ASYNC, callback_url=callback)
        async with Controller(settings) as controller:
            (queued,) = await controller.invoke("orders", b"")
            (called,) = await controller.invoke("orders", b"", invocation=Invocation.SYNC)
        assert (queued.status, called.status) == (202, 200)
        await gateway.wait_received(1, by="collect")
        by_id = {call.call_id: dict(call.call.headers) for call in gateway.received_by("printer")}
        assert by_id[queued.call_id]["X-Callback-Url"] == callback
        assert "X-Callback-Url" not in by_id[called.call_id]


async def test_a_callback_leaves_the_route_to_the_function():
    functions = [
        function("queued", "orders", annotations={"faas-connector.mode": "async"}),
        function("called", "orders"),
        function("collect"),
    ]
    async with LocalGateway(functions=functions) as gateway:
        callback = f"{gateway.url}/function/collect"
        async with Controller(config(gateway)) as controller:
            responses = await controller.invoke("orders", b"", callback_url=callback)
        assert {each.function.name: each.status for each in responses} == {
            "queued": 202, "called": 200,
        }  # fmt: skip
        await gateway.wait_received(1, by="collect")


async def test_the_duration_is_counted_from_the_asking():
    functions = [function("slow", "orders", faults=("delay=100ms",))]
    async with LocalGateway(functions=functions) as gateway:
        async with Controller(config(gateway, limits=Limits(max_in_flight=1))) as controller:
            both = await asyncio.gather(*(controller.invoke("orders", b"") for _ in range(2)))
    first, second = sorted(response.duration for [response] in both)
    assert first >= 0.1
    assert second >= 0.2


async def test_a_call_that_takes_too_long():
    async with LocalGateway(
        functions=[function("slow", "orders", faults=("delay=60s",))]
    ) as gateway:
        async with Controller(config(gateway, timeouts=Timeouts(call=0.1))) as controller:
            (response,) = await controller.invoke("orders", b"")
            assert isinstance(response.error, CallTimeoutError)
            assert response.status is None
            (response,) = await controller.invoke("orders", b"", timeout=0.2)
            assert "0.2 s" in str(response.error)
            for wrong in (0, -1, float("nan"), "5"):
                with pytest.raises(ConfigError, match="timeout must be seconds above 0"):
                    await controller.invoke("orders", b"", timeout=wrong)


async def test_no_more_calls_at_a_time_than_the_limit():
    running, most = 0, 0

    async def count(call):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    async with LocalGateway(functions=[function("f", "orders", answer=count)]) as gateway:
        async with Controller(config(gateway, limits=Limits(max_in_flight=3))) as controller:
            await asyncio.gather(*(controller.invoke("orders", b"") for _ in range(30)))
    assert most == 3


async def test_cancelling_leaves_nothing_behind():
    running, gone = [], []

    async def hangs(call):
        running.append(call)
        try:
            await asyncio.Event().wait()
        finally:
            gone.append(call)

    functions = [function(f"f{number}", "orders", answer=hangs) for number in range(3)]
    async with LocalGateway(functions=functions) as gateway:
        async with Controller(config(gateway)) as controller:
            tasks = asyncio.all_tasks()
            calling = asyncio.create_task(controller.invoke("orders", b""))
            await eventually(lambda: len(running) == 3)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            await eventually(lambda: len(gone) == 3)
            assert {
                task for task in asyncio.all_tasks() - tasks if "call f" in task.get_name()
            } == set()


async def test_a_header_that_cannot_be_sent_calls_nobody():
    functions = [function("one", "orders"), function("two", "orders")]
    async with LocalGateway(functions=functions) as gateway:
        async with Controller(config(gateway)) as controller:
            with pytest.raises(ConfigError, match="is no header name"):
                await controller.invoke("orders", b"", headers={"X Y": "1"})
        assert gateway.received == []


async def test_over_tls_with_a_ca_of_ones_own():
    ca = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(server_side)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)

    async with LocalGateway(functions=[function("printer", "orders")]) as gateway:

        async def forward(reader, writer):
            """A TLS terminator before the gateway, as an ingress is."""
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", gateway.port)

            async def pipe(source, sink):
                while data := await source.read(65536):
                    sink.write(data)
                sink.close()

            await asyncio.gather(
                pipe(reader, inner_writer), pipe(inner_reader, writer), return_exceptions=True
            )

        server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=server_side)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Controller(ControllerConfig(gateway_url=url, tls=trusting)) as controller:
            assert (await controller.invoke("orders", b""))[0].ok
        error = await entering(ControllerConfig(gateway_url=url, startup_timeout=0.3))
        assert "certificate" in str(error)
        assert "ControllerConfig.tls" in str(error)
        server.close()
        await server.wait_closed()


# Subscribers, leaving, loops


async def test_subscribers_hear_every_response_and_may_invoke():
    heard = []
    functions = [function("one", "orders", answer=500), function("two", "retried")]
    async with LocalGateway(functions=functions) as gateway:
        settings = config(gateway, limits=Limits(subscriber_items=1))
        async with Controller(settings) as controller:

            async def requeue(response):
                heard.append(response.topic)
                await controller.invoke("retried", response.event.data)

            controller.subscribe(requeue, overflow="wait", only="failed")
            for number in range(20):
                await controller.invoke("orders", str(number).encode())
        assert heard == ["orders"] * 20
        retried = [call.call.body for call in gateway.received_by("two")]
        assert sorted(retried) == sorted(str(number).encode() for number in range(20))


async def test_log_responses(caplog):
    caplog.set_level(logging.INFO, logger="faas_connector.responses")
    functions = [function("one", "orders"), function("two", "orders", answer=500)]
    async with LocalGateway(functions=functions) as gateway:
        async with Controller(config(gateway)) as controller:
            controller.subscribe(LogResponses(request_body=True))
            await controller.invoke("orders", b"hello")
    levels = {record.function: record.levelname for record in caplog.records}
    assert levels == {"one.openfaas-fn": "INFO", "two.openfaas-fn": "WARNING"}
    assert "orders -> one.openfaas-fn 200" in caplog.text
    assert "request='hello'" in caplog.text


async def test_leaving_fails_what_is_still_in_flight():
    functions = [function("slow", "orders", faults=("delay=60s",))]
    async with LocalGateway(functions=functions) as gateway:
        async with Controller(config(gateway)) as controller:
            calling = asyncio.create_task(controller.invoke("orders", b""))
            await asyncio.sleep(0)
        (response,) = await calling
        assert response.status is None
        assert "closed" in str(response.error)


@asynccontextmanager
async def leaving_a_run(timeout, delay):
    """A run in a task, whose one event is being delivered when the block begins."""
    source = MemorySource()
    source.publish(Event("orders", b"1"))
    async with LocalGateway(functions=[function("slow", "orders", faults=(delay,))]) as gateway:
        settings = config(gateway, timeouts=Timeouts(drain=timeout))
        controller = await Controller(settings).__aenter__()
        run = asyncio.create_task(controller.run(source, store=MemoryStore()))
        await gateway.wait_received(1)
        yield controller, run, source
    assert source.violations == []


async def test_leaving_drains_a_run():
    async with leaving_a_run(60.0, "delay=300ms") as (controller, run, source):
        async with asyncio.timeout(30):
            await controller.__aexit__(None, None, None)
        assert run.done()
        assert await run
        assert len(source.acked) == 1


async def test_leaving_waits_for_a_run_no_longer_than_a_drain_takes():
    async with leaving_a_run(0.2, "delay=60s") as (controller, run, source):
        async with asyncio.timeout(30):
            await controller.__aexit__(None, None, None)
        assert not await run
        assert len(source.nacked) == 1


@pytest.mark.parametrize("error", [KeyError("a mistake"), asyncio.CancelledError()])
async def test_an_exception_that_leaves_the_controller_ends_a_run_at_once(error):
    async with leaving_a_run(60.0, "delay=60s") as (controller, run, source):
        async with asyncio.timeout(30):
            await controller.__aexit__(type(error), error, None)
        with pytest.raises(ConnectorError, match="the controller was left by an exception during"):
            await run
        assert len(source.nacked) == 1


async def test_who_is_cancelled_while_a_run_drains_leaves_at_once():
    async with leaving_a_run(60.0, "delay=60s") as (controller, run, source):
        leaving = asyncio.create_task(controller.__aexit__(None, None, None))
        await asyncio.sleep(0.1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        async with asyncio.timeout(30):
            with pytest.raises(ConnectorError, match="the controller was left"):
                await run
        assert source.kept == 1


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("debug", [False, True])
def test_any_loop_will_do(loop_factory, debug):
    async def main():
        functions = [function("one", "orders"), function("two", "orders")]
        async with LocalGateway(functions=functions) as gateway:
            async with Controller(config(gateway)) as controller:
                assert len(await controller.invoke("orders", b"x")) == 2

    with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
        runner.run(main())
