"""The client library, as far as it is used here. It has no types of its own: a consumer is any."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from faas_connector.auth import text_of
from faas_connector.errors import MissingExtraError, SourceError
from faas_connector.sources.broker import ssl_context
from faas_connector.sources.kafka.decoding import forgive
from faas_connector.sources.kafka.settings import Assignment, KafkaSettings
from faas_connector.sources.library import beside, one_line, whole
from faas_connector.sources.rarely import speak_rarely

try:
    _kafka, _errors, _group_protocol, _range, _round_robin, _sticky = (
        import_module(f"aiokafka{name}")
        for name in (
            "",
            ".errors",
            ".protocol.group",
            ".coordinator.assignors.range",
            ".coordinator.assignors.roundrobin",
            ".coordinator.assignors.sticky.sticky_assignor",
        )
    )
except ImportError as missing:
    raise MissingExtraError(
        "the source kafka needs aiokafka; install it with: pip install 'faas-connector[kafka]'"
    ) from missing

forgive()

KafkaError: type[Exception] = _errors.KafkaError
"""Whatever the library or a broker complains about."""
RebalancedError: type[Exception] = _errors.CommitFailedError
"""The group has divided its partitions anew; which are ours is told by itself."""
_ASSIGNORS = {
    Assignment.ROUND_ROBIN: _round_robin.RoundRobinPartitionAssignor,
    Assignment.RANGE: _range.RangePartitionAssignor,
    Assignment.STICKY: _sticky.StickyPartitionAssignor,
}
_CLOSED: dict[type[Exception], str] = {
    _errors.TopicAuthorizationFailedError: "topic",
    _errors.GroupAuthorizationFailedError: "as a member of group",
}
# What our own warnings say better.
_SAID_BETTER = (
    "Topic %s not found in cluster metadata",
    "No partition metadata for topic %s",
    "Sending username and password in the clear",
)
# Seconds after which topics are looked for again that a pattern matches.
_NEW_TOPICS = 30.0
# Seconds in which the library usually leaves the group; where it is waiting for that, it doesn't.
_LEAVING = 0.3
# Seconds after which it would wait for a broker that doesn't answer, for as long as for any answer.
_SILENCE = 3.0
GRACE = 1.0
"""Seconds for the library to end by itself: it leaks connections where it is cancelled."""


class TopicPartition(NamedTuple):
    """A partition; equal to the library's."""

    topic: str
    partition: int


class Record(Protocol):
    """A record, as the library gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def consumer_of(kafka: KafkaSettings) -> Any:
    """An `AIOKafkaConsumer` that is not started yet."""
    speak_rarely("aiokafka", "kafka", but=_SAID_BETTER)
    heartbeat = min(3.0, kafka.session_timeout / 10)
    return _kafka.AIOKafkaConsumer(
        **connection_of(kafka),
        client_id="faas-connector",
        group_id=kafka.group,
        group_instance_id=kafka.instance or None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if kafka.read_committed else "read_uncommitted",
        max_partition_fetch_bytes=kafka.max_bytes,
        session_timeout_ms=_ms(kafka.session_timeout),
        heartbeat_interval_ms=_ms(heartbeat),
        max_poll_interval_ms=_ms(kafka.poll_timeout),
        metadata_max_age_ms=_ms(_NEW_TOPICS),
        rebalance_timeout_ms=_ms(kafka.rebalance_wait + max(10.0, kafka.session_timeout)),
        partition_assignment_strategy=[_ASSIGNORS[kafka.assignment]],
    )


async def partitions_of(consumer: Any, topics: Iterable[str]) -> list[TopicPartition]:
    """All partitions of topics. Raises KafkaError."""
    names = list(topics)
    # The library asks on its own for those only that it has subscribed to.
    await consumer._client.set_topics(names)  # noqa: SLF001
    return [
        TopicPartition(name, number)
        for name in names
        for number in consumer.partitions_for_topic(name) or ()
    ]


async def check_group(consumer: Any, group: str) -> None:
    """Ask whether we might be a member, with a sign of life of one that nobody knows.

    Raises:
        KafkaError: we may not.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    await coordinator.ensure_coordinator_known()
    answer = await coordinator._send_req(_group_protocol.HeartbeatRequest(group, -1, ""))  # noqa: SLF001
    if answer.error_code == _errors.GroupAuthorizationFailedError.errno:
        raise _errors.GroupAuthorizationFailedError(group)


async def commit(consumer: Any, offsets: Mapping[TopicPartition, int]) -> None:
    """Commit them. Raises KafkaError."""
    try:
        await consumer.commit(offsets)
    except _errors.IllegalStateError:
        # Where other topics match a pattern, the library takes nothing from then on, though the
        # group does until it has divided them anew.
        known = {tp: _kafka.structs.OffsetAndMetadata(at, "") for tp, at in offsets.items()}
        await consumer._coordinator.commit_offsets(None, known)  # noqa: SLF001


async def leave(consumer: Any) -> None:
    """Leave the group, and close what is open; a broker that is silent isn't waited for."""
    try:
        async with asyncio.timeout(_SILENCE), beside("stop joining", _stop_joining(consumer)):
            await whole(consumer.stop(), "leave Kafka", grace=GRACE)
    except (SourceError, TimeoutError):
        # The library cancels itself, too, where a fetch has just failed. What it hasn't ended then,
        # it leaves open.
        for end in _ends(consumer):
            with contextlib.suppress(SourceError, TimeoutError):
                async with asyncio.timeout(GRACE):
                    await whole(end(), "close Kafka")


def _ends(consumer: Any) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
    if (coordinator := consumer._coordinator) is not None:  # noqa: SLF001
        yield coordinator._stop_heartbeat_task  # noqa: SLF001
        yield coordinator._stop_commit_offsets_refresh_task  # noqa: SLF001
    if (fetcher := consumer._fetcher) is not None:  # noqa: SLF001
        yield fetcher.close
    yield consumer._client.close  # noqa: SLF001


async def _stop_joining(consumer: Any) -> None:
    """Have the group answer where we still wait for it: the library would until it does."""
    await asyncio.sleep(_LEAVING)
    coordinator = consumer._coordinator  # noqa: SLF001
    if coordinator is not None and coordinator.member_id:
        request = _group_protocol.LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
        with contextlib.suppress(KafkaError):
            # Not on the connection of the group, on which it answers one after another.
            await consumer._client.send(coordinator.coordinator_id, request)  # noqa: SLF001


def register_listener(listener: type) -> None:
    """Let the library take instances of this class for its listeners."""
    _kafka.ConsumerRebalanceListener.register(listener)


def connection_of(kafka: KafkaSettings) -> dict[str, Any]:
    """What the library is told of the brokers, and of how to connect to them."""
    context = ssl_context(kafka, kafka.name)
    found: dict[str, Any] = {"bootstrap_servers": list(kafka.brokers), "ssl_context": context}
    protocol = "PLAINTEXT" if context is None else "SSL"
    if kafka.password is not None:
        protocol = "SASL_PLAINTEXT" if context is None else "SASL_SSL"
        found["sasl_mechanism"] = kafka.sasl.value.upper()
        found["sasl_plain_username"] = kafka.user
        found["sasl_plain_password"] = text_of(kafka.password)
    return found | {"security_protocol": protocol}


def reason_of(error: Exception) -> str:
    """What the library said, in one line."""
    for kind, what in _CLOSED.items():
        if isinstance(error, kind) and error.args:
            names = error.args[0]
            named = names if isinstance(names, str) else ", ".join(sorted(names))
            return f"this user may not read {what} {named}; allow it the operation Read"
    said = one_line(error)
    is_clear = isinstance(error, KafkaError | OSError) or said == type(error).__name__
    return said if is_clear else f"{type(error).__name__}: {said}"


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
