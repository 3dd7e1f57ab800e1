"""What a source gives, and what of it no call could be made of, where types were not heeded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import datetime
from types import UnionType
from typing import NoReturn, cast

from faas_connector.errors import ConfigError
from faas_connector.event import Event
from faas_connector.source import Delivery

_EXAMPLE = 'Event("payment.received", b"{}")'


def is_plain(delivery: object) -> bool:
    """Whether all of it is of the very type that it should be; asked of each event."""
    if not isinstance(delivery, Delivery) or type(event := delivery.event) is not Event:
        return False
    position = delivery.position
    headers = event.headers
    content_type, id_, key, time = event.content_type, event.id, event.key, event.time
    if (
        type(event.topic) is not str
        or type(event.data) is not bytes
        or headers.__class__ is not dict
        or not (position is None or type(position) is str)
        or not (content_type is None or type(content_type) is str)
        or not (id_ is None or type(id_) is str)
        or not (key is None or type(key) is str)
        or not (time is None or type(time) is datetime)
    ):
        return False
    # A value that can't be sent makes a dead letter of the event.
    for name in headers:  # noqa: SIM110  # quicker
        if type(name) is not str:
            return False
    return True


def check_delivery(delivery: object, source: str) -> None:
    """Refuse what can't be sent, by the field's name.

    Raises:
        ConfigError: what it is, and what to give.
    """
    if not isinstance(delivery, Delivery):
        what = (
            "an Event; wrap it: Delivery(event)"
            if isinstance(delivery, Event)
            else (f"{delivery!r:.80}, which is no Delivery; for example Delivery({_EXAMPLE})")
        )
        raise ConfigError(f"source {source} gave {what}")
    event: object = delivery.event
    if not isinstance(event, Event):
        raise ConfigError(
            f"source {source} gave {event!r:.80}, which is no Event; for example {_EXAMPLE}"
        )
    wants: list[tuple[str, object, type | UnionType, str]] = [
        ("topic", event.topic, str, "text, for example 'payment.received'"),
        ("data", event.data, bytes, "bytes, for example text.encode()"),
        ("headers", event.headers, Mapping, "a dict of texts, for example {'X-Tenant': 'acme'}"),
        ("content_type", event.content_type, str | None, "text, for example 'application/json'"),
        ("id", event.id, str | None, "text, for example str(id)"),
        ("key", event.key, str | None, "text, for example str(key)"),
        ("time", event.time, datetime | None,
         "a datetime, for example datetime.fromtimestamp(seconds, UTC)"),
        ("position", delivery.position, str | None, "text, for example str(position)"),
    ]  # fmt: skip
    for field, value, wanted, give in wants:
        if not isinstance(value, wanted):
            _refuse(source, f"{field} is {type(value).__name__}", give)
    for name in cast("Mapping[object, object]", event.headers):
        if not isinstance(name, str):
            _refuse(source, f"headers have the name {name!r:.80}", "text")


def check_iterable(deliveries: object, source: str, where: str, instead: str) -> None:
    """Refuse what can't be read.

    Args:
        deliveries: what is to be read.
        source: its name.
        where: it came from.
        instead: what that should be.

    Raises:
        ConfigError: it is no async iterator.
    """
    if not hasattr(deliveries, "__aiter__"):
        _close(deliveries)
        raise ConfigError(
            f"source {source} can't be read: {where} gave {_shown(deliveries)}, which is no async "
            f"iterator; make it {instead}"
        )


def check_context(opening: object, source: str) -> None:
    """Refuse what can't be entered.

    Raises:
        ConfigError: it is no async context manager.
    """
    if not hasattr(opening, "__aenter__"):
        _close(opening)
        raise ConfigError(
            f"source {source} can't be opened: open() gave {_shown(opening)}, which is no async "
            "context manager; decorate it with contextlib.asynccontextmanager"
        )


def _shown(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _close(value: object) -> None:
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited


def _refuse(source: str, what: str, give: str) -> NoReturn:
    raise ConfigError(f"source {source} gave an event whose {what}; give {give}")
