"""An event as bytes: the body untouched, and a head with what else belongs to it."""

from __future__ import annotations

import functools
import zlib
from datetime import UTC, datetime

import msgspec

from faas_connector.event import Event
from faas_connector.store import Entry

Text = str | bytes
"""Text, or its bytes where it is no Unicode that can be encoded (half of a surrogate pair)."""


class _Head(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """What of an event has no column of its own."""

    checksum: int
    headers: tuple[tuple[str, str], ...]
    content_type: str | None
    id: str | None
    time: datetime | None


class _RawHead(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The same where some of the strings can't be encoded: all are bytes."""

    checksum: int
    headers: tuple[tuple[bytes, bytes], ...]
    content_type: bytes | None
    id: bytes | None
    time: datetime | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Head | _RawHead)


def text(value: str) -> Text:
    """As it is kept: any string can be, and equal ones are equal."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return _raw(value)
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


def kept_time(time: datetime | None) -> datetime | None:
    """The time as it is kept: none where it has no form in UTC, which may be the year 10000."""
    if time is None or 1 < time.year < 9999 or time.tzinfo is None:
        return time
    try:
        time.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return time


def encode_head(event: Event) -> bytes:
    """All of an event but its topic, key and body."""
    checksum, headers, time = zlib.crc32(event.data), event.headers.items(), kept_time(event.time)
    try:
        return _encoder.encode(_Head(checksum, tuple(headers), event.content_type, event.id, time))
    except UnicodeEncodeError:
        raw = tuple((_raw(name), _raw(value)) for name, value in headers)
        content_type, number = _maybe_raw(event.content_type), _maybe_raw(event.id)
        return _encoder.encode(_RawHead(checksum, raw, content_type, number, time))


def _raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _maybe_raw(value: str | None) -> bytes | None:
    return None if value is None else _raw(value)


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
        headers={string(name): string(value) for name, value in decoded.headers},
        content_type=_maybe_string(decoded.content_type),
        id=_maybe_string(decoded.id),
        key=_maybe_string(key),
        time=decoded.time,
    )


def plain_event(topic: str, key: bytes | None, head: bytes, data: bytes) -> Event | None:
    """The same in less time, of columns that hold what they should; None for what is rare.

    Raises:
        ValueError: it can't be decoded.
    """
    decoded = _decoder.decode(head)
    if isinstance(decoded, _RawHead):
        return None
    if zlib.crc32(data) != decoded.checksum:
        raise ValueError
    return Event(
        topic, data, dict(decoded.headers), decoded.content_type, decoded.id,
        None if key is None else key.decode(), decoded.time,
    )  # fmt: skip


@functools.lru_cache(maxsize=4096)
def shared(raw: bytes) -> str:
    """Text that many rows have."""
    return raw.decode()


def _maybe_string(value: object) -> str | None:
    return None if value is None else string(value)


def journal_bytes(entry: Entry) -> int:
    """What an entry counts towards the journal's size limit: body, headers and the like."""
    if entry.event is None:
        return 0
    return len(entry.event.data) + len(encode_head(entry.event))
