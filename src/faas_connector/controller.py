"""The facade: wires discovery, invoker and subscriptions together; no logic of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import msgspec

from faas_connector.config import ControllerConfig
from faas_connector.dead_letters.caller import Caller, calling
from faas_connector.discovery import TopicMapBuilder
from faas_connector.engine import Engine
from faas_connector.errors import ConfigError, ConnectorError, GatewayError
from faas_connector.gateway.client import GatewayClient
from faas_connector.invoker import Invoker
from faas_connector.metrics import Phase, Report
from faas_connector.names import FunctionName, Invocation
from faas_connector.planning import CallOptions, CallPlan, event_of
from faas_connector.response import InvokerResponse, ResponseSubscriber
from faas_connector.runnables import Runnable
from faas_connector.store import Store
from faas_connector.subscriptions import Only, Overflow, Subscriptions
from faas_connector.topic_map import TopicMap
from faas_connector.urls import check_callback_url

Data = bytes | bytearray | memoryview | str
_NO_OPTIONS = CallOptions()


class Controller:
    """Calls every function that asked for an event's topic.

    Entering it builds the first topic map, and keeps that fresh until it is left. Nothing that it
    started outlives it; a run is drained before.

    Example:
        ```python
        async with Controller(ControllerConfig(gateway_url="http://127.0.0.1:8080")) as controller:
            for response in await controller.invoke("payment.received", b"hello"):
                print(response)
        ```
    """

    def __init__(self, config: ControllerConfig | None = None) -> None:
        """Take the settings; nothing is connected before it is entered."""
        self.config = config or ControllerConfig()
        self._subscriptions = Subscriptions(self.config.limits)
        self._live: _Live | None = None
        self._engine: Engine | None = None
        self._run_over = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Build the first map.

        Raises:
            GatewayError: there was none within `startup_timeout`; the message says why.
        """
        if self._live is not None:
            raise ConnectorError("this controller is entered already; make one for each `with`")
        client = GatewayClient(self.config)
        builder = TopicMapBuilder(client, self.config)
        try:
            await builder.start()
        except BaseException:
            await client.aclose()
            raise
        self._live = _Live(
            client,
            builder,
            Invoker(
                client,
                self.config,
                self._subscriptions,
                builder,
            ),
            asyncio.create_task(builder.run(), name="topic map refresh"),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give subscribers what is queued, for at most `timeouts.subscribers`, and close all.

        A run in another task is drained before, as by `stop`. Where an exception or a cancellation
        leaves the block, that run hands back what is in hand at once, and raises a ConnectorError.
        """
        live = self._running()
        try:
            await self._end_run(at_once=error is not None)
        finally:
            await self._close(live)

    async def _end_run(self, *, at_once: bool) -> None:
        engine, over = self._engine, self._run_over
        if engine is None:
            return
        try:
            if at_once:
                engine.abandon()
            else:
                engine.stop()
            await over.wait()
        except asyncio.CancelledError:
            engine.abandon()
            raise

    async def _close(self, live: _Live) -> None:
        live.refreshing.cancel()
        try:
            await self._subscriptions.aclose(self.config.timeouts.subscribers)
        finally:
            self._live = None
            try:
                await asyncio.wait([live.refreshing])
            finally:
                await live.client.aclose()

    def _running(self) -> _Live:
        if self._live is None:
            raise ConnectorError(
                "the controller is not running; use it inside `async with Controller(config):`"
            )
        return self._live

    async def invoke(
        self,
        topic: str,
        data: Data,
        *,
        headers: Mapping[str, str] | None = None,
        invocation: Invocation | None = None,
        callback_url: str | None = None,
        content_type: str | None = None,
        timeout: float | None = None,
    ) -> list[InvokerResponse]:
        """Call every function that asked for `topic`, side by side, each once.

        Nothing is tried again. Cancelling it cancels its calls.

        Args:
            topic: what the event is about.
            data: the body, passed on unchanged; text goes as UTF-8.
            headers: further header fields. They replace our defaults, but for `X-Call-Id` and
                `Host`. A value that is no header text goes as base64, with `<name>-Enc: b64`.
            invocation: the route; default `config.invocation`.
            callback_url: where the queue posts the result to, on the asynchronous route;
                default `config.callback_url`.
            content_type: default `config.content_type`.
            timeout: seconds of each call, from sending to the end of the answer; default
                `config.timeouts.call`. Waiting for a free place is not counted.

        Returns:
            One response per function, in the order of the gateway's list; empty when none matched.
            A call that got no answer is a response, too: its `status` is None, and `error` says
            why.

        Raises:
            ConfigError: an argument can't work; nothing was called.
            ConnectorError: the controller is not running.
        """
        live = self._live or self._running()
        event = event_of(topic, data, headers, content_type)
        options = _options(invocation, callback_url, timeout)
        functions = live.builder.map.match(topic)
        if len(functions) == 1:
            return [await live.invoker.call(functions[0].name, event, options)]
        return await live.invoker.call_each([each.name for each in functions], event, options)

    async def invoke_function(
        self,
        name: str | FunctionName,
        data: Data,
        *,
        topic: str = "",
        headers: Mapping[str, str] | None = None,
        invocation: Invocation | None = None,
        callback_url: str | None = None,
        content_type: str | None = None,
        timeout: float | None = None,
    ) -> InvokerResponse:
        """Call one function by its name, whether it is in the map or not.

        Args:
            name: `name` or `name.namespace`, split at the last dot.
            data: as in `invoke`.
            topic: what `X-Topic` says; without one there is no such field.
            headers: as in `invoke`, like all that follow.

        Raises:
            ConfigError: an argument can't work; nothing was called.
            ConnectorError: the controller is not running.
        """
        live = self._running()
        function = name if isinstance(name, FunctionName) else FunctionName.parse(name)
        event = event_of(topic, data, headers, content_type)
        options = _options(invocation, callback_url, timeout)
        return await live.invoker.call(function, event, options)

    def plan(self, name: str | FunctionName, topic: str) -> CallPlan:
        """How a function would be called for an event with this topic; nothing is called."""
        function = name if isinstance(name, FunctionName) else FunctionName.parse(name)
        event = event_of(topic, b"", None, None)
        return self._running().invoker.planner.plan(function, event, CallOptions())

    def subscribe(
        self, subscriber: ResponseSubscriber, *, overflow: Overflow = "drop", only: Only = "all"
    ) -> Callable[[], None]:
        """Tell `subscriber` each response from now on.

        Each subscriber has a queue of its own (`limits.subscriber_items`, `subscriber_bytes`), so
        that one which is slow or fails holds up nobody. A coroutine function runs on the loop, any
        other callable in a thread of its own. It may invoke in turn.

        Args:
            subscriber: called with one `InvokerResponse` after another.
            overflow: `"drop"` drops and counts what finds no room; `"wait"` drops nothing, and
                holds the invoker back instead.
            only: `"all"` responses, or the `"failed"` ones (no answer, or a status without 2xx).

        Returns:
            A callable that ends the subscription.

        Raises:
            ConfigError: an argument can't work.
        """
        return self._subscriptions.add(subscriber, overflow=overflow, only=only)

    async def run(self, *sources: Runnable, store: Store | None = None) -> bool:
        """Deliver what the sources read, until each has ended or `stop` is called.

        An event is acknowledged when each function that asked for its topic has it, or the store
        keeps it for that function. Cancelling the run calls nobody any more, and leaves what is in
        hand unsettled.

        Args:
            sources: sources, async generator functions that yield events (at most once), or
                `Scoped` ones.
            store: keeps what has to wait or failed for good, for example `SqliteStore(folder)`.

        Returns:
            Whether all that was read is settled: false when `timeouts.drain` was too short.

        Raises:
            ConfigError: a source, or the policies without a store, can't work.
            SourceError: an async generator function failed; what it gave before is delivered.
            ConnectorError: the controller is not entered or runs already; it was left by an
                exception; or a function failed an event for good and `on_failure` is stop.
        """
        live = self._running()
        if self._engine is not None:
            raise ConnectorError("this controller runs already; give all sources to one run")
        engine = Engine(sources, self.config, live.client, live.builder, live.invoker, store)
        self._engine, self._run_over = engine, asyncio.Event()
        try:
            return await engine.run()
        finally:
            self._engine = None
            self._run_over.set()

    def stop(self) -> bool:
        """End the run: read nothing more, settle what is in hand within `timeouts.drain`.

        Returns:
            Whether there is a run.
        """
        if self._engine is not None:
            self._engine.stop()
        return self._engine is not None

    def replaying(self) -> AbstractAsyncContextManager[Caller]:
        """What `DeadLetters.replay` calls functions with: this controller's invoker and limiter.

        Raises:
            ConnectorError: the controller is not running.
        """
        live = self._running()
        return calling(live.client, live.invoker, live.builder, self.config)

    async def refresh(self) -> TopicMap:
        """Ask the gateway for its functions now.

        Raises:
            GatewayError: nothing could be fetched; the last good map holds.
        """
        return await self._running().builder.refresh()

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic or pattern that functions ask for now, sorted."""
        return self.topic_map.topics

    @property
    def topic_map(self) -> TopicMap:
        """The map as it is now."""
        return self._running().builder.map

    @property
    def failing(self) -> Mapping[str, GatewayError]:
        """What the last refresh could not fetch: namespace (empty for all) -> why."""
        return self._running().builder.failing

    async def report(self) -> Report:
        """How it stands now: what health checks and metrics are made of."""
        live, engine = self._live, self._engine
        if live is None:
            return Report(phase=Phase.STARTING)
        return Report(
            phase=Phase.IDLE if engine is None else engine.phase,
            map=live.builder.report(),
            run=None if engine is None else await engine.report(),
            calls=live.invoker.calls.by_name(),
            responses_dropped=self._subscriptions.dropped,
        )

    @property
    def counts(self) -> ControllerCounts:
        """What has been counted so far."""
        refreshes = self._running().builder.counts
        return ControllerCounts(
            refreshes.refreshes, refreshes.failures, self._subscriptions.dropped
        )


class ControllerCounts(msgspec.Struct, frozen=True):
    """What a controller has counted since it was entered."""

    refreshes: int
    """Refreshes of the topic map that were begun."""
    refresh_failures: int
    """Those of which at least one request failed."""
    responses_dropped: int
    """Responses that a subscriber never heard."""


class _Live(msgspec.Struct, frozen=True):
    """What exists only while the controller is entered."""

    client: GatewayClient
    builder: TopicMapBuilder
    invoker: Invoker
    refreshing: asyncio.Task[None]


def _options(
    invocation: Invocation | None, callback_url: str | None, timeout: float | None
) -> CallOptions:
    if invocation is None and callback_url is None and timeout is None:
        return _NO_OPTIONS
    if invocation is not None and not isinstance(invocation, Invocation):
        raise ConfigError(
            f"invocation must be an Invocation, got {invocation!r}; for example Invocation.ASYNC"
        )
    if callback_url is not None:
        check_callback_url(callback_url)
    seconds: object = timeout
    if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
        raise ConfigError(f"timeout must be seconds above 0, got {timeout!r}; for example 30.0")
    return CallOptions(invocation, callback_url, timeout)
