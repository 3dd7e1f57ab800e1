"""JetStream: what a stream of NATS holds, pulled and acknowledged one by one.

Consumers, pulling: https://docs.nats.io/nats-concepts/jetstream/consumers and
https://github.com/nats-io/nats-architecture-and-design, ADR-13.
"""

from __future__ import annotations

import asyncio
import enum
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from faas_connector.errors import ConfigError, SourceError
from faas_connector.event import Event
from faas_connector.options import Seconds, option, settings
from faas_connector.source import Delivery, Guarantee, Session, SourceTraits
from faas_connector.sources.checks import check_above_zero, take_lists, take_members
from faas_connector.sources.nats_connection import (
    Client,
    Error,
    Inbox,
    Msg,
    NatsSettings,
    check_nats,
    connected,
    headers_of,
    wildcards,
)
from faas_connector.sources.nats_consumer import (
    AckPolicy,
    Consumer,
    ConsumerConfig,
    DeliverPolicy,
    consumer_of,
    forget,
)
from faas_connector.sources.whole import whole

_log = logging.getLogger("faas_connector.source")

# Seconds that a request for events stays open, and that its end may be late.
_EXPIRES, _LATE = 30.0, 10.0
_OVER = ("404", "408")
_PASSING = ("leadership change", "server shutdown", "message size", "maxwaiting")


class Start(enum.Enum):
    """Where a consumer that is created begins."""

    ALL = "all"
    """With the oldest event of the stream."""
    NEW = "new"
    """With what is published from then on."""
    LAST = "last"
    """With the newest event of the stream."""
    LAST_PER_SUBJECT = "last-per-subject"
    """With the newest event of each subject."""


@settings
class JetStreamSource(NatsSettings):
    """What a JetStream stream holds, through a durable consumer; the topic is the subject.

    Example:
        >>> JetStreamSource(stream="ORDERS").start
        <Start.ALL: 'all'>
    """

    name: str = "jetstream"
    """The name of this source; each one in a process needs its own."""
    stream: str = option(example="ORDERS")
    """The stream; it must be there."""
    durable: str = "faas-connector"
    """The durable consumer, which connectors that divide the events share. One that is there is
    used as it is; the options below are for one that is created."""
    create: bool = True
    """Whether to create the consumer where there is none."""
    subjects: tuple[str, ...] = option(default=(), flag="subject", example="[orders.new]")
    """Only events of these subjects, with `*` and `>`; several need nats-server 2.10."""
    start: Start = Start.ALL
    """Where to begin: `all`, `new`, `last` or `last-per-subject`."""
    start_sequence: int | None = option(default=None, example="1000")
    """Begin with the event of this number instead."""
    start_time: str = option(default="", example="'2026-01-31T12:00:00Z'")
    """Begin with the first event that was stored at this time or later instead."""
    ack_wait: Seconds = 30.0
    """For an event to be settled or extended; then the server delivers it again."""
    max_deliver: int | None = option(default=None, example="10")
    """How often the server delivers an event before it gives it up for good; not limited, unless
    given."""
    max_ack_pending: int = 1000
    """Events that all connectors together may have unsettled."""
    batch: int = 64
    """Events that are asked for at a time."""
    domain: str = ""
    """The JetStream domain, where the stream is not in the server's own."""

    traits = SourceTraits(
        guarantee=Guarantee.AT_LEAST_ONCE,
        delays_nacks=True,
        extends=True,
        replicas_share=True,
        connector="faas-connector/jetstream-connector",
    )

    def __post_init__(self) -> None:
        check_nats(self, "jetstream")
        take_lists(self, "subjects")
        for field in ("stream", "durable"):
            value = getattr(self, field)
            if not value or not value.isprintable() or set(value) & set(" .*>/\\"):
                raise ConfigError(
                    f"jetstream.{field} must be a name without blanks and '.*>/\\', got {value!r}; "
                    "for example ORDERS"
                )
        check_above_zero(
            self, "jetstream", "ack_wait", "max_deliver", "max_ack_pending", "batch",
            "start_sequence",
        )  # fmt: skip
        if self.start_sequence is not None and self.start_time:
            raise ConfigError("jetstream.start_sequence and start_time exclude each other")
        take_members(self, "jetstream", start=Start)
        _time(self.start_time)

    def consumer(self) -> ConsumerConfig:
        """The consumer to create, in the words of the protocol."""
        policy, subjects = self.start.value.replace("-", "_"), self.subjects
        if self.start_sequence is not None:
            policy = "by_start_sequence"
        elif self.start_time:
            policy = "by_start_time"
        elif self.start is Start.LAST_PER_SUBJECT and not subjects:
            subjects = (">",)  # it has to be said
        return ConsumerConfig(
            durable_name=self.durable,
            deliver_policy=DeliverPolicy(policy),
            opt_start_seq=self.start_sequence,
            opt_start_time=_time(self.start_time),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait,
            max_deliver=self.max_deliver,
            max_ack_pending=self.max_ack_pending,
            filter_subject=subjects[0] if len(subjects) == 1 else None,
            filter_subjects=list(subjects) if len(subjects) > 1 else None,
        )

    @property
    def topics(self) -> tuple[str, ...]:
        """The subjects of its events, where they are given."""
        return self.subjects

    @property
    def topic_patterns(self) -> Mapping[str, Callable[[str], bool]]:
        """The subjects with wildcards."""
        return wildcards(self.subjects)

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Find or create the consumer, and pull.

        Raises:
            SourceError: no server can be reached, it refuses us, or the stream is not there.
        """
        async with connected(self, session) as (client, inbox):
            finding = consumer_of(
                client, self.name, self.stream, self.consumer(), create=self.create,
                domain=self.domain, trial=session.trial,
            )  # fmt: skip
            consumer = await whole(finding, f"{self.name}: find the consumer")
            pull = _Pull(client, inbox, consumer, self.batch)
            subscription = await client.subscribe(  # pyright: ignore[reportUnknownMemberType]
                pull.address, cb=pull.take
            )
            extending = asyncio.create_task(pull.extend(), name=f"extend what {self.name} holds")
            try:
                yield pull.deliveries(subscription.drain)
            finally:
                extending.cancel()
                await asyncio.wait([extending])
                await whole(forget(client, consumer, self.domain), f"{self.name}: tidy up")


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        found = datetime.min  # noqa: DTZ901 - refused below
    if found is not None and found.tzinfo is None:
        raise ConfigError(
            f"jetstream.start_time must be a time with its zone, got {text!r}; "
            "for example 2026-01-31T12:00:00Z"
        )
    return found


class _Pull:
    """Asks for events whenever there is room for them."""

    def __init__(self, client: Client, inbox: Inbox, consumer: Consumer, batch: int) -> None:
        self.address = client.new_inbox()
        self._client, self._inbox, self._consumer, self._batch = client, inbox, consumer, batch
        self._asked = 0
        """Events that the server may still send without being asked again."""

    async def take(self, message: Msg) -> None:
        if message.reply.startswith("$JS.ACK."):
            self._asked -= 1
            self._inbox.put(message)
        elif message.headers:
            self._end_of_request(message.headers)

    def _end_of_request(self, status: dict[str, str]) -> None:
        code, said = status.get("Status", ""), status.get("Description", "")
        if code == "100":
            return
        self._asked = 0
        self._inbox.wake()
        if code == "503":
            self._inbox.fail(f"nobody answers for {self._consumer.label}; is it still there?")
        elif code not in _OVER and not any(each in said.lower() for each in _PASSING):
            self._inbox.fail(f"{self._consumer.label}: {said or code}")

    async def _ask(self) -> None:
        if self._asked <= 0 and len(self._inbox.messages) <= self._batch // 2:
            self._asked = self._batch
            request = {"batch": self._batch, "expires": int(_EXPIRES * 1e9)}
            await self._client.publish(
                self._consumer.next_subject, json.dumps(request).encode(), reply=self.address
            )

    async def deliveries(self, drain: Callable[[], Awaitable[None]]) -> AsyncIterator[Delivery]:
        """What the server sends, until the session stops; what nobody read goes back to it."""
        inbox = self._inbox
        try:
            while not inbox.stopping:
                inbox.check()
                await self._ask()
                if inbox.messages:
                    yield JetStreamDelivery(inbox.take(), self._consumer)
                    continue
                async with asyncio.timeout(_EXPIRES + _LATE):
                    await inbox.change()
            await drain()
            while inbox.messages:
                await inbox.take().nak()
        except TimeoutError:
            raise SourceError(f"{self._consumer.label}: the server is silent") from None
        except Error as error:
            raise SourceError(f"{self._consumer.label}: {error}") from None

    async def extend(self) -> None:
        """Keep the server from delivering again what waits here to be read."""
        while True:
            await asyncio.sleep(self._consumer.shortest_deadline / 3)
            for message in tuple(self._inbox.messages):
                try:
                    await message.in_progress()
                except Error as error:
                    self._inbox.fail(error)
                    return


class JetStreamDelivery(Delivery):
    """An event of a stream, unsettled at its consumer."""

    __slots__ = ("_message",)

    def __init__(self, message: Msg, consumer: Consumer) -> None:
        found = message.metadata
        stream, sequence, count = found.stream, found.sequence.stream, found.num_delivered
        # A stream that is made anew counts from 1 again; the time tells them apart.
        stored = message.reply.split(".")[-2]
        headers = headers_of(
            message, Stream=stream, Consumer=found.consumer, Sequence=str(sequence),
            Delivered=str(count), Timestamp=found.timestamp.isoformat(),
        )  # fmt: skip
        event_id: str | None = (message.headers or {}).get("Nats-Msg-Id")
        subject = message.subject
        super().__init__(
            Event(subject, message.data, headers, id=event_id, key=subject, time=found.timestamp),
            position=f"{stream}/{sequence}/{stored}",
            redelivered=count > 1,
            count=count,
            deadline=consumer.deadline(count),
        )
        self._message = message
        if consumer.max_deliver is not None and count >= consumer.max_deliver:
            _log.warning(
                "%s delivers event %d for the last time (max_deliver is %d)",
                consumer.label, sequence, consumer.max_deliver,
            )  # fmt: skip

    async def ack(self) -> None:
        """Tell the server that it is done."""
        await _sent(self._message.ack())

    async def nack(self, delay: float = 0.0) -> None:
        """Have the server deliver it again."""
        await _sent(self._message.nak(delay))

    async def reject(self) -> None:
        """Have the server deliver it to nobody again."""
        await _sent(self._message.term())

    async def extend(self) -> None:
        """Start `ack_wait` anew."""
        await _sent(self._message.in_progress())


async def _sent(sending: Awaitable[None]) -> None:
    try:
        await sending
    except Error as error:
        raise SourceError(f"jetstream: can't be settled: {error}") from None
