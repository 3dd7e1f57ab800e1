"""How dead letters look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from faas_connector.cli.output import visible
from faas_connector.store import Entry

# Characters of a body or answer that are shown.
_SHOWN = 4000
_LEAST_WHAT = 20


def rows(entries: Sequence[Entry], *, width: int) -> list[tuple[str, ...]]:
    """A table of them, whose last column ends where the terminal does."""
    table = [("ID", "LAST", "FUNCTION", "TOPIC", "REASON", "CALLS", "WHAT")]
    table += [
        (
            str(entry.id), _time(entry.last), str(entry.function or "-"), _topic(entry),
            entry.reason.value if entry.reason else "-", str(entry.calls), visible(_what(entry)),
        )
        for entry in entries
    ]  # fmt: skip
    used = sum(max(len(visible(row[at])) for row in table) + 2 for at in range(len(table[0]) - 1))
    room = max(_LEAST_WHAT, width - used)
    return [(*row[:-1], _cut(row[-1], room)) for row in table]


def details(entry: Entry) -> str:
    """All that is known of one."""
    known = [(name, value) for name, value in _facts(entry) if value]
    wide = max(len(name) for name, _ in known)
    lines = [f"{name.ljust(wide)}  {visible(value)}" for name, value in known]
    event = entry.event
    if event is not None:
        lines += [f"{'header'.ljust(wide)}  {visible(f'{name}: {value}')}"
                  for name, value in event.headers.items()]  # fmt: skip
        lines += [f"body ({len(event.data)} B)", _body(event.data)]
    if entry.answer:
        lines += [f"last answer ({len(entry.answer)} B kept)", _body(entry.answer)]
    return "\n".join(lines)


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    yield "dead letter", str(entry.id)
    yield "function", str(entry.function or "every one that asks for its topic")
    yield "reason", entry.reason.value if entry.reason else ""
    yield "what", _what(entry)
    yield "status", "" if entry.status is None else str(entry.status)
    yield "calls", f"{entry.calls}, of which {entry.attempts} count as attempts"
    yield "read at", _time(entry.first)
    yield "failed last", _time(entry.last)
    yield "source", entry.source
    yield "position", entry.position or ""
    yield "call id", entry.call_id
    event = entry.event
    if event is not None:
        yield "topic", event.topic
        yield "key", event.key or ""
        yield "event id", event.id or ""
        yield "event time", event.time.isoformat() if event.time else ""
        yield "content type", event.content_type or ""


def _what(entry: Entry) -> str:
    return f"can't be decoded: {entry.damage}" if entry.damage else entry.what


def _topic(entry: Entry) -> str:
    return "-" if entry.event is None else entry.event.topic


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _body(data: bytes) -> str:
    try:
        text = visible(data[:_SHOWN].decode(), but="\n\t")
    except UnicodeDecodeError:
        text = data[: _SHOWN // 4].hex(" ")
        return text + (" …" if len(data) > _SHOWN // 4 else "")
    return text + ("…" if len(data) > _SHOWN else "")
