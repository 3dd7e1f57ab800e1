"""CloudEvents over HTTP: each is an event, in binary, structured or batched mode.

Handshake: https://github.com/cloudevents/spec, `cloudevents/http-webhook.md`, 4.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from faas_connector.cloudevents import CloudEvent, CloudEventError, received
from faas_connector.event import Event
from faas_connector.gateway.http1 import Request
from faas_connector.headers import Headers
from faas_connector.options import option, settings
from faas_connector.serving.reply import Reply
from faas_connector.source import Delivery, Once, Session, SourceTraits
from faas_connector.sources.checks import take_members
from faas_connector.sources.webhook.listening import listening
from faas_connector.sources.webhook.passing import passed, passing
from faas_connector.sources.webhook.replies import NOT_FOUND, refusal
from faas_connector.sources.webhook.settings import (
    HttpSettings,
    check_http,
    http_traits,
    patterns_of,
)
from faas_connector.sources.webhook.topics import Topics, checked_base, checked_topics, path_of

_ALLOW = ("Allow", "POST, OPTIONS")
_ONLY_POST = refusal(405, "events come by POST", _ALLOW)
_NOT_ALLOWED = refusal(403, "this origin may not send events here")
_EMPTY_BATCH = Reply(202)

Found = Reply | Sequence[tuple[Event, Once | None]]


class TopicFrom(enum.Enum):
    """The attribute that is the topic."""

    TYPE = "type"
    SOURCE = "source"
    SUBJECT = "subject"


@settings
class CloudEventsSource(HttpSettings):
    """CloudEvents that others POST, one or a batch; the topic is their type, source or subject.

    Example:
        >>> CloudEventsSource(topics=("com.example.order",)).topic_from
        <TopicFrom.TYPE: 'type'>
    """

    name: str = "cloudevents"
    """The name of this source; each one in a process needs its own."""
    topic_from: TopicFrom = TopicFrom.TYPE
    """The attribute that is the topic. Without `topics` and `topic_prefix` every one may be."""
    origins: tuple[str, ...] = option(default=("*",), example="eventgrid.azure.net")
    """Who may send events here, for the handshake (OPTIONS); `*` for everybody."""

    def __post_init__(self) -> None:
        check_http(self, "cloudevents")
        take_members(self, "cloudevents", topic_from=TopicFrom)

    @property
    def traits(self) -> SourceTraits:
        """Durable: on disk before it is acknowledged."""
        return http_traits(self, "faas-connector/cloudevents-connector")

    @property
    def topic_patterns(self) -> Mapping[str, Callable[[str], bool]]:
        """Those that begin with `topic_prefix`."""
        return patterns_of(self.topic_prefix)

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Listen, and give the events of requests.

        Raises:
            SourceError: somebody else listens there.
        """
        async with listening(self.name, self, session, _handler(self)) as events:
            yield events


def _handler(source: CloudEventsSource) -> Callable[[Request, Headers], Found]:
    base = checked_base(source.path)
    topics = checked_topics(source.topics, source.topic_prefix)
    allows = topics if source.topics or source.topic_prefix else Topics.any()
    passes = passing(source.headers)
    attribute = source.topic_from.value
    window = source.duplicate_window

    def events(request: Request, headers: Headers) -> Found:
        path = path_of(request.target)
        if path is None or base not in {path, f"{path}/"}:
            return NOT_FOUND
        if request.method == "OPTIONS":
            return handshake(headers, source.origins)
        if request.method != "POST":
            return _ONLY_POST
        try:
            found = received(headers, request.body)
        except CloudEventError as error:
            return refusal(error.status, str(error))
        more = passed(headers, passes)
        made = list[tuple[Event, Once | None]]()
        for each in found:
            topic = allows.allowed(each.attribute(attribute) or "")
            if topic is None:
                return refusal(404, f"there is no such topic here: its {attribute} says which")
            made.append((each.event(topic, more), _once(each, window)))
        return made or _EMPTY_BATCH

    return events


def _once(event: CloudEvent, window: float) -> Once | None:
    return Once(event.identity, window) if window else None


def handshake(headers: Headers, origins: Sequence[str]) -> Reply:
    """Whether the origin that asks may send events here (web hooks, 4.2)."""
    origin = headers.get("webhook-request-origin")
    if origin is None:
        return Reply(200, (_ALLOW,))
    if "*" not in origins and origin not in origins:
        return _NOT_ALLOWED
    fields = (_ALLOW, ("WebHook-Allowed-Origin", origin), ("WebHook-Allowed-Rate", "*"))
    return Reply(200, fields)
