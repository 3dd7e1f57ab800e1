"""What the Kafka source can be told."""

from __future__ import annotations

import enum
import re
from urllib.parse import urlsplit

from faas_connector.errors import ConfigError
from faas_connector.options import Bytes, Seconds, option, settings
from faas_connector.sources.broker import BrokerSettings, check_login, ssl_context
from faas_connector.sources.checks import (
    check_above_zero,
    is_host,
    take_lists,
    take_members,
    time_of,
)
from faas_connector.urls import mask_url


class Start(enum.Enum):
    """Where a group begins that has no committed offset."""

    EARLIEST = "earliest"
    LATEST = "latest"

    @classmethod
    def _missing_(cls, value: object) -> Start | None:
        """In any case, and by the words of the kafka-connector."""
        text = str(value).strip().lower()
        text = {"oldest": "earliest", "newest": "latest"}.get(text, text)
        return None if text == value else cls(text)


class OrderBy(enum.Enum):
    """What a function with `order: key` gets in order."""

    KEY = "key"
    PARTITION = "partition"
    NONE = "none"


class Sasl(enum.Enum):
    """How a user is proved."""

    PLAIN = "plain"
    SCRAM_256 = "scram-sha-256"
    SCRAM_512 = "scram-sha-512"

    @classmethod
    def _missing_(cls, value: object) -> Sasl | None:
        """In any case: Kafka's own settings say `SCRAM-SHA-512`."""
        text = str(value).lower()
        return None if text == value else cls(text)


class Assignment(enum.Enum):
    """How partitions are divided among the members of a group."""

    ROUND_ROBIN = "roundrobin"
    RANGE = "range"
    STICKY = "sticky"


@settings
class KafkaSettings(BrokerSettings):
    """Which topics are read, as whom, from where on."""

    name: str = "kafka"
    """The name of this source; each one in a process needs its own."""
    brokers: tuple[str, ...] = option(env=("broker_hosts", "broker_host"), example="[kafka:9092]")
    """`HOST:PORT` of some brokers, from which the others are found; without a port it is 9092."""
    topics: tuple[str, ...] = option(default=(), env=("topics",), example="[payment.received]")
    """The topics to read."""
    pattern: str = option(default="", example="payment\\..*")
    """Instead of `topics`: a regular expression; every topic whose name begins with a match is
    read; a later one within half a minute, from its start."""
    group: str = option(default="faas-kafka-queue-workers", env=("group",))
    """The consumer group; its members divide the partitions among them."""
    start: Start = option(default=Start.EARLIEST, env=("initial_offset",))
    """Where a group begins that has no committed offset: `earliest` or `latest`; also called
    `oldest` and `newest`."""
    start_time: str = option(default="", example="'2026-11-24T09:00:00Z'")
    """Such a group begins with the first record of this time (RFC 3339) or later instead."""
    order_by: OrderBy = OrderBy.KEY
    """What a function that asks for `order: key` gets in order: each `key`, the `partition`, or
    `none`."""
    read_committed: bool = False
    """Whether records of a transaction are read only once it is committed."""
    max_bytes: Bytes = option(default=1024 * 1024, env=("max_bytes",))
    """Fetched at once of a partition; a larger record comes all the same."""
    session_timeout: Seconds = 45.0
    """Silence after which the group gives our partitions to others; and for how long a commit is
    waited for, before the connector connects anew."""
    poll_timeout: Seconds = 300.0
    """For how long the connector may stand still before it leaves the group."""
    rebalance_wait: Seconds = 30.0
    """For how long running calls hold a rebalance up; what takes longer may be repeated."""
    instance: str = ""
    """A fixed name of this member (static membership), different on each replica: a restart within
    `session_timeout` moves no partition."""
    assignment: Assignment = Assignment.ROUND_ROBIN
    """How the group divides partitions: `roundrobin`, `range` or `sticky`; all members agree."""
    sasl: Sasl = Sasl.PLAIN
    """With `user`: how the password is proved, `plain`, `scram-sha-256` or `scram-sha-512`."""

    def __post_init__(self) -> None:
        take_members(self, "kafka", start=Start, order_by=OrderBy, sasl=Sasl, assignment=Assignment)
        take_lists(self, "brokers", "topics")
        if not self.brokers:
            raise ConfigError("kafka.brokers is empty; for example ('kafka:9092',)")
        for broker in self.brokers:
            _check_broker(broker)
        if self.topics and self.pattern:
            raise ConfigError("kafka has topics and a pattern; give one of them, not both")
        if not self.topics and not self.pattern:
            raise ConfigError("kafka needs topics or a pattern; for example topics: [payments]")
        check_login(self, "kafka")
        check_above_zero(
            self, "kafka", "session_timeout", "poll_timeout", "rebalance_wait", "max_bytes"
        )
        _check_pattern(self.pattern)
        start_time_of(self.start_time)
        ssl_context(self, "kafka")


def start_time_of(text: str) -> int | None:
    """In milliseconds since the epoch; None for none. Raises ConfigError."""
    time = time_of(text, "kafka.start_time")
    return None if time is None else int(time.timestamp() * 1000)


def _check_broker(broker: str) -> None:
    try:
        parts = urlsplit(f"//{broker}")
        host = parts.hostname
        usable = host and is_host(host) and parts.port != 0 and not set(broker) & set("/@")
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"kafka.brokers must each be HOST:PORT, got {mask_url(broker)!r}; for example "
            "kafka:9092 (TLS, user and password have options of their own)"
        )


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"kafka.pattern: {pattern!r} is no regular expression ({error}); "
            r"for example payment\..*"
        ) from None
