"""What the RabbitMQ source can be told."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from typing import cast
from urllib.parse import unquote, urlsplit

from faas_connector.auth import Secret
from faas_connector.errors import ConfigError
from faas_connector.options import Foreign, Seconds, option, settings
from faas_connector.sources.checks import check_above_zero, take_lists, take_members
from faas_connector.sources.tls import TlsSettings, ssl_context
from faas_connector.urls import mask_url

_PORTS = {"amqp": 5672, "amqps": 5671}
MOST_PREFETCHED = 65_535
"""More the protocol can't say."""


class TopicFrom(enum.Enum):
    """What functions match in their `topic` annotation."""

    QUEUE = "queue"
    ROUTING_KEY = "routing-key"

    @classmethod
    def _missing_(cls, value: object) -> TopicFrom | None:
        return cls.ROUTING_KEY if value == "routing_key" else None


class QueueType(enum.Enum):
    """How RabbitMQ keeps a queue."""

    CLASSIC = "classic"
    QUORUM = "quorum"


class ExchangeType(enum.Enum):
    """How an exchange chooses queues."""

    TOPIC = "topic"
    DIRECT = "direct"
    FANOUT = "fanout"


def _split(url: str) -> tuple[str, str, str]:
    """An address, the user and the password that it holds."""
    scheme, mark, rest = url.partition("://")
    before, _, address = rest.rpartition("@")
    user, _, password = before.partition(":")
    return f"{scheme}{mark}{address}", unquote(user), unquote(password)


def _queues(text: str) -> list[dict[str, object]]:
    """The list of the existing connector: `[{"name": "orders", "durable": true}]`."""
    try:
        found: object = json.loads(text)
    except ValueError:
        found = None
    queues = cast("list[object]", found) if isinstance(found, list) else []
    if not queues or not all(isinstance(each, dict) and "name" in each for each in queues):
        raise ConfigError('must be a JSON list such as [{"name": "orders", "durable": true}]')
    return cast("list[dict[str, object]]", queues)


def _names(text: str) -> str:
    return json.dumps([str(each["name"]) for each in _queues(text)])


def _common(field: str) -> Callable[[str], str]:
    def value(text: str) -> str:
        values = {bool(each.get(field)) for each in _queues(text)}
        if len(values) > 1:
            raise ConfigError(f"queues differ in {field}; give them sources of their own in a file")
        return str(values.pop()).lower()

    return value


@settings
class RabbitMqSettings(TlsSettings):
    """Which queues are read, as whom, and what is made where they aren't there."""

    name: str = "rabbitmq"
    """The name of this source; each one in a process needs its own."""
    url: str = option(
        default="amqp://127.0.0.1:5672",
        env=(Foreign("rabbitmq_url", lambda url: _split(url)[0]),),
        example="amqp://rabbitmq.openfaas:5672/shop",
    )
    """The broker, and the virtual host after the last `/`; `amqps://` for TLS."""
    user: str = option(
        default="guest",
        env=(Foreign("rabbitmq_url", lambda url: _split(url)[1]),),
        flag="broker-user",
    )
    """The user; empty for the one that our certificate names (EXTERNAL)."""
    password: Secret | None = option(
        default=None,
        env=(Foreign("rabbitmq_url", lambda url: _split(url)[2]),),
        flag="broker-password",
        shown=False,
    )
    """The user's password; that of `guest` is known."""
    queues: tuple[str, ...] = option(
        flag="queue", env=(Foreign("queues", _names),), example="[orders]"
    )
    """The queues to read."""
    topic_from: TopicFrom = TopicFrom.QUEUE
    """The topic is the name of the `queue`, or the `routing-key` of the message."""
    prefetch: int | None = option(default=None, example="100")
    """Messages that the broker sends before earlier ones are settled; by default as many as
    `limits.max_unsettled` allows. Several queues divide it."""
    create: bool = True
    """Whether to declare queues and exchanges that aren't there, with the options below. What is
    there is used as it is."""
    queue_type: QueueType = QueueType.CLASSIC
    """`classic`, or `quorum`: replicated, and durable always."""
    durable: bool = option(default=True, env=(Foreign("queues", _common("durable")),))
    """Whether a queue survives a restart of the broker."""
    auto_delete: bool = option(default=False, env=(Foreign("queues", _common("autodelete")),))
    """Whether a queue goes with its last consumer."""
    exclusive: bool = option(default=False, env=(Foreign("queues", _common("exclusive")),))
    """Whether a queue is for one connection alone, and goes with it."""
    delivery_limit: int | None = option(default=None, example="50")
    """How often a quorum queue delivers again what came back; then it drops the message or passes
    it to its dead-letter exchange. RabbitMQ 4 has 20 of itself."""
    bindings: tuple[str, ...] = option(default=(), flag="bind", example="['shop:order.*']")
    """`EXCHANGE:KEY` from which the queues get messages, `*` and `#` in the key as the exchange
    has it."""
    exchange_type: ExchangeType = ExchangeType.TOPIC
    """Of exchanges that are declared: `topic`, `direct` or `fanout`."""
    dead_letter_exchange: str = option(default="", example="dead-letters")
    """An exchange that gets dead letters instead of the state folder, each under its own routing
    key and confirmed; it must be there."""
    consumer_timeout: Seconds = 1800.0
    """The broker's `consumer_timeout`: it closes the channel where a message stays unsettled for
    longer, so events are parked before."""
    heartbeat: Seconds = 20.0
    """Two of these without a word, and the connection counts as lost."""
    connect_timeout: Seconds = 10.0
    """For the broker to accept us."""

    def __post_init__(self) -> None:
        take_lists(self, "queues", "bindings")
        take_members(
            self, "rabbitmq", topic_from=TopicFrom, queue_type=QueueType,
            exchange_type=ExchangeType,
        )  # fmt: skip
        self._check_url()
        check_above_zero(
            self, "rabbitmq", "prefetch", "delivery_limit", "consumer_timeout", "connect_timeout"
        )
        if not self.heartbeat >= 1:
            raise ConfigError(f"rabbitmq.heartbeat must be 1s or more, got {self.heartbeat!r}")
        if (self.prefetch or 0) > MOST_PREFETCHED:
            raise ConfigError(
                f"rabbitmq.prefetch must be {MOST_PREFETCHED} or less, got {self.prefetch}"
            )
        if not self.queues or not all(self.queues):
            raise ConfigError("rabbitmq.queues needs a name; for example ('orders',)")
        for binding in self.bindings:
            if not binding.partition(":")[0]:
                raise ConfigError(
                    f"rabbitmq.bindings must be EXCHANGE:KEY, got {binding!r}; "
                    "for example 'shop:order.*'"
                )
        if self.queue_type is QueueType.QUORUM and (self.auto_delete or self.exclusive):
            raise ConfigError("rabbitmq: a quorum queue can't be auto_delete or exclusive")
        ssl_context(self, "rabbitmq")

    def _check_url(self) -> None:
        if "@" in self.url:
            raise ConfigError(
                f"rabbitmq.url must not hold credentials, got {mask_url(self.url)!r}; use user and "
                "password_file"
            )
        parts = urlsplit(self.url)
        try:
            usable = parts.scheme in _PORTS and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise ConfigError(f"rabbitmq.url is {self.url!r}; for example amqp://127.0.0.1:5672")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or _PORTS[parts.scheme]

    @property
    def virtual_host(self) -> str:
        """`/`, or what the path of the URL says."""
        return unquote(urlsplit(self.url).path[1:]) or "/"
