"""What went wrong in SQLite, in one line that says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from faas_connector.errors import StoreError

_WHAT = {
    sqlite3.SQLITE_FULL: "the disk is full; make room, and it goes on by itself",
    sqlite3.SQLITE_READONLY: "it may only be read; check the rights of the folder and its disk",
    sqlite3.SQLITE_IOERR: "the disk failed, or is full; check it, and it goes on by itself",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened; check the rights of the folder and its files",
    sqlite3.SQLITE_PERM: "it can't be opened; check the rights of the folder and its files",
    sqlite3.SQLITE_BUSY: "another process holds it; see which one has it open (fuser)",
    sqlite3.SQLITE_LOCKED: "another process holds it; see which one has it open (fuser)",
    sqlite3.SQLITE_PROTOCOL: "another process holds it; see which one has it open (fuser)",
    sqlite3.SQLITE_CORRUPT: "it is damaged; keep a copy, then try: sqlite3 state.db .recover",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database; move it away, or name another folder",
    sqlite3.SQLITE_NOMEM: "there is no memory left; give the process more",
}
_OF_ONE = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
}


def _code(error: Exception) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def explained(error: Exception, path: Path) -> StoreError:
    """As an error of ours."""
    if isinstance(error, StoreError):
        return error
    code = _code(error)
    if code in _WHAT:
        return StoreError(f"the store {path} failed ({error}): {_WHAT[code]}")
    if isinstance(error, OSError):
        return StoreError(
            f"the store {path} failed ({error.strerror}): is its folder there, and may this user "
            "write to it?"
        )
    return StoreError(
        f"the store {path} can't keep an entry ({type(error).__name__}: {error}); the other "
        "entries are not affected, please report this"
    )


def is_of_one(error: Exception) -> bool:
    """Whether it may be about one operation of a group: the others can be tried without it."""
    if isinstance(error, StoreError):
        return False
    return _code(error) in {None, sqlite3.SQLITE_FULL, *_OF_ONE}


def needs_reopening(error: Exception) -> bool:
    """Whether the connection may be of no use any more."""
    if isinstance(error, StoreError):
        return True
    harmless = {None, sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, *_OF_ONE}
    return _code(error) not in harmless
