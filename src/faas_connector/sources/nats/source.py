"""NATS: what is published to subjects, while we listen.

Subjects, queue groups: https://docs.nats.io/nats-concepts/core-nats
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from faas_connector.errors import ConfigError
from faas_connector.inbox import Inbox
from faas_connector.options import Bytes, option, settings
from faas_connector.source import Delivery, Guarantee, Pausing, Session, SourceTraits
from faas_connector.sources.checks import take_lists
from faas_connector.sources.library import beside, whole
from faas_connector.sources.nats.connection import connected
from faas_connector.sources.nats.settings import NatsSettings, check_nats, is_subject, wildcards
from faas_connector.sources.nats.subscriptions import FROM_FUNCTIONS, Subscriptions


@settings
class NatsSource(NatsSettings):
    """What is published to NATS subjects while we listen; the topic is the subject.

    Example:
        >>> NatsSource(topics=("payment.*",)).queue_group
        'openfaas_nats_worker_group'
    """

    name: str = "nats"
    """The name of this source; each one in a process needs its own."""
    topics: tuple[str, ...] = option(
        default=(FROM_FUNCTIONS,), flag="subject", env=("topics",), example="[payment.*]"
    )
    """Subjects, with `*` and `>`; `from-functions` for those that functions ask for at the time."""
    queue_group: str = "openfaas_nats_worker_group"
    """Connectors of one group divide the events; empty gives every connector every event."""
    durable: bool = False
    """Whether an event is on disk before it counts as taken, and is delivered from there."""
    max_waiting: int = 65_536
    """Events that wait to be read; further ones are dropped, counted and logged."""
    max_waiting_bytes: Bytes = 64 * 1024 * 1024
    """Of the bodies of such events."""

    def __post_init__(self) -> None:
        check_nats(self, "nats")
        take_lists(self, "topics")
        wrong = [each for each in self.topics if each != FROM_FUNCTIONS and not is_subject(each)]
        if wrong or not self.topics:
            raise ConfigError(
                f"nats.topics must be subjects, got {', '.join(wrong) or 'none'}; "
                "for example [payment.received, 'orders.*', 'audit.>']"
            )

    @property
    def traits(self) -> SourceTraits:
        """What is published while nobody listens, or finds no room, is gone."""
        return SourceTraits(
            guarantee=Guarantee.AT_MOST_ONCE, pausing=Pausing.CANNOT, journal=self.durable,
            replicas_share=bool(self.queue_group), connector="faas-connector/nats-connector",
        )  # fmt: skip

    @property
    def topic_patterns(self) -> Mapping[str, Callable[[str], bool]]:
        """The subjects with wildcards, and those that functions ask for."""
        followed = {FROM_FUNCTIONS: is_subject} if FROM_FUNCTIONS in self.topics else {}
        return {**wildcards(self.topics), **followed}

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Subscribe, and give what is published.

        Raises:
            SourceError: no server can be reached, or it refuses us or a subject.
        """
        label = f"{self.name}: {self.servers}"
        async with (
            Inbox[Delivery](session, label) as inbox,
            connected(self, inbox, session.drop) as client,
        ):
            # A member of the group would take its events from the others.
            group = "" if session.trial else self.queue_group
            subscriptions = Subscriptions(
                client, inbox, session, topics=self.topics, group=group,
                most=self.max_waiting, most_bytes=self.max_waiting_bytes,
            )  # fmt: skip
            await whole(subscriptions.follow(), f"{self.name}: subscribe")
            inbox.check()  # a subject that is not for us is refused before the flush is answered
            try:
                async with beside(f"{self.name}: follow topics", subscriptions.keep_up()):
                    yield _read(inbox, subscriptions)
            finally:
                if inbox:
                    session.drop(len(inbox), "nobody had read when it ended")


async def _read(inbox: Inbox[Delivery], subscriptions: Subscriptions) -> AsyncIterator[Delivery]:
    """What comes; what had come when the session stops, or the connection is lost, as well."""
    while not inbox.is_stopping:
        if inbox:
            yield inbox.take()
        else:
            await inbox.change()
    await subscriptions.end()
    while inbox:
        yield inbox.take()
