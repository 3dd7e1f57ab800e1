"""Journal entries many to a row, for a fraction of what a row for each takes.

A pack is written once. Which of its entries are left stands in a small row beside it, as the bits
of a number; with the last of them it goes. What more is to be known of an entry than that it was
accepted needs a row of its own (`entries`), and the entry is left here no more.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from faas_connector.store import Entry
from faas_connector.stores.records import decode_entries, encode_entries
from faas_connector.stores.statements import IDS

LEAST = 4
"""Entries for which a pack is worth while."""
_MOST = 63
"""Entries of a pack, so that what is left of them is a positive number."""
# A pack has all ids from a multiple of this on, so that an entry's id tells its pack.
_SPAN = 64

_TOGETHER = (8, 1)
_LAST_ID = "SELECT seq FROM sqlite_sequence WHERE name = 'entries'"
_SET_LAST_ID = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'entries'"
_LEFT = f"SELECT id, left, count, size FROM packs WHERE id IN {IDS}"  # noqa: S608 - constants
_UNPACK = """
    INSERT INTO entries (id, source, head, data)
    SELECT ?, '', x'', records FROM packs JOIN packed USING (id) WHERE id = ? AND (left >> ?) & 1
"""
_SET_LEFT = "UPDATE packs SET left = ?, count = ?, size = ? WHERE id = ?"

Pack = tuple[int, bytes]
"""How many entries there are, and their bytes."""


def packs_of(entries: Sequence[Entry]) -> list[Pack]:
    """Entries that are packable, in as few packs as take them.

    Raises:
        UnicodeEncodeError: some text of one of them can't be encoded.
    """
    parts = (entries[begin : begin + _MOST] for begin in range(0, len(entries), _MOST))
    return [(len(part), encode_entries(part)) for part in parts]


def put(connection: sqlite3.Connection, packs: Sequence[Pack]) -> list[int]:
    """Write new packs; the ids of their entries."""
    (last,) = connection.execute(_LAST_ID).fetchone()
    first = (last // _SPAN + 1) * _SPAN
    numbers = range(first, first + len(packs) * _SPAN, _SPAN)
    connection.execute(_SET_LAST_ID, (first + len(packs) * _SPAN - 1,))
    states, events, ids = list[tuple[int, ...]](), list[tuple[int, bytes]](), list[int]()
    for number, (count, records) in zip(numbers, packs, strict=True):
        states.append((number, (1 << count) - 1, count, len(records)))
        events.append((number, records))
        ids += range(number, number + count)
    _insert(connection, "packs (id, left, count, size)", states)
    _insert(connection, "packed (id, records)", events)
    return ids


def _insert(
    connection: sqlite3.Connection, into: str, rows: Sequence[tuple[int | bytes, ...]]
) -> None:
    """Many rows with one statement: each lets go of the interpreter's lock."""
    marks = f"({', '.join('?' * len(rows[0]))})"
    begin = 0
    for size in _TOGETHER:
        sql = f"INSERT INTO {into} VALUES {', '.join([marks] * size)}"  # noqa: S608 - constants
        while len(rows) - begin >= size:
            connection.execute(sql, [*chain.from_iterable(rows[begin : begin + size])])
            begin += size


def remove(connection: sqlite3.Connection, ids: Collection[int]) -> tuple[int, list[int]]:
    """Be done with those that are left in packs; their bytes, and the ids that are in none."""
    asked, found = _by_pack(ids), dict[int, int]()
    changed, gone, freed = list[tuple[int, int, int, int]](), list[int](), 0
    for pack, left, count, size in connection.execute(_LEFT, (json.dumps([*asked]),)):
        found[pack] = done = left & asked[pack]
        if done == left:
            freed += size
            gone.append(pack)
        elif done:
            # Each of them counts the same: what it takes is free only when its pack is.
            rest = count - done.bit_count()
            changed.append((left ^ done, rest, size * rest // count, pack))
            freed += size - size * rest // count
    if changed:
        connection.executemany(_SET_LEFT, changed)
    if gone:
        for table in ("packs", "packed"):
            connection.execute(f"DELETE FROM {table} WHERE id IN {IDS}", (json.dumps(gone),))  # noqa: S608 - constants
    return freed, [
        number for number in ids if not found.get(_pack_of(number), 0) >> number % _SPAN & 1
    ]


def _pack_of(number: int) -> int:
    return number - number % _SPAN


def _by_pack(ids: Collection[int]) -> dict[int, int]:
    """The bits of these entries, by their packs, wherever there is one."""
    bits = dict[int, int]()
    for number in ids:
        pack = _pack_of(number)
        bits[pack] = bits.get(pack, 0) | 1 << number % _SPAN
    return bits


def read(
    connection: sqlite3.Connection, *, after: int = 0, but: Collection[int] = ()
) -> Iterator[Entry]:
    """What is left, in the order of the ids, one pack in memory at a time.

    Args:
        connection: of the database.
        after: an id.
        but: ids of entries that are passed over.
    """
    rows = connection.execute(
        "SELECT id, left FROM packs WHERE id > ? ORDER BY id", (after - _SPAN,)
    )
    for pack, left in rows:
        indexes = [
            index for index in _bits(left) if pack + index > after and pack + index not in but
        ]
        yield from _entries(connection, pack, indexes)


def find(connection: sqlite3.Connection, ids: Collection[int]) -> list[Entry]:
    """Those of these entries that are left."""
    asked = _by_pack(ids)
    found = connection.execute(_LEFT, (json.dumps([*asked]),)).fetchall()
    return [
        entry
        for pack, left, _, _ in found
        for entry in _entries(connection, pack, [*_bits(left & asked[pack])])
    ]


def unpack_damaged(connection: sqlite3.Connection, number: int) -> None:
    """Give an entry that is left, and can't be decoded, a row with all that its pack holds."""
    connection.execute(_UNPACK, (number, _pack_of(number), number % _SPAN))


def totals(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many entries are left, and their bytes."""
    count, size = connection.execute(
        "SELECT coalesce(sum(count), 0), coalesce(sum(size), 0) FROM packs"
    ).fetchone()
    return count, size


def _entries(connection: sqlite3.Connection, pack: int, indexes: Sequence[int]) -> Iterator[Entry]:
    if indexes:
        row = connection.execute("SELECT records FROM packed WHERE id = ?", (pack,)).fetchone()
        wanted = [(index, pack + index) for index in indexes]
        yield from decode_entries(row[0] if row is not None else None, wanted)


def _bits(number: int) -> Iterator[int]:
    """Which bits are set, from the lowest on."""
    number &= (1 << _MOST) - 1
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
