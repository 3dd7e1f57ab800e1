"""One event, one function: plan the call, make it, and tell what came of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

import msgspec

from faas_connector.config import ControllerConfig
from faas_connector.errors import ConfigError, TransportError
from faas_connector.event import Event
from faas_connector.gateway.client import GatewayClient
from faas_connector.gateway.transport import request_head
from faas_connector.headers import encode_field, is_text
from faas_connector.names import FunctionName, Invocation
from faas_connector.response import InvokerResponse

# A program's own headers replace the defaults, all but these: the first two are ours to set, the
# others say where the request ends or belong to the connection (RFC 9110, 7.6.1).
_NEVER_FROM_OUTSIDE = frozenset(
    {
        "x-call-id",
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
    }
)
_MOST_REMEMBERED = 4096


class CallOptions(msgspec.Struct, frozen=True):
    """How a call is to be made, where it differs from the controller's configuration."""

    invocation: Invocation | None = None
    callback_url: str | None = None
    timeout: float | None = None
    """Seconds from sending to the end of the answer."""


class CallPlan(msgspec.Struct, frozen=True):
    """A call as it will be made; `X-Call-Id` and `Content-Length` come with the sending."""

    function: FunctionName
    invocation: Invocation
    target: str
    """The request target: the gateway's base path, the route, the function."""
    fields: tuple[tuple[str, str], ...]
    timeout: float


def plan_call(
    config: ControllerConfig,
    target: str,
    function: FunctionName,
    event: Event,
    options: CallOptions,
) -> CallPlan:
    """Decide how one call is made.

    Raises:
        ConfigError: a header of the event can't be sent, or an option can't work.
    """
    invocation = options.invocation or config.invocation
    fields = {
        "user-agent": ("User-Agent", config.user_agent),
        "x-connector": ("X-Connector", config.connector),
        "content-type": ("Content-Type", event.content_type or config.content_type),
    }
    if config.send_topic and event.topic:
        fields["x-topic"] = ("X-Topic", event.topic)
    if config.callback_url:
        fields["x-callback-url"] = ("X-Callback-Url", config.callback_url)
    for name, value in event.headers.items():
        if not isinstance(value, str):
            raise ConfigError(
                f"header {name} must be text, got {value!r}; for example {str(value)!r}"
            )
        if (key := name.lower()) not in _NEVER_FROM_OUTSIDE:
            fields[key] = (name, value)
    if options.callback_url:
        fields["x-callback-url"] = ("X-Callback-Url", options.callback_url)
    if invocation is Invocation.SYNC:
        fields.pop("x-callback-url", None)
    # The gateway's event-stream path turns a dead function into 200 (gateway contract, 5.3).
    if "text/event-stream" in fields.get("accept", ("", ""))[1].lower():
        del fields["accept"]
    encoded = tuple(pair for name, value in fields.values() for pair in encode_field(name, value))
    timeout = config.timeouts.call if options.timeout is None else options.timeout
    return CallPlan(function, invocation, target, encoded, timeout)


class Invoker:
    """The only one that calls functions."""

    def __init__(
        self,
        client: GatewayClient,
        config: ControllerConfig,
        publish: Callable[[InvokerResponse], Awaitable[None] | None],
    ) -> None:
        """Prepare.

        Args:
            client: the gateway.
            config: the defaults of each call.
            publish: is told each response; what it returns, if anything, is awaited.
        """
        self._client = client
        self._config = config
        self._publish = publish
        self._heads: dict[object, bytes] = {}

    def plan(self, function: FunctionName, event: Event, options: CallOptions) -> CallPlan:
        """How this call would be made.

        Raises:
            ConfigError: a header of the event can't be sent.
        """
        invocation = options.invocation or self._config.invocation
        target = self._client.call_target(function, invocation)
        return plan_call(self._config, target, function, event, options)

    async def call_each(
        self, functions: Sequence[FunctionName], event: Event, options: CallOptions
    ) -> list[InvokerResponse]:
        """Call all of them side by side.

        Raises:
            ConfigError: the event can't be sent; nothing was called.
        """
        heads = [self._head(function, event, options) for function in functions]
        if len(functions) == 1:
            return [await self._call(functions[0], event, heads[0], options.timeout)]
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(
                    self._call(function, event, head, options.timeout), name=f"call {function}"
                )
                for function, head in zip(functions, heads, strict=True)
            ]
        return [call.result() for call in calls]

    def _head(self, function: FunctionName, event: Event, options: CallOptions) -> bytes:
        """The request's head but for the fields that differ from call to call."""
        if event.headers:
            return self._make_head(function, event, options)
        key = (
            function,
            event.topic,
            event.content_type,
            options.invocation,
            options.callback_url,
        )
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _MOST_REMEMBERED:
                self._heads.clear()
            head = self._heads[key] = self._make_head(function, event, options)
        return head

    def _make_head(self, function: FunctionName, event: Event, options: CallOptions) -> bytes:
        plan = self.plan(function, event, options)
        fields = (("Host", self._client.origin.host_header), *plan.fields)
        # The blank line that ends a head comes after the fields which `call` adds.
        return request_head("POST", plan.target, fields)[:-2]

    async def _call(
        self, function: FunctionName, event: Event, head: bytes, timeout: float | None
    ) -> InvokerResponse:
        data = event.data
        call_id = new_call_id()
        complete = b"%bX-Call-Id: %b\r\nContent-Length: %d\r\n\r\n" % (
            head,
            call_id.encode(),
            len(data),
        )
        seconds = self._config.timeouts.call if timeout is None else timeout
        begun = time.perf_counter()
        try:
            answer = await self._client.calls.request(complete, data, timeout=seconds)
        except TransportError as error:
            duration = time.perf_counter() - begun
            response = InvokerResponse(event, function, call_id, duration, error=error)
        else:
            duration = time.perf_counter() - begun
            response = InvokerResponse(
                event, function, call_id, duration, answer.status, answer.headers, answer.body
            )
        held_back = self._publish(response)
        if held_back is not None:
            await held_back
        return response


def new_call_id() -> str:
    """A random UUID (RFC 9562, version 4), made at a third of the cost of `uuid.uuid4`."""
    text = os.urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def event_of(
    topic: str, data: object, headers: Mapping[str, str] | None, content_type: str | None
) -> Event:
    """The event that the arguments of `invoke` mean.

    Raises:
        TypeError: `data` is no bytes and no text, or `topic` no text.
        ConfigError: `content_type` is no header text.
    """
    if not isinstance(topic, str):
        raise TypeError(f"topic must be str, got {type(topic).__name__}; for example 'orders.new'")
    if isinstance(data, bytes):
        body = data
    elif isinstance(data, str):
        body = data.encode()
    elif isinstance(data, bytearray | memoryview):
        body = bytes(cast("bytearray", data))
    else:
        raise TypeError(
            f"data must be bytes or str, got {type(data).__name__}; for example b'' for no body"
        )
    if content_type is not None and not (content_type and is_text(content_type)):
        raise ConfigError(
            f"content_type must be text that a header may hold, got {content_type!r}; "
            "for example 'application/json'"
        )
    return Event(topic, body, dict(headers) if headers else {}, content_type)
