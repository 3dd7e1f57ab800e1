"""Which parked entries are due, and when the next one is; found without reading the events.

An ordered entry with a key is of a chain, that of its function and key, and due once all before it
are. Behind one that is not, very many may wait: few chains are looked at one by one, each as far as
it is due. Where there are many, their entries are walked through in order.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from typing import Any

from faas_connector.names import FunctionName

Function = tuple[bytes, bytes]
"""The name and namespace of a function, empty where an entry is for whoever asks for it."""

_Key = tuple[int, bytes, bytes]

# Chains of a function that are looked at one by one.
_FEW_CHAINS = 256
# Entries that are looked at for the next one, before all chains are.
_WALKED = 256

_TEXT = "CAST(? AS TEXT)"
_FUNCTION = f"name = {_TEXT} AND namespace = {_TEXT}"
_NOT_HELD = "id NOT IN (SELECT value FROM json_each(?))"
_BY_DUE = "FROM entries INDEXED BY parked_by_due WHERE state = 1"
# The function after another, and when its first entry is due; each is one look at the index.
_FIRST_DUE = f"SELECT due {_BY_DUE} AND {_FUNCTION} ORDER BY due LIMIT 1"
_NEXT_NAMESPACE = f"""
    SELECT due, name, namespace {_BY_DUE} AND name = {_TEXT} AND namespace > {_TEXT}
    ORDER BY namespace, due LIMIT 1
"""
_NEXT_NAME = f"""
    SELECT due, name, namespace {_BY_DUE} AND name > {_TEXT} ORDER BY name, namespace, due LIMIT 1
"""
_FREE = "state = 1 AND (ordered <> 1 OR key IS NULL)"
_FREE_DUE = f"""
    SELECT id FROM entries INDEXED BY free_by_id
    WHERE {_FREE} AND {_FUNCTION} AND {_NOT_HELD} AND due <= ? ORDER BY id LIMIT ?
"""  # noqa: S608 - constants
_FREE_NEXT = f"""
    SELECT due FROM entries INDEXED BY free_by_due
    WHERE {_FREE} AND {_FUNCTION} AND {_NOT_HELD} ORDER BY due LIMIT 1
"""  # noqa: S608 - constants
_CHAINED = "FROM entries INDEXED BY chain_by_id WHERE state = 1 AND ordered = 1 AND key IS NOT NULL"
# A key is text, or bytes where it can't be encoded; read, both are bytes.
_KEY = f"CASE WHEN ? THEN {_TEXT} ELSE ? END"
_KEYS = f"SELECT typeof(key) = 'text', key, key {_CHAINED} AND {_FUNCTION}"
_FIRST_KEY = f"{_KEYS} ORDER BY key LIMIT 1"
_NEXT_KEY = f"{_KEYS} AND key > {_KEY} ORDER BY key LIMIT 1"
_CHAIN = f"""
    SELECT id, due {_CHAINED} AND {_FUNCTION} AND key = {_KEY} AND {_NOT_HELD} ORDER BY id LIMIT ?
"""
# Whether an entry of the same chain that isn't held comes first; `due` says which ones count.
_BEHIND = f"""
    ordered = 1 AND key IS NOT NULL AND EXISTS (
        SELECT 1 FROM entries p WHERE p.state = 1 AND p.ordered = 1 AND p.key = entries.key
        AND p.name = entries.name AND p.namespace = entries.namespace AND p.id < entries.id
        AND p.{_NOT_HELD}
"""  # noqa: S608 - constants
_WALK_DUE = f"""
    SELECT id FROM entries INDEXED BY parked_by_id WHERE state = 1 AND {_FUNCTION} AND {_NOT_HELD}
    AND due <= ? AND NOT ({_BEHIND} AND p.due > ?)) ORDER BY id LIMIT ?
"""  # noqa: S608 - constants
# The first of those that are due soonest and have none before them.
_SOON = f"""
    SELECT due FROM (
        SELECT id, name, namespace, key, ordered, due {_BY_DUE} AND {_FUNCTION} AND {_NOT_HELD}
        ORDER BY due LIMIT ?
    ) entries WHERE NOT ({_BEHIND})) ORDER BY due LIMIT 1
"""  # noqa: S608 - constants
_OF_FUNCTION = f"{_CHAINED} AND name = CAST(:name AS TEXT) AND namespace = CAST(:namespace AS TEXT)"
_HEADS = f"""
    WITH RECURSIVE keys(key) AS (
        SELECT (SELECT key {_OF_FUNCTION} ORDER BY key LIMIT 1)
        UNION ALL
        SELECT (SELECT key {_OF_FUNCTION} AND entries.key > keys.key ORDER BY key LIMIT 1)
        FROM keys WHERE key IS NOT NULL
    )
    SELECT min((
        SELECT due {_OF_FUNCTION} AND entries.key = keys.key
        AND id NOT IN (SELECT value FROM json_each(:held)) ORDER BY id LIMIT 1
    )) FROM keys WHERE key IS NOT NULL
"""  # noqa: S608 - constants


def raw(function: FunctionName) -> Function:
    """A function as it stands in the database."""
    return function.name.encode(), function.namespace.encode()


def functions(
    connection: sqlite3.Connection, paused: Iterable[FunctionName], *, until: float = math.inf
) -> list[Function]:
    """Those with parked entries that are due until then, but those that are paused.

    One look at an index for each: however much is parked for the others, nobody walks through it.
    """
    found, passed = list[Function](), set[Function]()
    left_out = {raw(function) for function in paused}
    last: Function = (b"", b"")
    row: tuple[Any, ...] | None = connection.execute(_FIRST_DUE, last).fetchone()
    while last not in passed:
        if row is not None and row[0] <= until and last not in left_out:
            found.append(last)
        passed.add(last)
        row = (
            connection.execute(_NEXT_NAMESPACE, last).fetchone()
            or connection.execute(_NEXT_NAME, last[:1]).fetchone()
        )
        if row is None:
            break
        last = (row[1], row[2])
    return found


def due_ids(
    connection: sqlite3.Connection, function: Function, now: float, held: str, limit: int
) -> list[int]:
    """The first entries of a function that are due.

    Args:
        connection: of the database.
        function: whose.
        now: seconds since the epoch.
        held: ids that are left out, and hold nothing back; a list in JSON.
        limit: of entries.
    """
    keys = _few_keys(connection, function)
    if keys is None:
        return _numbers(connection, _WALK_DUE, (*function, held, now, held, now, limit))
    found = _numbers(connection, _FREE_DUE, (*function, held, now, limit))
    for key in keys:
        for number, due in connection.execute(_CHAIN, (*function, *key, held, limit)):
            if due > now or (len(found) >= limit and number > found[limit - 1]):
                break
            found.append(number)
        found.sort()
        del found[limit:]
    return found


def next_due(connection: sqlite3.Connection, function: Function, held: str) -> float | None:
    """From when on `due_ids` finds an entry; None where there is none.

    Args:
        connection: of the database.
        function: whose.
        held: as for `due_ids`.
    """
    soon = connection.execute(_SOON, (*function, held, _WALKED, held)).fetchone()
    if soon is not None:
        return float(soon[0])
    name, namespace = function
    named = {"name": name, "namespace": namespace, "held": held}
    firsts = [
        connection.execute(_FREE_NEXT, (*function, held)).fetchone(),
        connection.execute(_HEADS, named).fetchone(),
    ]
    return min((first[0] for first in firsts if first and first[0] is not None), default=None)


def _few_keys(connection: sqlite3.Connection, function: Function) -> list[_Key] | None:
    """The keys of a function's chains, as `_KEY` takes them; None where they are many."""
    keys = list[_Key]()
    key: _Key | None = connection.execute(_FIRST_KEY, function).fetchone()
    while key is not None:
        if len(keys) == _FEW_CHAINS:
            return None
        keys.append(key)
        key = connection.execute(_NEXT_KEY, (*function, *key)).fetchone()
    return keys


def _numbers(connection: sqlite3.Connection, sql: str, values: tuple[object, ...]) -> list[int]:
    return [number for (number,) in connection.execute(sql, values)]
