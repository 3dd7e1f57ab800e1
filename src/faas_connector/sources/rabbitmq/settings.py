"""What the RabbitMQ source can be told."""

from __future__ import annotations

import enum
from urllib.parse import unquote, urlsplit

from faas_connector.auth import Secret
from faas_connector.errors import ConfigError
from faas_connector.options import Seconds, option, settings
from faas_connector.sources.broker import BrokerSettings, ssl_context
from faas_connector.sources.checks import check_above_zero, check_url, take_lists, take_members
from faas_connector.sources.rabbitmq import foreign

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


@settings
class RabbitMqSettings(BrokerSettings):
    """Which queues are read, as whom, and what is made where they aren't there."""

    name: str = "rabbitmq"
    """The name of this source; each one in a process needs its own."""
    url: str = option(
        default="amqp://127.0.0.1:5672",
        env=(foreign.URL,),
        example="amqp://rabbitmq.openfaas:5672/shop",
    )
    """The broker, and the virtual host after the last `/`; `amqps://` for TLS."""
    user: str = option(default="guest", env=(foreign.USER,), flag="broker-user")
    """The user; empty for the one that our certificate names (EXTERNAL)."""
    password: Secret | None = option(
        default=None, env=(foreign.PASSWORD,), flag="broker-password", shown=False
    )
    """The user's password; that of `guest` is known."""
    queues: tuple[str, ...] = option(flag="queue", env=(foreign.QUEUES,), example="[orders]")
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
    durable: bool = option(default=True, env=(foreign.DURABLE,))
    """Whether a queue survives a restart of the broker."""
    auto_delete: bool = option(default=False, env=(foreign.AUTO_DELETE,))
    """Whether a queue goes with its last consumer."""
    exclusive: bool = option(default=False, env=(foreign.EXCLUSIVE,))
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
    """Three of these without a word, and the connection counts as lost."""
    connect_timeout: Seconds = 10.0
    """For the broker to accept us."""

    def __post_init__(self) -> None:
        take_lists(self, "queues", "bindings")
        take_members(
            self, "rabbitmq", topic_from=TopicFrom, queue_type=QueueType,
            exchange_type=ExchangeType,
        )  # fmt: skip
        check_url(self.url, "rabbitmq.url", _PORTS, "amqp://127.0.0.1:5672")
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
            exchange, colon, _ = binding.partition(":")
            if not (exchange and colon):
                raise ConfigError(
                    f"rabbitmq.bindings must be EXCHANGE:KEY, got {binding!r}; "
                    "for example 'shop:order.*', or 'shop:' for the empty key"
                )
        if self.queue_type is QueueType.QUORUM and (self.auto_delete or self.exclusive):
            raise ConfigError("rabbitmq: a quorum queue can't be auto_delete or exclusive")
        ssl_context(self, "rabbitmq")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or _PORTS[parts.scheme]

    @property
    def virtual_host(self) -> str:
        """`/`, or what the path of the URL says."""
        return unquote(urlsplit(self.url).path[1:]) or "/"
