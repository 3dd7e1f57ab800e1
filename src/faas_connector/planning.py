"""How a call of a function is made: its route, its header fields, the head of its request."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import msgspec

from faas_connector.config import ControllerConfig
from faas_connector.errors import ConfigError
from faas_connector.event import Event
from faas_connector.gateway.client import GatewayClient
from faas_connector.gateway.transport import request_head
from faas_connector.headers import encode_field, is_text
from faas_connector.names import FunctionName, Invocation

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
# Whether the gateway hears of these depends on their values, or on the call's own options.
_DEPENDENT = frozenset({"accept", "x-callback-url"})
# What functions get as `X-Connector` where neither the configuration nor the source says another.
_CONNECTOR = "faas-connector"
# Names come from outside: what is remembered by them has its limits, in number and in size.
_MOST_HEADS = 16_384
_MOST_NAMES = 4096
_LONGEST_REMEMBERED = 4096
_PER_NAME = 64
"""Bytes that a name needs in memory besides its characters."""


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
        "x-connector": ("X-Connector", config.connector or _CONNECTOR),
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


class _Head(msgspec.Struct):
    """What the heads of calls have in common whose events differ only in topic and values."""

    fixed: str
    """Request line and fields, with their line ends."""
    has_topic: bool
    """Whether `X-Topic` says the event's topic."""
    names: tuple[str, ...]
    """The event's own headers that are sent."""
    topic: str = ""
    """Of the last event, and what its head began with: the next one's is mostly the same."""
    begin: str = ""

    def filled(self, event: Event) -> str | None:
        """The head of this event's call; None where a value is not sent as it is."""
        head = self.fixed
        if self.has_topic:
            if event.topic != self.topic:
                if len(event.topic) > _LONGEST_REMEMBERED or not is_text(event.topic):
                    return None
                self.topic, self.begin = event.topic, f"{head}X-Topic: {event.topic}\r\n"
            head = self.begin
        for name in self.names:
            value: object = event.headers[name]
            if not (isinstance(value, str) and is_text(value)):
                return None
            head += f"{name}: {value}\r\n"
        return head


def _size(names: Collection[str]) -> int:
    """Bytes of memory, about."""
    return sum(map(len, names)) + _PER_NAME * len(names)


_PLACEHOLDER = "-"


class Planner:
    """Plans calls, and remembers what the heads of like calls have in common."""

    def __init__(self, client: GatewayClient, config: ControllerConfig) -> None:
        self._client = client
        self._config = config
        self._heads: dict[object, _Head] = {}

    def plan(self, function: FunctionName, event: Event, options: CallOptions) -> CallPlan:
        """How this call would be made.

        Raises:
            ConfigError: a header of the event can't be sent.
        """
        invocation = options.invocation or self._config.invocation
        target = self._client.call_target(function, invocation)
        return plan_call(self._config, target, function, event, options)

    def head(self, function: FunctionName, event: Event, options: CallOptions) -> str:
        """The request's head but for the fields that differ from call to call."""
        key = (
            function,
            event.topic != "",
            event.content_type,
            options.invocation,
            options.callback_url,
            *event.headers,
        )
        known = self._heads.get(key)
        if known is None:
            if not _DEPENDENT.isdisjoint(name.lower() for name in event.headers):
                return self._make_head(self.plan(function, event, options))
            known = self._common_head(function, event, options)
            if len(known.fixed) + _size(event.headers) <= _LONGEST_REMEMBERED:
                if len(self._heads) >= _MOST_HEADS:
                    self._heads.clear()
                self._heads[key] = known
        return known.filled(event) or self._make_head(self.plan(function, event, options))

    def _common_head(self, function: FunctionName, event: Event, options: CallOptions) -> _Head:
        like = msgspec.structs.replace(
            event,
            topic=event.topic and _PLACEHOLDER,
            headers=dict.fromkeys(event.headers, _PLACEHOLDER),
        )
        plan = self.plan(function, like, options)
        names = tuple(name for name, _ in plan.fields if name in event.headers)
        has_topic = ("X-Topic", _PLACEHOLDER) in plan.fields and "X-Topic" not in names
        varying = {*names, "X-Topic"} if has_topic else {*names}
        fixed = tuple(field for field in plan.fields if field[0] not in varying)
        return _Head(self._make_head(msgspec.structs.replace(plan, fields=fixed)), has_topic, names)

    def _make_head(self, plan: CallPlan) -> str:
        fields = (("Host", self._client.origin.host_header), *plan.fields)
        # The blank line that ends a head comes after the fields that each call adds.
        return request_head("POST", plan.target, fields)[:-2].decode("latin-1")


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
    given: object = content_type
    if given is not None and not (isinstance(given, str) and given and is_text(given)):
        raise ConfigError(
            f"content_type must be text that a header may hold, got {content_type!r}; "
            "for example 'application/json'"
        )
    return Event(topic, body, dict(headers) if headers else {}, content_type)


# What no publisher may say to a function or to the gateway (architecture: what stays out).
_OURS = _NEVER_FROM_OUTSIDE | {
    "x-callback-url",
    "x-topic",
    "x-connector",
    "x-idempotency-key",
    "authorization",
    "proxy-authorization",
    "cookie",
    # A function that is a CGI program takes it for HTTP_PROXY (https://httpoxy.org).
    "proxy",
}
_OUR_PREFIXES = ("x-event-", "x-forwarded-", "x-openfaas-", "x-function-")


def _is_ours(name: str) -> bool:
    """Whether it is one of these, for a CGI program at least: there `_` and `-` are the same."""
    plain = name.lower().replace("_", "-")
    # What says that a field of ours is base64 is ours, too.
    return plain.removesuffix("-enc") in _OURS or plain.startswith(_OUR_PREFIXES)


_known: dict[tuple[str, ...], tuple[str, ...]] = {}


def _passing(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that may come from outside; what events have in common is remembered."""
    found = _known.get(names)
    if found is None:
        found = tuple(name for name in names if not _is_ours(name))
        if _size(names) <= _LONGEST_REMEMBERED:
            if len(_known) >= _MOST_NAMES:
                _known.clear()
            _known[names] = found
    return found


def from_outside(event: Event, connector: str = "") -> Event:
    """An event that a source read, without the header fields that are ours or the gateway's.

    Args:
        event: as the source gives it.
        connector: what it goes out with as `X-Connector`; empty for what the configuration says.
    """
    headers = event.headers
    names = tuple(headers)
    passing = _passing(names)
    passes = len(passing) == len(names)
    if passes and not connector:
        return event
    kept = dict(headers) if passes else {name: headers[name] for name in passing}
    if connector:
        kept["X-Connector"] = connector
    return Event(event.topic, event.data, kept, event.content_type, event.id, event.key, event.time)
