"""What a type checker sees of the public API. It is checked by mypy and pyright, never run.

`assert_type` pins what the hello code of a user gets; a `type: ignore` with its code pins what is
refused (mypy and pyright both report one that isn't needed).
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import assert_type

from faas_connector import (
    BasicAuth,
    BearerToken,
    ConfigError,
    ConnectorError,
    Controller,
    ControllerConfig,
    Delivery,
    Event,
    FunctionContract,
    FunctionName,
    GatewayError,
    Headers,
    Invocation,
    InvokerResponse,
    Limits,
    LogResponses,
    RetryPolicy,
    Source,
    Timeouts,
    TopicMap,
    TopicMatcher,
    TransportError,
    __version__,
    sync,
)
from faas_connector.auth import Auth, SecretFile
from faas_connector.contract import AnnotationProblem, Order
from faas_connector.response import ResponseSubscriber
from faas_connector.retry import Backoff
from faas_connector.source import Guarantee, Session, SourceTraits


def names() -> None:
    name = FunctionName.parse("printer.openfaas-fn")
    assert_type(name, FunctionName)
    assert_type(name.name, str)
    assert_type(name.namespace, str)
    assert_type(str(name), str)
    assert_type(FunctionName("printer"), FunctionName)
    assert_type(Invocation("async"), Invocation)
    version: list[str] = [__version__]
    assert version


def events() -> None:
    event = Event("payment.received", b"{}", {"X-A": "1"}, content_type="application/json")
    assert_type(event.topic, str)
    assert_type(event.data, bytes)
    assert_type(event.headers, Mapping[str, str])
    assert_type(event.content_type, str | None)
    assert_type(event.id, str | None)
    assert_type(event.key, str | None)
    assert_type(event.time, datetime | None)
    Event("payment.received", "text")  # type: ignore[arg-type]
    event.topic = "other"  # type: ignore[misc]


def headers() -> None:
    fields = Headers([("Content-Type", "text/plain")])
    assert_type(fields["content-type"], str)
    assert_type(fields.get("x-a"), str | None)
    assert_type(fields.get("x-a", ""), str)
    assert_type(fields.get_all("set-cookie"), tuple[str, ...])
    assert_type(fields.fields, tuple[tuple[str, str], ...])
    as_mapping: Mapping[str, str] = fields
    assert_type(list(as_mapping), list[str])
    fields["x-a"] = "1"  # type: ignore[index]


def responses(response: InvokerResponse) -> None:
    assert_type(response.event, Event)
    assert_type(response.topic, str)
    assert_type(response.function, FunctionName)
    assert_type(response.call_id, str)
    assert_type(response.duration, float)
    assert_type(response.status, int | None)
    assert_type(response.headers, Headers)
    assert_type(response.body, bytes)
    assert_type(response.error, ConnectorError | None)
    assert_type(response.attempts, int)
    assert_type(response.ok, bool)
    response.status > 200  # type: ignore[operator]  # noqa: B015


def subscribers() -> None:
    def hear(response: InvokerResponse) -> None: ...

    async def hear_async(response: InvokerResponse) -> None: ...

    kinds: list[ResponseSubscriber] = []
    kinds.extend((hear, hear_async))
    kinds.append(LogResponses(level=logging.DEBUG, request_body=True, max_body=100))
    log = LogResponses(logger=logging.getLogger("mine"))
    assert_type(log, LogResponses)
    LogResponses(logging.DEBUG)  # type: ignore[call-arg]


def auth() -> None:
    assert_type(BasicAuth("admin", "pw"), BasicAuth)
    assert_type(BasicAuth.from_env(), BasicAuth | None)
    assert_type(BasicAuth.from_env({"basic_auth": "1"}), BasicAuth | None)
    assert_type(BasicAuth.from_files("user", "password"), BasicAuth)
    assert_type(BearerToken("eyJ"), BearerToken)
    assert_type(BearerToken.from_file("token"), BearerToken)
    assert_type(BearerToken("eyJ").headers(), Mapping[str, str])
    assert_type(SecretFile("password").get(), str)

    def plain() -> dict[str, str]:
        return {"Authorization": "x"}

    async def later() -> Mapping[str, str]:
        return plain()

    class Own:
        def headers(self) -> Mapping[str, str]:
            return plain()

    class OwnLater:
        async def headers(self) -> Mapping[str, str]:
            return plain()

    every: list[Auth] = [BasicAuth("a", "b"), BearerToken("t"), plain, later, Own(), OwnLater()]
    for each in every:
        ControllerConfig(auth=each)
    ControllerConfig(auth=("admin", "pw"))  # type: ignore[arg-type]
    BasicAuth("admin", None)  # type: ignore[arg-type]


def settings() -> None:
    config = ControllerConfig(
        gateway_url="http://gateway.openfaas:8080",
        auth=BasicAuth("admin", "pw"),
        tls=ssl.create_default_context(),
        namespaces=["staging", "team-*"],
        rebuild_interval=5,
        startup_timeout=1.5,
        topic_delimiter="",
        topic_matcher=TopicMatcher.MQTT,
        invocation=Invocation.ASYNC,
        callback_url="http://gateway.openfaas:8080/function/collect",
        content_type="application/json",
        user_agent="acme/1",
        connector="acme/orders-connector",
        send_topic=False,
        timeouts=Timeouts(connect=1, call=30.0, read=None, system=5, subscribers=0),
        limits=Limits(max_in_flight=256),
    )
    assert_type(config, ControllerConfig)
    assert_type(config.rebuild_interval, float)
    assert_type(config.timeouts, Timeouts)
    assert_type(config.timeouts.read, float | None)
    assert_type(config.limits.max_in_flight, int)
    assert_type(config.matcher, TopicMatcher)
    assert_type(config.namespaces, str | Sequence[str] | None)
    assert_type(config.namespace_patterns, tuple[str, ...])
    assert_type(config.auth, Auth | None)
    ControllerConfig(topic_matcher="mqtt", namespaces="openfaas-fn")
    ControllerConfig(topic_matcher=lambda topic, pattern: topic.startswith(pattern))
    ControllerConfig("http://gateway:8080")  # type: ignore[call-arg]
    ControllerConfig(gateway="http://gateway:8080")  # type: ignore[call-arg]
    ControllerConfig(rebuild_interval="30s")  # type: ignore[arg-type]
    Timeouts(call="30s")  # type: ignore[arg-type]
    config.rebuild_interval = 5  # type: ignore[misc]


def retries() -> None:
    policy = RetryPolicy(
        attempts=3, min_wait=1, max_wait=10.0, backoff=Backoff.EQUAL, max_age=math.inf
    )
    assert_type(policy.wait(1, 0.5), float)
    assert_type(policy.codes, Collection[int] | None)
    assert_type(RetryPolicy(codes=[429, 503]), RetryPolicy)
    RetryPolicy(codes=["503"])  # type: ignore[list-item]
    assert_type(RetryPolicy.none(), RetryPolicy)
    RetryPolicy(backoff="full")  # type: ignore[arg-type]


def topics(contract: FunctionContract) -> None:
    assert_type(contract.name, FunctionName)
    assert_type(contract.topics, tuple[str, ...])
    assert_type(contract.mode, Invocation | None)
    assert_type(contract.timeout, float | None)
    assert_type(contract.order, Order | None)
    assert_type(contract.problems, tuple[AnnotationProblem, ...])
    known = TopicMap([contract], TopicMatcher.NATS, missing=[contract])
    assert_type(known.match("a.b"), tuple[FunctionContract, ...])
    assert_type(known.topics, tuple[str, ...])
    assert_type(known.functions, tuple[FunctionContract, ...])
    assert_type(known.missing, tuple[FunctionContract, ...])
    assert_type(known.by_topic(), Mapping[str, tuple[FunctionName, ...]])
    assert_type(TopicMatcher.GLOB("a.b", "a.*"), bool)
    assert_type(TopicMatcher.of("glob"), TopicMatcher)


class Timer:
    """The smallest source is one by its shape, without a base class."""

    name = "timer"
    traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE)

    def open(self, session: Session, /) -> AbstractAsyncContextManager[Deliveries]:
        raise NotImplementedError


class Deliveries:
    def __aiter__(self) -> Deliveries:
        return self

    async def __anext__(self) -> Delivery:
        raise StopAsyncIteration


async def sources(session: Session) -> None:
    source: Source = Timer()
    assert_type(source.name, str)
    assert_type(source.traits, SourceTraits)
    async with source.open(session) as deliveries:
        async for delivery in deliveries:
            assert_type(delivery, Delivery)
            assert_type(delivery.event, Event)
            assert_type(delivery.position, str | None)
            assert_type(delivery.redelivered, bool | None)
            await delivery.ack()
            await delivery.nack(1.5)
            await delivery.reject()
            await delivery.extend()
    assert_type(session.topics(), frozenset[str])


def errors(config: ConfigError, gateway: GatewayError, transport: TransportError) -> None:
    ours: list[ConnectorError] = [config, gateway, transport]
    standard: list[ValueError] = [config]
    assert len(ours) > len(standard)


async def controllers() -> None:
    async with Controller(ControllerConfig()) as controller:
        assert_type(await controller.invoke("orders", b""), list[InvokerResponse])
        assert_type(await controller.invoke_function("printer", "text"), InvokerResponse)
        assert_type(controller.topics, tuple[str, ...])
        assert_type(controller.topic_map, TopicMap)
        assert_type(controller.subscribe(LogResponses(), overflow="wait"), Callable[[], None])
    with sync.Controller() as blocking:
        assert_type(blocking.invoke("orders", b"", timeout=5.0), list[InvokerResponse])
        assert_type(blocking.invoke_function("printer", b""), InvokerResponse)
