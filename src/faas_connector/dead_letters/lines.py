"""Dead letters as JSON lines: what `export` writes, `--json` shows and `load` reads back.

One line is one entry. Bytes that are UTF-8 stand as text, others as base64, and an `…_encoding`
beside them says which. Times are RFC 3339, in UTC and as precise as they are kept.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Literal

import msgspec

from faas_connector.errors import ConnectorError
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.store import Entry, Reason, State, Stored

Encoding = Literal["utf-8", "base64"]

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = (-62_135_596_800.0, 253_402_300_800.0)  # 1 to 9999
_SMALLEST = 1e-6
# Fields that are left out where they say nothing.
_USUAL = {"state": State.DEAD.value, "due": 0.0, "damage": "", "stored": None}


class LineError(ConnectorError):
    """A line is no dead letter; the message says why."""


class UnreadableLine(msgspec.Struct, frozen=True):
    """A line of a file that is no dead letter."""

    number: int
    """From 1."""
    why: str


class _EventFields(msgspec.Struct, kw_only=True):
    topic: str
    id: str | None = None
    key: str | None = None
    time: str | None = None
    content_type: str | None = None
    headers: dict[str, str] = {}
    data: str = ""
    data_encoding: Encoding = "utf-8"


class _StoredFields(msgspec.Struct, kw_only=True):
    """What is left of an event that can't be decoded."""

    topic: str = ""
    topic_encoding: Encoding = "utf-8"
    key: str = ""
    key_encoding: Encoding = "utf-8"
    head: str = ""
    """Base64."""
    data: str = ""
    data_encoding: Encoding = "utf-8"


class _Fields(msgspec.Struct, kw_only=True):
    """The fields of a line, in the order in which people look for them."""

    id: int = 0
    function: str | None = None
    namespace: str | None = None
    """To tell where the name in `function` ends."""
    reason: Reason | None = None
    status: int | None = None
    what: str = ""
    attempts: int = 0
    calls: int = 0
    first: str | float = 0.0
    last: str | float = 0.0
    source: str = ""
    position: str | None = None
    ordered: bool = False
    call_id: str = ""
    event: _EventFields | None
    answer: str = ""
    answer_encoding: Encoding = "utf-8"
    state: State = State.DEAD
    due: str | float = 0.0
    damage: str = ""
    stored: _StoredFields | None = None


def encode_line(entry: Entry) -> str:
    """An entry as one line of JSON, without its line end.

    What a terminal would not show is escaped.
    """
    name = entry.function
    answer, answer_encoding = text_of(entry.answer)
    fields = _Fields(
        id=entry.id,
        function=None if name is None else str(name),
        namespace=None if name is None else name.namespace,
        reason=entry.reason,
        status=entry.status,
        what=entry.what,
        attempts=entry.attempts,
        calls=entry.calls,
        first=format_time(entry.first),
        last=format_time(entry.last),
        source=entry.source,
        position=entry.position,
        ordered=entry.ordered,
        call_id=entry.call_id,
        event=None if entry.event is None else _event_fields(entry.event),
        answer=answer,
        answer_encoding=answer_encoding,
        state=entry.state,
        due=format_time(entry.due) if entry.due else 0.0,
        damage=entry.damage,
        stored=None if entry.stored is None else _stored_fields(entry.stored),
    )
    shown: dict[str, object] = msgspec.to_builtins(fields)
    for name_of_rare, usual in _USUAL.items():
        if shown[name_of_rare] == usual:
            del shown[name_of_rare]
    line = json.dumps(shown, ensure_ascii=False)
    return line if line.isprintable() else json.dumps(shown)


def decode_line(line: str) -> Entry:
    """The entry that a line holds.

    Raises:
        LineError: it holds none.
    """
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LineError(f"no JSON ({error})") from error
    try:
        return _entry_of(msgspec.convert(found, _Fields))
    except msgspec.ValidationError as error:
        raise LineError(f"no dead letter ({error})") from error


def read_lines(file: Iterable[bytes]) -> Iterator[tuple[int, bytes, Entry | UnreadableLine]]:
    """Every line of a file that isn't blank: its number, its bytes, and what it holds."""
    for number, raw in enumerate(file, 1):
        line = raw.strip()
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # some editors begin a file so
        if not line:
            continue
        try:
            yield number, line, decode_line(line.decode())
        except UnicodeDecodeError:
            yield number, line, UnreadableLine(number, "no UTF-8")
        except LineError as error:
            yield number, line, UnreadableLine(number, str(error))


def text_of(data: bytes) -> tuple[str, Encoding]:
    """Bytes as text, and how to make them bytes again."""
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode("ascii"), "base64"


def format_time(seconds: float) -> str | float:
    """Seconds since the epoch as RFC 3339, each digit; outside the years 1 to 9999 a number."""
    if not (_YEARS[0] <= seconds < _YEARS[1] and (abs(seconds) > _SMALLEST or not seconds)):
        return seconds
    exact = Decimal(repr(seconds))
    whole = exact.to_integral_value(ROUND_FLOOR)
    text = (_EPOCH + timedelta(seconds=int(whole))).isoformat()
    fraction = format(exact - whole, "f").partition(".")[2].rstrip("0")
    return text.replace("+00:00", f".{fraction}Z" if fraction else "Z")


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time, or of a day; UTC where it names no zone.

    Raises:
        LineError: it is none.
    """
    found = _TIME.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        day, time, fraction, zone = found.groups()
        zone = "+00:00" if zone is None or zone in "Zz" else zone
        whole = datetime.fromisoformat(f"{day}T{time or '00:00:00'}{zone}")
        since = whole - _EPOCH
        return float(Decimal(since.days * 86_400 + since.seconds) + Decimal(f"0{fraction or ''}"))
    except ValueError:
        raise LineError(f"{text!r} is no time; write for example 2026-11-24T09:30:00Z") from None


def _event_fields(event: Event) -> _EventFields:
    data, encoding = text_of(event.data)
    return _EventFields(
        topic=event.topic,
        id=event.id,
        key=event.key,
        time=None if event.time is None else event.time.isoformat(),
        content_type=event.content_type,
        headers=dict(event.headers),
        data=data,
        data_encoding=encoding,
    )


def _entry_of(fields: _Fields) -> Entry:
    return Entry(
        id=fields.id,
        state=fields.state,
        source=fields.source,
        position=fields.position,
        function=_function_of(fields.function, fields.namespace),
        event=None if fields.event is None else _event_of(fields.event),
        ordered=fields.ordered,
        call_id=fields.call_id,
        due=_seconds_of(fields.due),
        attempts=fields.attempts,
        calls=fields.calls,
        reason=fields.reason,
        status=fields.status,
        what=fields.what,
        answer=_bytes_of(fields.answer, fields.answer_encoding, "answer"),
        first=_seconds_of(fields.first),
        last=_seconds_of(fields.last),
        damage=fields.damage,
        stored=None if fields.stored is None else _stored_of(fields.stored),
    )


def _event_of(fields: _EventFields) -> Event:
    try:
        time = None if fields.time is None else datetime.fromisoformat(fields.time)
    except ValueError:
        raise LineError(f"event.time is no time: {fields.time!r}") from None
    return Event(
        topic=fields.topic,
        data=_bytes_of(fields.data, fields.data_encoding, "event.data"),
        headers=fields.headers,
        content_type=fields.content_type,
        id=fields.id,
        key=fields.key,
        time=time,
    )


def _stored_fields(stored: Stored) -> _StoredFields:
    topic, topic_encoding = text_of(stored.topic)
    key, key_encoding = text_of(stored.key)
    data, data_encoding = text_of(stored.data)
    return _StoredFields(
        topic=topic,
        topic_encoding=topic_encoding,
        key=key,
        key_encoding=key_encoding,
        head=base64.b64encode(stored.head).decode("ascii"),
        data=data,
        data_encoding=data_encoding,
    )


def _stored_of(fields: _StoredFields) -> Stored:
    return Stored(
        topic=_bytes_of(fields.topic, fields.topic_encoding, "stored.topic"),
        key=_bytes_of(fields.key, fields.key_encoding, "stored.key"),
        head=_bytes_of(fields.head, "base64", "stored.head"),
        data=_bytes_of(fields.data, fields.data_encoding, "stored.data"),
    )


def _function_of(text: str | None, namespace: str | None) -> FunctionName | None:
    if text is None:
        return None
    if namespace is None:
        name, dot, namespace = text.rpartition(".")
        return FunctionName(name, namespace) if dot else FunctionName(text)
    return FunctionName(text.removesuffix(f".{namespace}") if namespace else text, namespace)


def _bytes_of(text: str, encoding: Encoding, where: str) -> bytes:
    try:
        return text.encode() if encoding == "utf-8" else base64.b64decode(text, validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise LineError(f"{where} is no {encoding} ({error})") from None


def _seconds_of(time: str | float) -> float:
    return parse_time(time) if isinstance(time, str) else time
