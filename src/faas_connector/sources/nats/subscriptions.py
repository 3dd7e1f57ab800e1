"""Subscribes to what a source names, and to what functions ask for at the time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from faas_connector.event import Event
from faas_connector.inbox import Inbox
from faas_connector.matching import TopicMatcher
from faas_connector.source import Delivery, Session
from faas_connector.sources.nats.connection import headers_of
from faas_connector.sources.nats.library import Client, Error, Msg, Subscription
from faas_connector.sources.nats.settings import is_subject

FROM_FUNCTIONS = "from-functions"
_matches = TopicMatcher.of("nats")
# Seconds between two looks at what functions ask for.
_FOLLOW = 0.5


def _event(message: Msg) -> Event:
    headers = headers_of(message, {"Subject": message.subject, "Reply-To": message.reply or None})
    return Event(message.subject, message.data, headers, key=message.subject)


class Subscriptions:
    """Those of one session. Where several match, one of them takes the event."""

    def __init__(
        self,
        client: Client,
        inbox: Inbox[Delivery],
        session: Session,
        *,
        topics: tuple[str, ...],
        group: str,
        most: int,
        most_bytes: int,
    ) -> None:
        """Prepare; `follow` subscribes.

        Args:
            client: that is connected.
            inbox: gets the events.
            session: says what functions ask for, and counts what finds no room.
            topics: subjects, or `FROM_FUNCTIONS`.
            group: the queue group; empty for none.
            most: events that may wait to be read.
            most_bytes: of their bodies.
        """
        self._client, self._inbox, self._session = client, inbox, session
        self._topics, self._group = topics, group
        self._most, self._most_bytes = most, most_bytes
        self._live: dict[str, Subscription] = {}
        self._index = _matches.index(())

    async def follow(self) -> None:
        """Subscribe to what is wanted now, and to nothing else."""
        wanted = {each for each in self._topics if each != FROM_FUNCTIONS}
        if FROM_FUNCTIONS in self._topics:
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
            inbox = self._inbox
            # A queue group gets one copy of an event; without it, each subscription that matches.
            found = () if self._group else self._index.find(message.subject)
            if found and min(found) != subject:
                return
            if len(inbox) < self._most and inbox.bytes + len(message.data) <= self._most_bytes:
                inbox.put(Delivery(_event(message)))
            else:
                self._session.drop(1, "found no room: raise max_waiting, or run more connectors")

        return take

    async def keep_up(self) -> None:
        """Follow what functions ask for, until the session ends."""
        while FROM_FUNCTIONS in self._topics and not self._inbox.is_stopping:
            await asyncio.sleep(_FOLLOW)
            try:
                await self.follow()
            except Error as error:
                self._inbox.fail(error)
                return
