"""NATS: what is published to subjects, while we listen.

Subjects, queue groups: https://docs.nats.io/nats-concepts/core-nats
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from faas_connector.errors import ConfigError
from faas_connector.event import Event
from faas_connector.matching import TopicMatcher
from faas_connector.options import Bytes, option, settings
from faas_connector.source import Delivery, Guarantee, Pausing, Session, SourceTraits
from faas_connector.sources.checks import take_lists
from faas_connector.sources.nats_connection import (
    Client,
    Error,
    Inbox,
    Msg,
    NatsSettings,
    Subscription,
    check_nats,
    connected,
    headers_of,
    wildcards,
)
from faas_connector.sources.whole import whole

FROM_FUNCTIONS = "from-functions"
_matches = TopicMatcher.of("nats")
# Seconds between two looks at what functions ask for.
_FOLLOW = 0.5


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
        async with connected(self, session) as (client, inbox):
            subscriptions = _Subscriptions(self, client, inbox, session)
            await whole(subscriptions.follow(), f"{self.name}: subscribe")
            inbox.check()  # a subject that is not for us is refused before the flush is answered
            following = asyncio.create_task(subscriptions.keep_up(), name="follow topics")
            try:
                yield _read(inbox, subscriptions)
            finally:
                following.cancel()
                await asyncio.wait([following])
                if inbox.messages:
                    session.drop(len(inbox.messages), "nobody had read when it ended")


async def _read(inbox: Inbox, subscriptions: _Subscriptions) -> AsyncIterator[Delivery]:
    while not inbox.stopping:
        while inbox.messages and not inbox.stopping:
            yield Delivery(_event(inbox.take()))
        if not inbox.stopping:
            await inbox.change()
    await subscriptions.end()
    while inbox.messages:
        yield Delivery(_event(inbox.take()))


def _event(message: Msg) -> Event:
    reply = {"Reply_To": message.reply} if message.reply else {}
    headers = headers_of(message, Subject=message.subject, **reply)
    return Event(message.subject, message.data, headers, key=message.subject)


def is_subject(text: str) -> bool:
    """Whether one may subscribe to it."""
    *before, last = text.split(".")
    return text.isprintable() and " " not in text and all(before) and bool(last) and (
        ">" not in before
    )  # fmt: skip


class _Subscriptions:
    """Those of one session. Where several match, one of them takes the event."""

    def __init__(self, source: NatsSource, client: Client, inbox: Inbox, session: Session) -> None:
        self._source, self._client = source, client
        self._inbox, self._session = inbox, session
        # A member of the group would take its events from the others.
        self._group = "" if session.trial else source.queue_group
        self._live: dict[str, Subscription] = {}
        self._index = _matches.index(())

    async def follow(self) -> None:
        """Subscribe to what is wanted now, and to nothing else."""
        wanted = {each for each in self._source.topics if each != FROM_FUNCTIONS}
        if FROM_FUNCTIONS in self._source.topics:
            wanted |= {each for each in self._session.topics() if is_subject(each)}
        if wanted == self._live.keys():
            return
        index = _matches.index(sorted(wanted))
        if not self._live:
            self._index = index
        # Where one wildcard takes another's place, there is always one of them.
        for subject in sorted(wanted - self._live.keys()):
            self._live[subject] = await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType]
                subject, queue=self._group, cb=self._taker(subject)
            )
        await self._client.flush()
        self._index = index
        for subject in self._live.keys() - wanted:
            await self._live.pop(subject).drain()  # type: ignore[no-untyped-call]

    async def end(self) -> None:
        """Let the server send nothing more; what it has sent is taken."""
        with contextlib.suppress(Error, TimeoutError):
            for subscription in self._live.values():
                await subscription.drain()  # type: ignore[no-untyped-call]

    def _taker(self, subject: str) -> Callable[[Msg], Awaitable[None]]:
        async def take(message: Msg) -> None:
            inbox, source = self._inbox, self._source
            # A queue group gets one copy of an event; without it, each subscription that matches.
            found = () if self._group else self._index.find(message.subject)
            if found and min(found) != subject:
                return
            if (
                len(inbox.messages) < source.max_waiting
                and inbox.bytes + len(message.data) <= source.max_waiting_bytes
            ):
                inbox.put(message)
            else:
                self._session.drop(1, "found no room: raise max_waiting, or run more connectors")

        return take

    async def keep_up(self) -> None:
        """Follow what functions ask for, until the session ends."""
        while FROM_FUNCTIONS in self._source.topics and not self._inbox.stopping:
            await asyncio.sleep(_FOLLOW)
            try:
                await self.follow()
            except Error as error:
                self._inbox.fail(error)
                return
