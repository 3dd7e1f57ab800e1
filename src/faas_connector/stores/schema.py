"""The database's tables, how an older version is brought up to date, and how it is opened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from faas_connector.disk import sync_folder
from faas_connector.errors import StoreError, StoreVersionError
from faas_connector.stores.folder import close_file_to_others

APPLICATION_ID = 0x66616173
"""`faas`: tells our databases from others (SQLite's file format, 1.3.16)."""

JOURNAL, PARKED, DEAD, DONE = range(4)
"""What stands in the column `state`."""

# Partial indexes: a journal entry, the most frequent one, is in one of them only.
_VERSION_1 = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state INTEGER NOT NULL DEFAULT 0,   -- 0 journal, 1 parked, 2 dead, 3 done
    size INTEGER NOT NULL DEFAULT 0,    -- what a journal entry counts towards the limit
    source TEXT NOT NULL,
    position TEXT,
    name TEXT NOT NULL DEFAULT '',      -- of the function; empty for all that match
    namespace TEXT NOT NULL DEFAULT '',
    topic TEXT,
    key TEXT,
    ordered INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    reason TEXT,
    first REAL NOT NULL DEFAULT 0,
    last REAL NOT NULL DEFAULT 0,
    rest BLOB,                          -- MessagePack; what nothing is looked up by
    head BLOB,                          -- MessagePack; the event but topic, key and body
    data BLOB                           -- the event's body
);
CREATE INDEX known ON entries (source, position) WHERE position IS NOT NULL;
CREATE INDEX journal ON entries (id, size) WHERE state = 0;
CREATE INDEX parked ON entries (due) WHERE state = 1;
CREATE INDEX chain ON entries (name, namespace, key, due) WHERE state = 1 AND ordered = 1;
CREATE INDEX dead_by_id ON entries (id) WHERE state = 2;
CREATE INDEX dead_by_name ON entries (name) WHERE state = 2;
CREATE INDEX done ON entries (due) WHERE state = 3;
CREATE TABLE claims (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL);
"""

# What is due of each function by itself: a paused one may have very many.
_VERSION_2 = """
DROP INDEX parked;
CREATE INDEX parked_by_due ON entries (name, namespace, due) WHERE state = 1;
CREATE INDEX parked_by_id ON entries (name, namespace, id, due, ordered) WHERE state = 1;
"""

# Journal entries as they are accepted, many to a row. What changes stands apart from the events.
_VERSION_3 = """
CREATE TABLE packs (
    id INTEGER PRIMARY KEY,             -- of its first entry; a multiple of 64
    left INTEGER NOT NULL,              -- bits: the entries that are not done with
    count INTEGER NOT NULL,             -- of them
    size INTEGER NOT NULL               -- what they count towards the limit
);
CREATE TABLE packed (
    id INTEGER PRIMARY KEY,             -- of its pack
    records BLOB NOT NULL               -- MessagePack; all entries, done with or not
);
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'entries', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'entries');
"""

# Chain by chain, and what is of none: behind one that is not due, very many may wait.
_VERSION_4 = """
CREATE INDEX chain_by_id ON entries (name, namespace, key, id, due)
    WHERE state = 1 AND ordered = 1 AND key IS NOT NULL;
CREATE INDEX free_by_id ON entries (name, namespace, id, due)
    WHERE state = 1 AND (ordered <> 1 OR key IS NULL);
CREATE INDEX free_by_due ON entries (name, namespace, due)
    WHERE state = 1 AND (ordered <> 1 OR key IS NULL);
"""

# Ids begin at 1 in each database.
_VERSION_5 = """
CREATE TABLE identity (name TEXT NOT NULL);
INSERT INTO identity VALUES (lower(hex(randomblob(8))));
"""

# Nothing was ever looked up in it.
_VERSION_6 = "DROP INDEX dead_by_name"

MIGRATIONS: tuple[str, ...] = (
    _VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6,
)  # fmt: skip
"""The step to each version from the one before; the first begins with nothing."""

# SQLite's file format, 1.2: page size at 16, user version at 60, application id at 68.
_MAGIC = b"SQLite format 3\0"
_HEADER = 100

_SETTINGS = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA secure_delete = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -8000;
PRAGMA wal_autocheckpoint = 1000;
PRAGMA journal_size_limit = 67108864;
"""


def create(path: Path) -> None:
    """Make a database; there is either a whole one or none, whenever this ends."""
    new = path.with_name(f"{path.name}.new")
    for leftover in (new, new.with_name(f"{new.name}-journal")):
        leftover.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)
    with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
        # Larger than the usual 4096: fewer pages per group of events.
        connection.execute("PRAGMA page_size = 8192")
        _migrate(connection, 0)
        connection.execute("PRAGMA journal_mode = WAL")
    new.replace(path)
    sync_folder(path.parent)


def version_of(path: Path) -> int:
    """The version of the database, found without touching it.

    Raises:
        StoreVersionError: a newer version of this package wrote it.
        StoreError: it is no database of this package.
        FileNotFoundError: there is none.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
    if not header.startswith(_MAGIC) or len(header) < _HEADER:
        raise _no_database(path, "no SQLite database")
    application, version = _number(header, 68), _number(header, 60)
    if application != APPLICATION_ID:
        raise _no_database(path, "a database of another program")
    _refuse_newer(path, version)
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size:
        # What is there may be newer than the file. A connection that may only read moves nothing.
        with contextlib.closing(_connect(path, "ro", 5.0)) as connection:
            version = _version(connection)
        _refuse_newer(path, version)
    return version


def open_database(path: Path, busy: float) -> sqlite3.Connection:
    """Connect to a database of this version.

    Args:
        path: of its file.
        busy: seconds to wait for another process that holds it.
    """
    close_file_to_others(path)
    connection = _connect(path, "rw", busy)
    try:
        connection.executescript(_SETTINGS)
        if connection.execute("PRAGMA journal_mode").fetchone() != (b"wal",):
            connection.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        connection.close()
        raise
    return connection


def set_synced(connection: sqlite3.Connection, *, is_synced: bool) -> None:
    """Whether the next commits bring to the disk what they write."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")


def touch(connection: sqlite3.Connection) -> None:
    """Change nothing, but make SQLite bring to the disk what it has written, at the commit."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def checkpoint(connection: sqlite3.Connection) -> bool:
    """Bring all that was committed to the disk, and into the file; whether all of it is there."""
    busy, found, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and found == done


def migrate(path: Path, version: int) -> None:
    """Bring an older database up to date."""
    with contextlib.closing(open_database(path, 5.0)) as connection:
        _migrate(connection, version)
        # So that the version stands in the file, where others look for it.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {step}; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {number}; COMMIT"
            )
        except BaseException:
            if connection.in_transaction:
                connection.rollback()
            raise


def _connect(path: Path, mode: str, busy: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=busy,
        isolation_level=None,
        cached_statements=256,
    )
    # Text that is no UTF-8 would else make a whole answer unreadable.
    connection.text_factory = bytes
    return connection


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")


def _refuse_newer(path: Path, version: int) -> None:
    if version > len(MIGRATIONS):
        raise StoreVersionError(
            f"{path} has version {version}, and this faas-connector knows up to "
            f"{len(MIGRATIONS)}: upgrade faas-connector, or name another folder; "
            "nothing was changed"
        )


def _no_database(path: Path, what: str) -> StoreError:
    return StoreError(
        f"{path} is {what}: name another folder, or move the file away; nothing was changed"
    )
