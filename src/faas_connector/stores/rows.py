"""An entry as a row of the database."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec

from faas_connector.names import FunctionName, Invocation
from faas_connector.store import Entry, Reason, State, Stored
from faas_connector.stores import schema
from faas_connector.stores.codec import (
    Text,
    decode_event,
    encode_head,
    plain_event,
    shared,
    string,
    text,
)

Value = int | float | str | bytes | None
Chain = tuple[str, str, Text]
"""The function's name and namespace, and the key, whose order a parked entry keeps."""

STATES = {
    State.JOURNAL: schema.JOURNAL,
    State.PARKED: schema.PARKED,
    State.DEAD: schema.DEAD,
    State.DONE: schema.DONE,
}
_STATES = {number: state for state, number in STATES.items()}

COLUMNS = (
    "id, state, size, source, position, name, namespace, topic, key, ordered, due, reason, "
    "first, last, rest, head, data"
)
"""As they are written."""
READ = COLUMNS.replace("size, ", "")
"""What an entry is made of."""


class _Rest(msgspec.Struct, frozen=True, array_like=True):
    """What of an entry nothing is looked up by."""

    call_id: str
    attempts: int
    calls: int
    status: int | None
    what: bytes
    answer: bytes
    damage: str
    mode: Invocation | None = None


_NO_REST = _Rest("", 0, 0, None, b"", b"", "")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Rest)


class Row:
    """An entry on its way into the database."""

    __slots__ = ("chain", "id", "is_verdict", "keeps_event", "size", "state", "values")

    def __init__(self, entry: Entry) -> None:
        event, function, state = entry.event, entry.function, entry.state
        self.id = entry.id
        self.state = STATES[state]
        self.is_verdict = entry.position is not None and state is not State.JOURNAL
        self.keeps_event = event is None and entry.damage != ""
        topic = key = head = data = None
        if event is not None:
            topic, key = text(event.topic), None if event.key is None else text(event.key)
            head, data = encode_head(event), event.data
        self.size = len(head) + len(data) if head is not None and data is not None else 0
        self.chain: Chain | None = None
        position = None if entry.position is None else text(entry.position)
        name, namespace = function or ("", "")
        if entry.ordered and state is State.PARKED and name and key is not None:
            self.chain = (name, namespace, key)
        self.values: tuple[Value, ...] = (
            self.state, self.size, text(entry.source), position, name, namespace, topic, key,
            entry.ordered, entry.due, entry.reason and entry.reason.value, entry.first, entry.last,
            _rest(entry), head, data,
        )  # fmt: skip
        """All columns but the id."""


class Append:
    """New journal entries that may share a row; each is put by itself."""

    __slots__ = ("entries",)

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries


class Removal:
    """Entries on their way out of the database."""

    __slots__ = ("ids",)

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = ids


def _rest(entry: Entry) -> bytes | None:
    what = entry.what.encode("utf-8", "surrogatepass")
    rest = _Rest(
        entry.call_id,
        entry.attempts,
        entry.calls,
        entry.status,
        what,
        entry.answer,
        entry.damage,
        entry.mode,
    )
    return None if rest == _NO_REST else _encoder.encode(rest)


def entry_of(row: tuple[Value, ...]) -> Entry:
    """The entry that a row of READ holds; what can't be decoded is left out, with `damage`."""
    try:
        found = _whole_entry_of(row)
    except Exception:
        found = None
    return found or _entry_of(row, with_event=True)


def bare_entry_of(row: tuple[Value, ...]) -> Entry:
    """The same without its event."""
    return _entry_of(row, with_event=False)


def _whole_entry_of(row: tuple[Any, ...]) -> Entry | None:
    """The same, in a quarter of the time, where nothing is damaged; None for what is rare."""
    (number, state, source, position, name, namespace, topic, key, ordered, due, reason,
     first, last, packed, head, data) = row  # fmt: skip
    rest = _NO_REST if packed is None else _decoder.decode(packed)
    event = plain_event(shared(topic), key, head, data)
    if event is None or rest.damage or not type(due) is type(first) is type(last) is float:
        return None
    return Entry(  # by names it would take eight times as long
        _STATES[state],
        shared(source),
        event,
        number,
        None if position is None else position.decode(),
        _function_of(name, namespace) if name else None,
        bool(ordered),
        rest.call_id,
        due,
        rest.attempts,
        rest.calls,
        rest.mode,
        None if reason is None else _REASONS[reason],
        rest.status,
        rest.what.decode(),
        rest.answer,
        first,
        last,
    )


_REASONS = {reason.value.encode(): reason for reason in Reason}


@functools.lru_cache(maxsize=4096)
def _function_of(name: bytes, namespace: bytes) -> FunctionName:
    return FunctionName(name.decode(), namespace.decode())


def _entry_of(row: tuple[Value, ...], *, with_event: bool) -> Entry:
    (number, state, source, position, name, namespace, topic, key, ordered, due, reason,
     first, last, packed, head, data) = row  # fmt: skip
    damage = list[str]()
    rest = _NO_REST
    event = reason_of = None
    try:
        reason_of = None if reason is None else Reason(string(reason))
        rest = _NO_REST if packed is None else _decoder.decode(_blob(packed))
    except (ValueError, msgspec.DecodeError) as error:
        damage.append(f"what became of it is damaged in the store ({error})")
    try:
        function = FunctionName(string(name), string(namespace)) if name else None
    except ValueError as error:
        function = FunctionName(_readable(name), _readable(namespace))
        damage.append(f"its function's name is damaged in the store ({error})")
    try:
        if with_event and (head is not None or data is not None):
            event = decode_event(topic, key, head, data)
    except (ValueError, msgspec.DecodeError) as error:
        damage.append(f"the event is damaged in the store ({error})")
    if not damage and event is None and with_event and rest.damage:
        damage.append(rest.damage)
    return Entry(
        id=_number(number),
        state=_STATES[_number(state)],
        source=_readable(source),
        position=None if position is None else _readable(position),
        function=function,
        event=None if damage else event,
        ordered=bool(ordered),
        call_id=rest.call_id,
        due=_float(due),
        attempts=rest.attempts,
        calls=rest.calls,
        mode=rest.mode,
        reason=reason_of,
        status=rest.status,
        what=rest.what.decode("utf-8", "surrogatepass"),
        answer=rest.answer,
        first=_float(first),
        last=_float(last),
        damage="; ".join(damage),
        stored=Stored(*map(_raw, (topic, key, head, data))) if damage and with_event else None,
    )


def _raw(value: Value) -> bytes:
    """The bytes of a column that holds what it should, or something else."""
    if value is None or isinstance(value, bytes):
        return value or b""
    return str(value).encode()


def column_text(value: object) -> Text:
    """Text that was read, as `text` makes it to be written."""
    return text(string(value))


def _blob(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""


def _number(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _float(value: Value) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _readable(value: Value) -> str:
    """As `string`, but never fails."""
    if isinstance(value, bytes):
        try:
            return string(value)
        except ValueError:
            return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
