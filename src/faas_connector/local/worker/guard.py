"""Keeps one process and all that it starts from outliving the gateway.

The guard is the parent of the process that runs a handler. It holds one end of a socket (`life`)
and nothing else of the gateway's: when the other end closes, even because the gateway was killed,
it ends the handler's process and all its descendants, also those that made a session of their
own, and removes its folder with the secrets.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import NoReturn

GRACE = 1.0
"""Seconds a process may take to end by itself once its channel is closed."""
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def guard(life: int, channel: int, home: str, program: Callable[[], NoReturn]) -> NoReturn:
    """Run `program` in a child and return its exit status to the gateway by way of `life`."""
    wakeup, alarm = os.pipe()
    os.set_blocking(wakeup, False)
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    signal.signal(signal.SIGCHLD, _wake)
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (life, wakeup, alarm):
            os.close(fd)
        program()
    os.close(channel)
    quiet = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # the log ends with the child
        os.dup2(quiet, fd)
    adopt_orphans()
    status = _await_end(child, life, wakeup)
    end_relatives()
    remove_folder(home)
    with suppress(OSError):  # the gateway may be gone
        os.write(life, str(status).encode())
    os._exit(0)


def _wake(_signal: int, _frame: FrameType | None) -> None:
    """Only here so that the wakeup descriptor is written to."""


def _await_end(child: int, life: int, wakeup: int) -> int:
    deadline: float | None = None
    watched = [life, wakeup]
    while True:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = select.select(watched, [], [], timeout)[0]
        if wakeup in ready:
            os.read(wakeup, 4096)
        if (status := _reap(child)) is not None:
            return status
        if life in ready:  # it holds nothing to read: this is its end
            watched.remove(life)
            deadline = time.monotonic() + GRACE
        elif not ready:
            os.kill(child, signal.SIGKILL)
            deadline = None


def _reap(child: int) -> int | None:
    """Reap what has ended; the exit status of `child` (negative for a signal) if it has."""
    found: int | None = None
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return found
            if pid == child:
                found = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        return found


def adopt_orphans() -> None:
    """Become the parent of descendants whose own has ended, where the system can do that."""
    if sys.platform != "linux":
        return
    try:
        import ctypes  # noqa: PLC0415  (10 ms that only a guard spends)

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # then only this session's processes are found


def end_relatives() -> None:
    """Kill every descendant and whatever else is in this session, and reap what can be."""
    for _ in range(100):  # an orphan that was killed shows its own children next time
        found = list(_relatives(os.getpid(), os.getsid(0)))
        for pid in found:
            _kill(pid)
        _reap(-1)
        if not found:
            return
        time.sleep(0.002)


def end_session(session: int) -> None:
    """Kill every process of another session, its leader last."""
    for _ in range(3):
        for pid in _relatives(-1, session):
            if pid != session:
                _kill(pid)
    _kill(session)


def _relatives(parent: int, session: int) -> Iterator[int]:
    try:
        pids = [
            int(name)
            for name in os.listdir("/proc")  # noqa: PTH208
            if name.isdigit()
        ]
    except FileNotFoundError:  # no /proc on this system: the process group is what we know
        pids = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  (pathlib takes 5 ms)
                state, ppid, _, sid = file.read().rpartition(b")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it ended meanwhile
        if pid != os.getpid() and state != b"Z" and (int(ppid) == parent or int(sid) == session):
            yield pid


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def remove_folder(path: str) -> None:
    """Remove a folder with all that is in it; what can't be removed stays."""
    import shutil  # noqa: PLC0415  (5 ms that only the end needs)

    shutil.rmtree(path, ignore_errors=True)
