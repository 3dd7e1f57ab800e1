"""JetStream: what a stream of NATS holds, pulled and acknowledged one by one."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from faas_connector.errors import ConfigError
from faas_connector.inbox import Inbox
from faas_connector.options import Seconds, option, settings
from faas_connector.source import Delivery, Guarantee, Session, SourceTraits
from faas_connector.sources.checks import check_above_zero, take_lists, take_members, time_of
from faas_connector.sources.jetstream.consumer import consumer_of, forget
from faas_connector.sources.jetstream.pull import JetStreamDelivery, Pull
from faas_connector.sources.library import beside, whole
from faas_connector.sources.nats.connection import connected
from faas_connector.sources.nats.library import AckPolicy, ConsumerConfig, DeliverPolicy
from faas_connector.sources.nats.settings import NatsSettings, check_nats, wildcards


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
        guarantee=Guarantee.AT_LEAST_ONCE, confirms_acks=False, delays_nacks=True, extends=True,
        replicas_share=True, connector="faas-connector/jetstream-connector",
    )  # fmt: skip

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
        check_above_zero(self, "jetstream", "ack_wait", "max_deliver", "max_ack_pending", "batch")
        check_above_zero(self, "jetstream", "start_sequence")
        if self.start_sequence is not None and self.start_time:
            raise ConfigError("jetstream.start_sequence and start_time exclude each other")
        take_members(self, "jetstream", start=Start)
        time_of(self.start_time, "jetstream.start_time")

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
            opt_start_time=time_of(self.start_time, "jetstream.start_time"),
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
        label = f"{self.name}: {self.servers}"
        async with (
            Inbox[JetStreamDelivery](session, label) as inbox,
            connected(self, inbox, session.drop) as client,
        ):
            finding = consumer_of(
                client, self.name, self.stream, self.consumer(), create=self.create,
                domain=self.domain, trial=session.trial,
            )  # fmt: skip
            consumer = await whole(finding, f"{self.name}: find the consumer")
            pull = Pull(client, inbox, consumer, self.batch)
            try:
                await pull.begin()
                async with beside(f"extend what {self.name} holds", pull.extend()):
                    yield pull.deliveries()
            finally:
                await whole(forget(client, consumer, self.domain), f"{self.name}: tidy up")
