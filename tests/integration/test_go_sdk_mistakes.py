"""What the Go connector SDK gets wrong against the gateway's contract, and we must not.

One test for each of the 18 items; the number is the item's.
"""

import asyncio
import json

import pytest

from faas_connector import (
    BasicAuth,
    BearerToken,
    ConfigError,
    Controller,
    ControllerConfig,
    GatewayError,
    Invocation,
    Timeouts,
)
from faas_connector.local.definition import LocalFunction
from faas_connector.local.function import Answer
from faas_connector.local.gateway import LocalGateway


def echo(name="printer", topic="orders", **more):
    annotations = {"topic": topic} if topic else {}
    more.setdefault("answer", lambda call: call.body)
    return LocalFunction(name=name, annotations=annotations, **more)


def config(gateway, **settings):
    settings.setdefault("startup_timeout", 5.0)
    return ControllerConfig(gateway_url=gateway.url, **settings)


async def outcome_of_refresh(controller):
    try:
        await controller.refresh()
    except GatewayError as error:
        return error
    return None


async def test_01_a_trailing_slash_in_the_gateways_url_loses_no_body():
    async with LocalGateway(functions=[echo()]) as gateway:
        async with Controller(ControllerConfig(gateway_url=f"{gateway.url}//")) as controller:
            (response,) = await controller.invoke("orders", b"body")
        (call,) = gateway.received
        assert (response.status, response.body) == (200, b"body")
        assert (call.call.method, call.call.body) == ("POST", b"body")


@pytest.mark.parametrize(
    "fault",
    [
        "system/*:hang-up",
        "system/*:status=401",
        "system/*:status=502",
        "system/functions:status=500",
        "system/namespaces:status=404,body=404 page not found",
    ],
)
async def test_02_a_failed_refresh_ends_nothing(fault):
    async with LocalGateway(functions=[echo()]) as gateway:
        async with Controller(config(gateway)) as controller:
            gateway.inject(fault)
            assert await outcome_of_refresh(controller) is not None
            assert (await controller.invoke("orders", b"1"))[0].ok
            gateway.clear_faults()
            assert await outcome_of_refresh(controller) is None


async def test_02_a_gateway_that_is_gone_for_a_while_ends_nothing():
    async with LocalGateway(functions=[echo()]) as gateway:
        async with Controller(config(gateway)) as controller:
            async with gateway.outage():
                assert await outcome_of_refresh(controller) is not None
                (response,) = await controller.invoke("orders", b"1")
                assert response.status is None
                assert response.error is not None
            assert (await controller.invoke("orders", b"2"))[0].ok


async def test_02_one_namespace_that_fails_keeps_its_functions():
    functions = [echo(), echo("other", namespace="staging")]
    async with LocalGateway(functions=functions, namespaces=["staging"]) as gateway:
        async with Controller(config(gateway)) as controller:
            gateway.inject("system/functions:status=500,times=1")
            await outcome_of_refresh(controller)
            assert len(controller.failing) == 1
            assert len(await controller.invoke("orders", b"")) == 2


@pytest.mark.parametrize("status", [503, 404, 501, 502])
async def test_03_the_status_of_a_list_counts(status):
    async with LocalGateway(functions=[echo()]) as gateway:
        async with Controller(config(gateway)) as controller:
            for route in ("functions", "namespaces"):
                gateway.inject(f"system/{route}:status={status},body=[]")
                assert await outcome_of_refresh(controller) is not None
                gateway.clear_faults()
            assert controller.topics == ("orders",)


async def test_04_no_namespace_leaks_into_the_next_question():
    functions = [echo(), echo("staged", "staged", namespace="staging")]
    async with LocalGateway(functions=functions, namespaces=["staging"]) as gateway:
        async with Controller(config(gateway)) as controller:
            gateway.inject("system/namespaces:empty")
            assert "lists none, though it did before" in str(await outcome_of_refresh(controller))
            (response,) = await controller.invoke("staged", b"")
            assert str(response.function) == "staged.staging"
            assert {str(call.function) for call in gateway.received} == {"staged.staging"}


async def test_05_a_hung_gateway_does_not_freeze_the_map():
    async with LocalGateway(functions=[echo()]) as gateway:
        async with Controller(config(gateway, timeouts=Timeouts(system=0.2))) as controller:
            gateway.inject("system/functions:delay=60s")
            error = await outcome_of_refresh(controller)
            assert "within 0.2 s" in str(error)
            assert controller.topics == ("orders",)
            gateway.clear_faults()
            assert await outcome_of_refresh(controller) is None


async def test_06_the_user_agent_is_sent():
    async with LocalGateway(functions=[echo()]) as gateway:
        async with Controller(config(gateway, user_agent="acme/7")) as controller:
            await controller.invoke("orders", b"")
        assert ("User-Agent", "acme/7") in gateway.received[0].call.headers


async def test_07_the_callers_headers_replace_ours():
    async with LocalGateway(functions=[echo()]) as gateway:
        mine = {"x-connector": "acme", "content-type": "a/b"}
        async with Controller(config(gateway)) as controller:
            await controller.invoke("orders", b"", headers=mine)
        names = [name.lower() for name, _ in gateway.received[0].call.headers]
        assert names.count("x-connector") == names.count("content-type") == 1
        assert ("x-connector", "acme") in gateway.received[0].call.headers
        assert mine == {"x-connector": "acme", "content-type": "a/b"}


async def test_08_an_empty_body_is_an_event_like_any_other():
    async with LocalGateway(functions=[echo()]) as gateway:
        async with Controller(config(gateway)) as controller:
            (response,) = await controller.invoke("orders", b"")
            assert response.ok
            with pytest.raises(TypeError, match="data must be bytes or str, got NoneType"):
                await controller.invoke("orders", None)
        assert len(gateway.received) == 1


async def test_09_a_response_without_answer_names_topic_and_function():
    async with LocalGateway(functions=[echo(faults=("hang-up",))]) as gateway:
        async with Controller(config(gateway)) as controller:
            (response,) = await controller.invoke("orders", b"")
        assert response.status is None
        assert (response.topic, str(response.function)) == ("orders", "printer.openfaas-fn")
        assert "hung up before its answer" in str(response.error)


@pytest.mark.parametrize("status", [204, 404, 429, 500, 503])
async def test_10_every_status_is_told_apart(status):
    async with LocalGateway(functions=[echo(answer=status)]) as gateway:
        async with Controller(config(gateway)) as controller:
            (response,) = await controller.invoke("orders", b"")
        assert response.status == status
        assert response.ok is (status == 204)
        assert len(gateway.received) == 1


async def test_10_a_redirect_is_not_followed():
    away = Answer(302, (("Location", "/function/other"),))
    async with LocalGateway(functions=[echo(answer=away), echo("other", "")]) as gateway:
        async with Controller(config(gateway)) as controller:
            (response,) = await controller.invoke("orders", b"x")
        assert (response.status, response.headers["location"]) == (302, "/function/other")
        assert [call.function.name for call in gateway.received] == ["printer"]


async def test_11_functions_are_called_side_by_side():
    all_there, waiting = asyncio.Event(), []

    async def wait_for_the_others(call):
        waiting.append(call)
        if len(waiting) == 3:
            all_there.set()
        await all_there.wait()

    functions = [echo(f"f{number}", answer=wait_for_the_others) for number in range(3)]
    async with LocalGateway(functions=functions) as gateway:
        async with Controller(config(gateway)) as controller:
            responses = await controller.invoke("orders", b"")
        assert [response.status for response in responses] == [200, 200, 200]


async def test_11_a_slow_subscriber_holds_up_no_call():
    never = asyncio.Event()
    async with LocalGateway(functions=[echo()]) as gateway:
        async with Controller(config(gateway, timeouts=Timeouts(subscribers=0))) as controller:

            async def stuck(response):
                await never.wait()

            controller.subscribe(stuck)
            for _ in range(10):
                assert (await controller.invoke("orders", b""))[0].ok


async def test_12_a_repeated_topic_calls_once():
    async with LocalGateway(functions=[echo(topic="dup, dup,, ,dup")]) as gateway:
        async with Controller(config(gateway)) as controller:
            assert controller.topics == ("dup",)
            assert len(await controller.invoke("dup", b"")) == 1
        assert len(gateway.received) == 1


async def test_13_entering_waits_for_the_first_map():
    async with LocalGateway(
        functions=[echo()], faults=["system/functions:status=503,times=2"]
    ) as gateway:
        async with Controller(config(gateway)) as controller:
            assert len(await controller.invoke("orders", b"")) == 1
            assert await controller.invoke("unknown", b"") == []


async def test_14_a_function_that_is_gone_or_asleep_is_an_answer_with_503():
    async with LocalGateway(functions=[echo(), echo("other")]) as gateway:
        async with Controller(config(gateway)) as controller:
            gateway.remove("printer")
            gateway.scale("other", 0)
            responses = await controller.invoke("orders", b"")
        assert [response.status for response in responses] == [503, 503]
        for response in responses:
            assert response.body == f"No endpoints available for: {response.function}.\n".encode()
            assert response.headers["X-OpenFaaS-Internal"] == "proxy"


async def test_15_an_asynchronous_call_is_correlated_by_its_id_and_has_a_callback():
    functions = [echo(), LocalFunction(name="collect")]
    async with LocalGateway(functions=functions) as gateway:
        async with Controller(config(gateway)) as controller:
            (response,) = await controller.invoke(
                "orders",
                b"later",
                invocation=Invocation.ASYNC,
                callback_url=f"{gateway.url}/function/collect",
            )
        assert (response.status, response.ok) == (202, True)
        (result,) = await gateway.wait_received(by="collect")
        headers = {name.lower(): value for name, value in result.call.headers}
        assert headers["x-call-id"] == response.call_id
        assert headers["x-function-status"] == "200"
        assert result.call.body == b"later"


async def test_16_answers_are_bounded_connections_kept_and_cancelling_ends_the_call():
    started, ended = asyncio.Event(), asyncio.Event()

    async def hangs(call):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    functions = [
        echo(),
        echo("big", "big", answer=b"x" * 2_000_000),
        echo("hangs", "hangs", answer=hangs),
    ]
    async with LocalGateway(functions=functions) as gateway:
        async with Controller(config(gateway)) as controller:
            (too_big,) = await controller.invoke("big", b"")
            assert too_big.status is None
            assert "1048576" in str(too_big.error)
            await controller.invoke("orders", b"")
            await controller.invoke("orders", b"")
            peers = [
                value
                for call in gateway.received_by("printer")
                for name, value in call.call.headers
                if name.lower() == "x-forwarded-for"
            ]
            assert len(peers) == 2
            assert len(set(peers)) == 1
            calling = asyncio.create_task(controller.invoke("hangs", b""))
            await started.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            async with asyncio.timeout(60):
                await ended.wait()


async def test_17_credentials_need_a_path_and_are_read_again(tmp_path):
    with pytest.raises(ConfigError, match="secret_mount_path is not set"):
        BasicAuth.from_env({"basic_auth": "true"})
    (tmp_path / "basic-auth-user").write_text("admin\n")
    (tmp_path / "basic-auth-password").write_text("wrong\n")
    auth = BasicAuth.from_env({"basic_auth": "1", "secret_mount_path": str(tmp_path)})
    async with LocalGateway(functions=[echo()], basic_auth=("admin", "right-one")) as gateway:
        with pytest.raises(GatewayError, match="refused the credentials"):
            async with Controller(config(gateway, auth=auth)):
                pass
        (tmp_path / "basic-auth-password").write_text("right-one\n")
        async with Controller(config(gateway, auth=auth)) as controller:
            await controller.invoke("orders", b"")
        sent = dict(gateway.received[0].call.headers)
        assert "Authorization" not in sent
        token = Controller(config(gateway, auth=BearerToken("no"), startup_timeout=0.5))
        with pytest.raises(GatewayError, match="401"):
            async with token:
                pass


async def test_18_one_odd_annotation_hides_no_other_function():
    listed = [
        {"name": "odd", "namespace": "openfaas-fn", "annotations": {"topic": "odd", "n": 5}},
        {"name": "none", "annotations": None, "replicas": None},
        None,
        {"name": "printer", "namespace": "openfaas-fn", "annotations": {"topic": "orders"}},
    ]
    fault = f"system/functions:status=200,body={json.dumps(listed)}"
    async with LocalGateway(functions=[echo()], faults=[fault]) as gateway:
        async with Controller(config(gateway)) as controller:
            assert controller.topics == ("odd", "orders")
            assert (await controller.invoke("orders", b""))[0].ok
