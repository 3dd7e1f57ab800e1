"""Journal entries, as they are accepted, as the bytes of one pack."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from faas_connector.event import Event
from faas_connector.store import Entry, State
from faas_connector.stores.codec import blob, kept_time

MOST_BYTES = 16 * 1024
"""Of a body; an event with a larger one is not packed."""
_JOURNAL = State.JOURNAL


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """What of a packed entry differs from others."""

    checksum: int
    source: str
    first: float
    last: float
    topic: str
    key: str | None
    headers: dict[str, str]
    content_type: str | None
    id: str | None
    time: datetime | None
    data: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Record])


def is_packable(entry: Entry) -> bool:
    """Whether that is all of it: it is new, as it was accepted, and nothing looks it up."""
    event = entry.event
    return (
        event is not None
        and len(event.data) <= MOST_BYTES
        and entry.state is _JOURNAL
        and entry.position is None
        and entry.function is None
        and entry.mode is None
        and entry.reason is None
        and entry.status is None
        and not (
            entry.id
            or entry.ordered
            or entry.due
            or entry.call_id
            or entry.calls
            or entry.attempts
            or entry.what
            or entry.answer
            or entry.damage
        )
    )


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """Entries that are packable, as bytes.

    Raises:
        UnicodeEncodeError: some of their text can't be encoded (half of a surrogate pair).
    """
    return _encoder.encode([_record(entry) for entry in entries])


def _record(entry: Entry) -> tuple[object, ...]:
    """The fields of a `_Record`."""
    event = entry.event
    assert event is not None  # noqa: S101
    headers: Mapping[str, str] = event.headers
    return (
        zlib.crc32(event.data), entry.source, entry.first, entry.last, event.topic, event.key,
        headers if isinstance(headers, dict) else dict(headers), event.content_type, event.id,
        kept_time(event.time), event.data,
    )  # fmt: skip


def decode_entries(records: object, wanted: Iterable[tuple[int, int]]) -> Iterator[Entry]:
    """Some of what `encode_entries` made; of what can't be decoded only the damage is known.

    Args:
        records: as they were read.
        wanted: the place of each among them, and its id.
    """
    found, damage = list[_Record](), ""
    try:
        found = _decoder.decode(blob(records))
    except (ValueError, msgspec.DecodeError) as error:
        damage = str(error)
    for index, number in wanted:
        record = found[index] if index < len(found) else None
        if record is None:
            yield _damaged(number, damage or "it is missing")
        elif zlib.crc32(record.data) != record.checksum:
            yield _damaged(number, "its body is not what was written (checksum)")
        else:
            yield _entry(number, record)


def _damaged(number: int, why: str) -> Entry:
    damage = f"the event is damaged in the store ({why})"
    return Entry(id=number, state=_JOURNAL, source="", event=None, damage=damage)


def _entry(number: int, record: _Record) -> Entry:
    return Entry(
        id=number,
        state=_JOURNAL,
        source=record.source,
        event=Event(
            record.topic, record.data, record.headers, record.content_type, record.id, record.key,
            record.time,
        ),
        first=record.first,
        last=record.last,
    )  # fmt: skip
