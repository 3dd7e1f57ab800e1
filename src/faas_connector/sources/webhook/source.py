"""Webhooks: each POST is an event."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from faas_connector.errors import ConfigError
from faas_connector.event import Event
from faas_connector.gateway.http1 import Request
from faas_connector.headers import Headers, is_token
from faas_connector.options import option, settings
from faas_connector.serving.reply import Reply
from faas_connector.source import Delivery, Once, Session, SourceTraits
from faas_connector.sources.webhook.listening import listening
from faas_connector.sources.webhook.passing import content_type, passed, passing
from faas_connector.sources.webhook.replies import NOT_FOUND, refusal
from faas_connector.sources.webhook.settings import (
    HttpSettings,
    SignatureKind,
    check_http,
    http_traits,
    patterns_of,
)
from faas_connector.sources.webhook.topics import (
    Routes,
    checked_base,
    checked_paths,
    checked_topic_header,
    checked_topics,
)

_LONGEST_ID = 512
_ONLY_POST = refusal(405, "events come by POST", ("Allow", "POST"))


@settings
class WebhookSource(HttpSettings):
    """Events that others POST: `POST /{topic}`, a topic for each path, or a header with the topic.

    Example:
        >>> WebhookSource(listen="127.0.0.1:9000", topics=("payment.received",)).durable
        False
    """

    name: str = "webhook"
    """The name of this source; each one in a process needs its own."""
    paths: Mapping[str, str] = option(
        default_factory=dict[str, str], example="{/github: github.event}"
    )
    """A fixed topic for each of these paths, for example `{"/github": "github.event"}`."""
    topic_header: str = ""
    """The header that names the topic, for example `X-GitHub-Event`; requests go to `path`."""
    delivery_header: str = ""
    """The header with the sender's id of a delivery; it becomes `X-Event-Id`. With GitHub's
    signature it is `X-GitHub-Delivery`."""

    def __post_init__(self) -> None:
        if self.signature in {SignatureKind.GITHUB, "github"} and not self.delivery_header:
            object.__setattr__(self, "delivery_header", "X-GitHub-Delivery")
        check_http(self, "webhook")
        _routes(self)
        if not (self.topics or self.topic_prefix or self.paths):
            raise ConfigError(
                "webhook has no topic that may be triggered: set topics, for example to "
                "payment.received; or topic_prefix, or paths"
            )
        if self.duplicate_window and not self.delivery_header:
            raise ConfigError(
                "webhook.duplicate_window needs delivery_header, to tell what is the same; "
                "for example delivery_header='X-Request-Id'"
            )
        if self.delivery_header and not is_token(self.delivery_header):
            raise ConfigError(
                f"webhook.delivery_header must name a header, got {self.delivery_header!r}; "
                "for example 'X-Request-Id'"
            )

    @property
    def traits(self) -> SourceTraits:
        """Durable: on disk before it is acknowledged."""
        return http_traits(self, "faas-connector/webhook-connector")

    @property
    def topic_patterns(self) -> Mapping[str, Callable[[str], bool]]:
        """The topics of `paths`, and those that begin with `topic_prefix`."""
        fixed = {topic: topic.__eq__ for topic in self.paths.values()}
        return {**fixed, **patterns_of(self.topic_prefix)}

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Listen, and give the events of requests.

        Raises:
            SourceError: somebody else listens there.
        """
        async with listening(self.name, self, session, _handler(self)) as events:
            yield events


def _routes(webhook: WebhookSource) -> Routes:
    return Routes(
        checked_topics(webhook.topics, webhook.topic_prefix),
        checked_base(webhook.path),
        checked_paths(webhook.paths),
        checked_topic_header(webhook.topic_header),
    )


def _handler(
    webhook: WebhookSource,
) -> Callable[[Request, Headers], Reply | Sequence[tuple[Event, Once | None]]]:
    routes = _routes(webhook)
    passes = passing(webhook.headers)
    topic_header, id_header = webhook.topic_header, webhook.delivery_header
    window = webhook.duplicate_window

    def events(request: Request, headers: Headers) -> Reply | Sequence[tuple[Event, Once | None]]:
        if request.method != "POST":
            return _ONLY_POST
        topic = routes.topic(request.target, headers.get(topic_header) if topic_header else None)
        if topic is None:
            return NOT_FOUND
        event_id = headers.get(id_header) if id_header else None
        if event_id is not None and (len(event_id) > _LONGEST_ID or not event_id):
            event_id = None
        event = Event(
            topic,
            request.body,
            passed(headers, passes),
            content_type(headers),
            id=event_id,
        )
        once = Once(event_id, window) if window and event_id is not None else None
        return ((event, once),)

    return events
