"""The state folder: whose it is, who may read it, and which run has it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

from faas_connector.errors import StoreError, StoreLockedError

DATABASE = "state.db"
LOCK = "run.lock"
_OURS = {DATABASE, LOCK, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}.new"}
_LOOK_AGAIN = 0.05

_log = logging.getLogger("faas_connector.store")


def default_folder() -> Path:
    """The user's: `$XDG_STATE_HOME/faas-connector`, else `~/.local/state/faas-connector`."""
    named = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise StoreError(
            f"the state folder of this user is unknown ({error}); set XDG_STATE_HOME or name one"
        ) from error
    return base / "faas-connector"


def prepare(folder: Path) -> None:
    """Make it, with rights for its owner only.

    One that is there and open to others is closed to them if nothing but a state is in it; else it
    is refused, for what else is in it may be meant for them.

    Raises:
        StoreError: it can't be made or written, or others may look or write into it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)
        found = folder.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise StoreError(f"the state folder {folder} is a file; name another")
        _close_to_others(folder, found)
    except OSError as error:
        raise StoreError(
            f"the state folder {folder} can't be used ({error.strerror or error}): name one that "
            "this user may write"
        ) from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StoreError(
            f"the state folder {folder} can't be written by this user: change its rights, "
            "or name another"
        )


def _close_to_others(folder: Path, found: os.stat_result) -> None:
    mode, mine = stat.S_IMODE(found.st_mode), found.st_uid == os.geteuid()
    if mine and not mode & 0o077:
        return
    if mine and {each.name for each in folder.iterdir()} <= _OURS:
        folder.chmod(0o700)
        _log.warning("the state folder was open to others (%o); now it is not", mode,
                     extra={"folder": str(folder)})  # fmt: skip
        return
    why = f"open to others (mode {mode:o})" if mine else f"another user's (uid {found.st_uid})"
    raise StoreError(
        f"the state folder {folder} is {why}, and events may be secret: name a folder of its own, "
        f"for example {folder / 'faas-connector'}"
    )


def close_file_to_others(path: Path) -> None:
    """Take away rights that others have."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        path.chmod(mode & 0o700)


@contextlib.asynccontextmanager
async def run_lock(folder: Path, wait: float) -> AsyncGenerator[None]:
    """Be the only run in the folder, waiting some seconds for another one to end.

    Raises:
        StoreLockedError: the other one is still there.
        StoreError: the lock can't be written.
    """
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(
            f"the lock {path} can't be written ({error.strerror}): change its rights, or name "
            "another folder"
        ) from error
    try:
        os.fchmod(descriptor, 0o600)
        await _lock(descriptor, folder, wait)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


async def _lock(descriptor: int, folder: Path, wait: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    told = False
    while not try_lock(descriptor):
        owner = _owner(descriptor)
        if loop.time() >= deadline:
            waited = f", still after {wait:g} s" if wait else ""
            raise StoreLockedError(
                f"the state folder {folder} is used by another run ({owner}){waited}: stop that "
                "one, or name another folder"
            )
        if not told:
            told = True
            _log.info("waiting for another run (%s) to leave the state folder", owner,
                      extra={"folder": str(folder), "seconds": wait})  # fmt: skip
        await asyncio.sleep(_LOOK_AGAIN)


def try_lock(descriptor: int) -> bool:
    """Take the lock, unless another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(descriptor: int) -> str:
    written = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return f"pid {written}" if written else "pid unknown"
