"""An event as bytes: the body untouched, and a head with what else belongs to it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime

import msgspec

from faas_connector.event import Event
from faas_connector.store import Entry

Text = str | bytes
"""Text, or its bytes where it is no Unicode that can be encoded (half of a surrogate pair)."""


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What of an event has no column of its own."""

    checksum: int
    headers: tuple[tuple[Text, Text], ...] = ()
    content_type: Text | None = None
    id: Text | None = None
    time: datetime | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Head)


def text(value: str) -> Text:
    """As it is kept: any string can be, and equal ones are equal."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def string(value: object) -> str:
    """What `text` made it of.

    Raises:
        ValueError: it is neither text nor such bytes.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    raise _wrong(value, "text")


def blob(value: object) -> bytes:
    """A column of bytes.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bytes):
        return value
    raise _wrong(value, "bytes")


def _wrong(value: object, expected: str) -> ValueError:
    return ValueError(f"{type(value).__name__} where {expected} should be")


def encode_head(event: Event) -> bytes:
    """All of an event but its topic, key and body."""
    headers = tuple(event.headers.items())
    head = _Head(zlib.crc32(event.data), headers, event.content_type, event.id, event.time)
    try:
        return _encoder.encode(head)
    except UnicodeEncodeError:
        return _encoder.encode(_with_any_text(event))


def _with_any_text(event: Event) -> _Head:
    return _Head(
        zlib.crc32(event.data),
        tuple((text(name), text(value)) for name, value in event.headers.items()),
        None if event.content_type is None else text(event.content_type),
        None if event.id is None else text(event.id),
        event.time,
    )


def decode_event(topic: object, key: object, head: object, data: object) -> Event:
    """What `encode_head` and the columns beside it hold.

    Raises:
        ValueError: it can't be decoded; the message says why.
    """
    decoded = _decoder.decode(blob(head))
    body = blob(data)
    if zlib.crc32(body) != decoded.checksum:
        raise ValueError("its body is not what was written (checksum)")
    return Event(
        topic=string(topic),
        data=body,
        headers=_headers(decoded),
        content_type=None if decoded.content_type is None else string(decoded.content_type),
        id=None if decoded.id is None else string(decoded.id),
        key=None if key is None else string(key),
        time=decoded.time,
    )


def _headers(head: _Head) -> Mapping[str, str]:
    return {string(name): string(value) for name, value in head.headers}


def journal_bytes(entry: Entry) -> int:
    """What an entry counts towards the journal's size limit: body, headers and the like."""
    if entry.event is None:
        return 0
    return len(entry.event.data) + len(encode_head(entry.event))
