"""The settings of a controller, checked when they are constructed."""

from __future__ import annotations

import enum
import re
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, fields
from typing import cast

from faas_connector._version import __version__
from faas_connector.auth import Auth
from faas_connector.errors import ConfigError
from faas_connector.headers import is_text
from faas_connector.matching import TopicMatcher
from faas_connector.names import Invocation
from faas_connector.options import Bytes, Seconds, option, settings
from faas_connector.retry import RetryPolicy
from faas_connector.urls import check_callback_url, check_gateway_url, mask_url

_NAMESPACE = re.compile(r"[-a-zA-Z0-9_.*]+")


def _positive(name: str, value: object, example: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ConfigError(f"{name} must be a number above 0, got {value!r}; for example {example}")


def _whole(name: str, value: object, example: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(
            f"{name} must be a whole number, 1 or more, got {value!r}; for example {example}"
        )


class Unmatched(enum.Enum):
    """What becomes of an event that no function asks for."""

    ACK = "ack"
    """It is counted and acknowledged."""
    HOLD = "hold"
    """It is parked until a function asks for it, for at most `retry.max_age`."""
    DEAD_LETTER = "dead-letter"
    """It becomes a dead letter."""


class OnFailure(enum.Enum):
    """What becomes of an event that a function failed to take for good."""

    KEEP = "keep"
    """It becomes a dead letter in the store."""
    DROP = "drop"
    """It is counted, logged as an error, and dropped."""
    STOP = "stop"
    """The run ends with an error, and the event is left unsettled."""


@settings
class Timeouts:
    """Seconds that things may take."""

    connect: Seconds = 5.0
    """To connect to the gateway, TLS included."""
    call: Seconds = 60.0
    """For one call of a function, from sending to the end of the answer."""
    read: Seconds | None = None
    """Between two bytes of an answer; None for no limit but `call`."""
    system: Seconds = option(default=10.0, env=("rebuild_timeout",))
    """For one request to the gateway's own `/system` routes."""
    cold_start: Seconds = 120.0
    """In a run: for the first call of a function that sleeps or never answered, if above `call`."""
    drain: Seconds | None = None
    """For what is in flight to be settled at a stop; None means `call`, 0 aborts at once."""
    subscribers: Seconds = 10.0
    """For subscribers to get what is queued when the controller is left; 0 drops it at once."""

    def __post_init__(self) -> None:
        _positive("timeouts.connect", self.connect, "5.0")
        _positive("timeouts.call", self.call, "60.0")
        _positive("timeouts.system", self.system, "10.0")
        if self.read is not None:
            _positive("timeouts.read", self.read, "30.0")
        _positive("timeouts.cold_start", self.cold_start, "120.0")
        if self.drain is not None and (self.drain != 0 or isinstance(self.drain, bool)):
            _positive("timeouts.drain", self.drain, "30.0, or 0 to abort at once")
        if self.subscribers != 0 or isinstance(self.subscribers, bool):
            _positive("timeouts.subscribers", self.subscribers, "10.0, or 0 to drop what is queued")


@settings
class Limits:
    """How much may be under way or held at a time."""

    max_in_flight: int = 64
    """Calls running at a time, each on a connection of its own; further ones wait their turn."""
    max_unsettled: int = 1000
    """Events of one source that are read and not settled; no more are read meanwhile."""
    max_unsettled_bytes: Bytes = 64 * 1024 * 1024
    """Bytes of such events."""
    concurrency: int | None = None
    """Calls of one function at a time, where it declares nothing; None for `max_in_flight`."""
    max_concurrency: int | None = None
    """The most calls of one function at a time, whatever it declares; None for no ceiling."""
    max_attempts: int | None = None
    """The most attempts, whatever a function declares; None for no ceiling."""
    max_wait: Seconds | None = None
    """The most seconds of backoff, whatever a function declares; None for no ceiling."""
    max_timeout: Seconds | None = None
    """The most seconds for one call, whatever a function declares; None for no ceiling."""
    max_response_bytes: Bytes = 1024 * 1024
    """Bytes of one answer's body; a longer one is an error."""
    subscriber_items: int = 1000
    """Responses queued for one subscriber."""
    subscriber_bytes: Bytes = 64 * 1024 * 1024
    """Bytes of events and answers queued for one subscriber."""

    def __post_init__(self) -> None:
        _whole("limits.max_in_flight", self.max_in_flight, "64")
        _whole("limits.max_unsettled", self.max_unsettled, "1000")
        _whole("limits.max_unsettled_bytes", self.max_unsettled_bytes, "67108864")
        for name in ("concurrency", "max_concurrency", "max_attempts"):
            if (value := getattr(self, name)) is not None:
                _whole(f"limits.{name}", value, "16")
        for name in ("max_wait", "max_timeout"):
            if (value := getattr(self, name)) is not None:
                _positive(f"limits.{name}", value, "300.0")
        _whole("limits.max_response_bytes", self.max_response_bytes, "1048576")
        _whole("limits.subscriber_items", self.subscriber_items, "1000")
        _whole("limits.subscriber_bytes", self.subscriber_bytes, "67108864")


@settings
class ControllerConfig:
    """Everything a controller can be told. The defaults are safe in production.

    Raises:
        ConfigError: a value can't work, or there is no such option.

    Example:
        >>> ControllerConfig(gateway_url="http://gateway.openfaas:8080").rebuild_interval
        30.0
    """

    gateway_url: str = "http://127.0.0.1:8080"
    """Where the gateway is; a base path is kept, a trailing slash is not."""
    auth: Auth | None = field(default=None)
    """Credentials for `/system` requests: `BasicAuth`, `BearerToken`, or your own."""
    tls: ssl.SSLContext | None = None
    """For https: CA, client certificate; None means the system's CAs."""
    namespaces: str | Sequence[str] | None = None
    """None for all; else one or several, exact or with `*` (`"team-*"`). Read back as a tuple."""
    rebuild_interval: Seconds = 30.0
    """Seconds between two refreshes of the topic map."""
    startup_timeout: Seconds = 10.0
    """Seconds that entering the controller waits for the first map."""
    forget_after: Seconds = 120.0
    """Seconds (and at least two refreshes) that a function which vanished is remembered."""
    topic_delimiter: str = ","
    """What separates topics in a function's `topic` annotation; empty means nothing does."""
    topic_matcher: TopicMatcher | Callable[[str, str], bool] | str = TopicMatcher.EXACT
    """A `TopicMatcher`, its name, or a callable `(topic, pattern) -> bool`."""
    invocation: Invocation = Invocation.SYNC
    """The route of calls that don't say."""
    callback_url: str | None = None
    """Where the gateway's queue posts results to; on the asynchronous route only."""
    content_type: str = "text/plain"
    """`Content-Type` of events that don't say."""
    user_agent: str = f"faas-connector/{__version__}"
    """`User-Agent` of every request."""
    connector: str | None = None
    """`X-Connector` of every call, by custom `<vendor>/<name>-connector`; None for what the source
    of the event says (`SourceTraits.connector`), else `faas-connector`."""
    send_topic: bool = True
    """Whether calls carry `X-Topic`."""
    retry: RetryPolicy = RetryPolicy()
    """How a run tries failed calls again, where a function declares nothing else."""
    park_after: Seconds = 5.0
    """Seconds of waiting from which on an event waits in the store, not in memory."""
    unmatched: Unmatched = Unmatched.ACK
    """What becomes of an event that no function asks for."""
    on_failure: OnFailure = OnFailure.KEEP
    """What becomes of an event that a function failed to take for good."""
    timeouts: Timeouts = Timeouts()
    """Seconds that requests and leaving may take."""
    limits: Limits = Limits()
    """How much may be under way or held at a time."""

    def __post_init__(self) -> None:
        check_gateway_url(self.gateway_url)
        _positive("rebuild_interval", self.rebuild_interval, "30.0")
        _positive("startup_timeout", self.startup_timeout, "10.0")
        _positive("forget_after", self.forget_after, "120.0")
        self._check_namespaces()
        if self.callback_url is not None:
            check_callback_url(self.callback_url)
        _check_text("content_type", self.content_type, "application/json")
        _check_text("user_agent", self.user_agent, "acme-connector/1.0")
        if self.connector is not None:
            _check_text("connector", self.connector, "acme/orders-connector")
        _instance("topic_delimiter", self.topic_delimiter, str, "','")
        _instance("send_topic", self.send_topic, bool, "False")
        _instance("invocation", self.invocation, Invocation, "Invocation.ASYNC")
        _instance("retry", self.retry, RetryPolicy, "RetryPolicy(attempts=10)")
        _positive("park_after", self.park_after, "5.0")
        _instance("unmatched", self.unmatched, Unmatched, "Unmatched.HOLD")
        _instance("on_failure", self.on_failure, OnFailure, "OnFailure.DROP")
        _instance("timeouts", self.timeouts, Timeouts, "Timeouts(call=30.0)")
        _instance("limits", self.limits, Limits, "Limits(max_in_flight=256)")
        if self.tls is not None:
            _instance("tls", self.tls, ssl.SSLContext, "ssl.create_default_context()")
        if self.auth is not None:
            _check_auth(self.auth)
        object.__setattr__(self, "topic_matcher", TopicMatcher.of(self.topic_matcher))

    def _check_namespaces(self) -> None:
        if self.namespaces is None:
            return
        found = namespace_names(self.namespaces)
        if not found:
            raise _no_namespaces(self.namespaces)
        object.__setattr__(self, "namespaces", found)

    def __repr__(self) -> str:
        shown = (f"{each.name}={mask_url(getattr(self, each.name))!r}" for each in fields(self))
        return f"ControllerConfig({', '.join(shown)})"

    @property
    def matcher(self) -> TopicMatcher:
        """`topic_matcher`, whichever way it was given."""
        return TopicMatcher.of(self.topic_matcher)

    @property
    def namespace_patterns(self) -> tuple[str, ...]:
        """`namespaces` as a tuple, empty for all."""
        if self.namespaces is None:
            return ()
        return (self.namespaces,) if isinstance(self.namespaces, str) else tuple(self.namespaces)


def namespace_names(given: object) -> tuple[str, ...]:
    """One namespace or several, as a tuple, each once.

    Raises:
        ConfigError: they are no names.
    """
    names: tuple[object, ...] = (given,)
    refusal = _no_namespaces(given)
    if isinstance(given, Iterable) and not isinstance(given, str):
        names = tuple(cast("Iterable[object]", given))
    found = [name.strip() for name in names if isinstance(name, str)]
    if len(found) < len(names) or not all(map(_NAMESPACE.fullmatch, found)):
        raise refusal
    return tuple(dict.fromkeys(found))


def _no_namespaces(given: object) -> ConfigError:
    return ConfigError(
        f"namespaces must be None, a name or a list of names, got {given!r}; "
        "for example 'openfaas-fn' or ['staging', 'team-*']"
    )


def _instance(name: str, value: object, wanted: type, example: str) -> None:
    if not isinstance(value, wanted):
        raise ConfigError(
            f"{name} must be of type {wanted.__name__}, got {value!r}; for example {example}"
        )


def _check_auth(auth: object) -> None:
    # The value itself may hold a password.
    got = f"the class {auth.__name__}" if isinstance(auth, type) else f"a {type(auth).__name__}"
    if isinstance(auth, type) or not (callable(auth) or hasattr(auth, "headers")):
        raise ConfigError(
            f"auth must be a callable or have headers(), got {got}; "
            "for example BasicAuth('admin', password)"
        )


def _check_text(name: str, value: object, example: str) -> None:
    if not isinstance(value, str) or not value or not is_text(value):
        raise ConfigError(
            f"{name} must be text that a header may hold, got {value!r}; for example {example!r}"
        )
