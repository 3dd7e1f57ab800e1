"""What the store asks its database: each a statement, or a few, on a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from faas_connector.store import Entry, Query
from faas_connector.stores.codec import text
from faas_connector.stores.rows import COLUMNS, READ, STATES, Row, bare_entry_of, entry_of

_INSERT = (
    f"INSERT OR REPLACE INTO entries ({COLUMNS}) "  # noqa: S608 - constants
    f"VALUES ({', '.join('?' * (COLUMNS.count(',') + 1))})"
)
_STANDING = ("state", "source", "position", "name", "namespace", "ordered", "due", "reason",
             "first", "last", "rest")  # fmt: skip
_UPDATE = f"UPDATE entries SET {', '.join(f'{each} = ?' for each in _STANDING)} WHERE id = ?"  # noqa: S608 - constants
IDS = "(SELECT value FROM json_each(?))"
HAS_KEY = "SELECT 1 FROM entries WHERE source = ? AND position = ? AND due > ? LIMIT 1"
_FINISH = """
    UPDATE entries SET state = 3, due = ?, size = 0, ordered = 0, topic = NULL, key = NULL,
    reason = NULL, rest = NULL, head = NULL, data = NULL WHERE
"""
# Each from an index that holds nothing else: the events themselves are not read.
COUNTS = f"SELECT {', '.join(f'(SELECT count(*) FROM entries WHERE state = {each})' for each in range(4))}"  # noqa: E501, S608 - constants
CLAIM = "INSERT OR REPLACE INTO claims SELECT value, ?, ? FROM json_each(?)"
OTHERS = "SELECT id FROM claims WHERE owner <> ?"
RELEASE = f"DELETE FROM claims WHERE id IN {IDS} AND owner = ?"  # noqa: S608 - constants
# For `each` and `entries`.
OF_IDS = f"id IN {IDS} ORDER BY id"
NOT_OF_IDS = f"id NOT IN {IDS}"
JOURNAL_BUT = f"state = 0 AND {NOT_OF_IDS} ORDER BY id"


def id_list(ids: Iterable[int]) -> str:
    """As JSON, which a list of whole numbers looks like; `json` takes twice the time."""
    return str([*ids])


def _among(ids: Sequence[int]) -> tuple[str, tuple[int, int] | tuple[str]]:
    """The condition that an id is among these (at least one), and what stands for its marks.

    A range, where they are one, takes SQLite a third less.
    """
    first, last = min(ids), max(ids)
    if last - first + 1 == len(set(ids)):
        return "id BETWEEN ? AND ?", (first, last)
    return f"id IN {IDS}", (id_list(ids),)


def journal_size(connection: sqlite3.Connection, ids: Sequence[int]) -> int:
    """Bytes that the journal entries among them count."""
    if not ids:
        return 0
    where, values = _among(ids)
    found: tuple[int] = connection.execute(
        f"SELECT coalesce(sum(size), 0) FROM entries WHERE state = 0 AND {where}",  # noqa: S608 - constants
        values,
    ).fetchone()
    return found[0]


def remove(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Delete rows."""
    where, values = _among(ids)
    connection.execute(f"DELETE FROM entries WHERE {where}", values)  # noqa: S608 - constants


def finish(connection: sqlite3.Connection, ids: Sequence[int], until: float) -> None:
    """Make rows DONE until then."""
    where, values = _among(ids)
    connection.execute(f"{_FINISH} {where}", (until, *values))


def unclaim(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """End the claims of these, whose ever they are."""
    if ids:
        where, values = _among(ids)
        connection.execute(f"DELETE FROM claims WHERE {where}", values)  # noqa: S608 - constants


def put(connection: sqlite3.Connection, row: Row) -> int:
    """Write a row, new or in place of the one with its id, which is returned."""
    if row.keeps_event and row.id:
        # The event can't be decoded, and stays as it is.
        values = dict(zip(COLUMNS.split(", ")[1:], row.values, strict=True))
        connection.execute(_UPDATE, (*(values[each] for each in _STANDING), row.id))
        return row.id
    number = connection.execute(_INSERT, (row.id or None, *row.values)).lastrowid
    assert number is not None  # noqa: S101
    return number


def each(
    connection: sqlite3.Connection, where: str, values: Sequence[object], *, bare: bool = False
) -> Iterator[Entry]:
    """The entries that a condition tells, one by one; `bare` without their events."""
    rows = connection.execute(f"SELECT {READ} FROM entries WHERE {where}", values)  # noqa: S608 - constants
    return map(bare_entry_of if bare else entry_of, rows)


def entries(
    connection: sqlite3.Connection, where: str, values: Sequence[object], *, bare: bool = False
) -> list[Entry]:
    """The same, all of them."""
    return [*each(connection, where, values, bare=bare)]


def condition(query: Query) -> tuple[str, list[object]]:
    """A query as a condition, and what stands for its marks."""
    # Its state is no value: SQLite would have to choose the index anew each time.
    conditions, values = [f"state = {STATES[query.state]}", "id > ?"], [query.after_id]
    given: list[tuple[str, object]] = [
        ("namespace = ?", query.namespace),
        ("topic = ?", None if query.topic is None else text(query.topic)),
        ("source = ?", None if query.source is None else text(query.source)),
        ("reason = ?", query.reason and query.reason.value),
        ("last >= ?", query.since),
        ("last < ?", query.until),
        (f"id IN {IDS}", None if query.ids is None else id_list(query.ids)),
    ]
    everything: list[object] = list(values)
    for written, value in given:
        if value is not None:
            conditions.append(written)
            everything.append(value)
    if query.function is not None:
        conditions.append("(name = ? OR name || '.' || namespace = ?)")
        everything += [query.function, query.function]
    return " AND ".join(conditions), everything
