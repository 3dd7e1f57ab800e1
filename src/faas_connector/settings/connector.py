"""What a run is told beside its sources: the sections of the file, and their flags."""

from __future__ import annotations

import enum
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec

from faas_connector.auth import Secret
from faas_connector.config import ControllerConfig, Limits, OnFailure, Timeouts, Unmatched
from faas_connector.errors import ConfigError
from faas_connector.names import Invocation
from faas_connector.options import Bytes, Foreign, Seconds, option, settings
from faas_connector.retry import RetryPolicy
from faas_connector.settings.definition import Option, options_of

_GIB = 1024**3


def _truth(text: str) -> bool:
    # The Go connectors take exactly "true" and "1" for yes, and all else for no without a word.
    if text not in {"true", "1", "false", "0"}:
        raise ConfigError(f"{text!r} is neither true nor false; write 'true' or 'false'")
    return text in {"true", "1"}


def _route(text: str) -> str:
    return "async" if _truth(text) else "sync"


def _level(text: str) -> str:
    return "debug" if _truth(text) else "info"


class LogFormat(enum.Enum):
    """How a line of the log looks."""

    TEXT = "text"
    JSON = "json"

    @classmethod
    def _missing_(cls, value: object) -> LogFormat | None:
        return cls.TEXT if value == "console" else None  # as the existing connectors call it


class LogLevel(enum.Enum):
    """What is logged, and all that is graver."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@settings
class GatewaySettings:
    """Which gateway, and as whom."""

    url: str = option(default="http://127.0.0.1:8080", example="http://gateway.openfaas:8080")
    """Where the gateway is."""
    username: str | None = option(default=None, example="admin")
    """Its user; `admin` if only a password is given."""
    password: Secret | None = option(default=None, example='"${GATEWAY_PASSWORD}"', shown=False)
    """The user's password."""
    token: Secret | None = option(default=None, example='"${GATEWAY_TOKEN}"', shown=False)
    """A token, in place of user and password."""
    ca_file: Path | None = option(default=None, example="/etc/ssl/certs/gateway.pem")
    """Certificates to trust (PEM)."""
    tls_verify: bool = True
    """Whether the certificate is checked."""


@settings
class TopicSettings:
    """How the functions' topics are found and compared."""

    matcher: Literal["exact", "case-insensitive", "glob", "mqtt", "nats"] = "exact"
    """How topics are compared."""
    delimiter: str = option(
        default=",", env=("topic_delimiter",), flag="delimiter", empty=True, example='","'
    )
    """What separates the topics of a function's annotation; empty means nothing does."""
    rebuild_interval: Seconds = option(
        default=30.0, env=("rebuild_interval",), flag="rebuild-interval"
    )
    """Between two refreshes of the map of topics."""
    startup_timeout: Seconds = option(default=10.0, flag="startup-timeout")
    """How long the start waits for the first map."""
    forget_after: Seconds = option(default=120.0, flag="forget-after")
    """How long (and at least two refreshes) a function that vanished is remembered."""


@settings
class DefaultSettings:
    """How functions are called that declare nothing else."""

    mode: Invocation = option(
        default=Invocation.SYNC, env=(Foreign("asynchronous_invocation", _route),)
    )
    """`sync` waits for the function's answer, `async` leaves the event to the gateway's queue."""
    timeout: Seconds = option(default=60.0, env=("upstream_timeout",))
    """For one call, from sending to the end of the answer."""
    content_type: str = option(
        default=ControllerConfig().content_type, env=("content_type",), example="application/json"
    )
    """Of events whose source names none."""
    callback_url: str | None = option(
        default=None, metavar="URL", example="http://gateway.openfaas:8080/function/receiver"
    )
    """Where the queue posts results to, with `mode: async`."""
    send_topic: bool = True
    """Whether functions get `X-Topic`."""
    connector: str | None = option(default=None, metavar="NAME", example="acme/orders-connector")
    """What functions get as `X-Connector`; without it, what each source's page says."""
    retry: RetryPolicy = option(default_factory=RetryPolicy)
    """How failed calls are tried again."""
    unmatched: Unmatched = Unmatched.ACK
    """What becomes of an event that no function asks for."""
    on_failure: OnFailure = OnFailure.KEEP
    """What becomes of an event that a function failed to take for good."""
    park_after: Seconds = 5.0
    """What waits longer is written to the pending store, out of the way of others."""

    def __post_init__(self) -> None:
        if not self.timeout:
            raise ConfigError("defaults.timeout is '0', no time to wait; for example '30s'")


@settings
class StateSettings:
    """Where events are kept that have to wait, or that failed for good."""

    folder: str | None = option(
        default=None, flag="", metavar="DIR", example="/var/lib/faas-connector"
    )
    """Of the pending store; the user's own if not given, `none` for no store."""
    wait: Seconds = 60.0
    """How long to wait for another run to let go of the folder."""
    max_journal_bytes: Bytes = option(default=_GIB)
    """Of the journal; further events are refused."""


@settings
class LogSettings:
    """What is logged, and how."""

    format: LogFormat = option(default=LogFormat.TEXT, env=("log_encoding",))
    """For people, or for programs."""
    level: LogLevel = option(default=LogLevel.INFO, env=(Foreign("debug", _level),))
    """The least grave of what is shown."""
    responses: bool = option(default=False, env=("print_response",))
    """Whether each answer of a function is a line, too."""
    response_body: bool = option(default=False, env=("print_response_body",))
    """Whether that line shows what was answered."""
    request_body: bool = option(default=False, env=("print_request_body",))
    """Whether that line shows what was sent."""


@settings
class ConnectorSettings:
    """All sections of the file but the sources."""

    gateway: GatewaySettings = option(default_factory=GatewaySettings)
    """Which gateway, and as whom."""
    namespaces: tuple[str, ...] = option(default=(), example="[staging, team-*]")
    """Only their functions are called; none means all."""
    topics: TopicSettings = option(default_factory=TopicSettings, flag="")
    """How topics are found and compared."""
    defaults: DefaultSettings = option(default_factory=DefaultSettings, flag="")
    """How functions are called."""
    timeouts: Timeouts = option(default_factory=Timeouts, flag="timeout")
    """How long further things may take."""
    limits: Limits = option(default_factory=Limits, flag="")
    """How much at a time."""
    state: StateSettings = option(default_factory=StateSettings)
    """Where events wait."""
    admin: str | None = option(default=None, metavar="HOST:PORT", example="127.0.0.1:9090")
    """Where health and metrics are served; nowhere if not given."""
    log: LogSettings = option(default_factory=LogSettings)
    """What is logged."""

    def config(self) -> ControllerConfig:
        """What a controller is told of it, but for gateway, credentials and namespaces.

        Raises:
            ConfigError: the values can't work together.
        """
        topics, defaults = self.topics, self.defaults
        return ControllerConfig(
            topic_matcher=topics.matcher,
            topic_delimiter=topics.delimiter,
            rebuild_interval=topics.rebuild_interval,
            startup_timeout=topics.startup_timeout,
            forget_after=topics.forget_after,
            invocation=defaults.mode,
            content_type=defaults.content_type,
            callback_url=defaults.callback_url,
            send_topic=defaults.send_topic,
            connector=defaults.connector,
            retry=defaults.retry,
            unmatched=defaults.unmatched,
            on_failure=defaults.on_failure,
            park_after=defaults.park_after,
            timeouts=replace(self.timeouts, call=defaults.timeout),
            limits=self.limits,
        )


def connector_options() -> tuple[Option, ...]:
    """The options of every run. Those of the gateway have no flags: all commands share these."""
    found = options_of(ConnectorSettings)
    return tuple(
        msgspec.structs.replace(each, flag=None)
        if each.path[0] in {"gateway", "namespaces"}
        else each
        for each in found
        if each.path != ("timeouts", "call")  # it is `defaults.timeout`
    )
