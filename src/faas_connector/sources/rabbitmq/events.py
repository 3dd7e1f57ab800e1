"""The event that a message of RabbitMQ is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from faas_connector.event import Event
from faas_connector.headers import is_text
from faas_connector.sources.fields import fields
from faas_connector.sources.rabbitmq.connection import Basic, DeliveredMessage
from faas_connector.sources.rabbitmq.settings import TopicFrom

_PREFIX = "X-Rabbitmq-"


def event_of(message: DeliveredMessage, queue: str, topic_from: TopicFrom) -> Event:
    """The event that a message is."""
    key = message.routing_key or ""
    properties: Basic.Properties = message.header.properties
    own = {
        "Routing-Key": key,
        "Exchange": message.exchange or "",
        "Redelivered": str(bool(message.redelivered)).lower(),
        "Msg-Id": properties.message_id,
        "Correlation-Id": properties.correlation_id,
        "Reply-To": properties.reply_to,
    }
    sent: Mapping[str, Any] = properties.headers or {}
    content_type = properties.content_type
    return Event(
        _plain(key) if topic_from is TopicFrom.ROUTING_KEY else queue,
        message.body,
        fields(
            _PREFIX,
            own,
            ((f"Header-{name}", _text(value)) for name, value in sent.items()),
        ),
        content_type=content_type if content_type and is_text(content_type) else None,
        id=_plain(properties.message_id or "") or None,
        key=_plain(key),
        time=_time(properties.timestamp),
    )


def _plain(text: str) -> str:
    """The text, with a mark for each byte that is no UTF-8."""
    return (
        text if text.isascii() else text.encode("utf-8", "surrogateescape").decode(errors="replace")
    )


def _text(value: object) -> str | bytes | None:
    """A header's value, of any of AMQP's types."""
    if value is None or isinstance(value, str | bytes):
        return value
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool | dict | list):
        return json.dumps(value, default=str)
    return str(value)


def _time(value: object) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
