"""Runs a command for each call, as the classic watchdog does: body in, output out.

One thread and one selector: to start a process costs more than all the rest, and threads would
only add to it.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from faas_connector.local.worker import wire
from faas_connector.local.worker.cgi import Variables
from faas_connector.local.worker.guard import adopt_orphans, end_relatives, remove_folder

MAX_RUNNING = 256
"""Commands that run at a time; more calls wait their turn."""
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_CHUNK = 65_536
# Python ignores these; a command must not inherit that.
_RESTORED = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)]


def main(arguments: list[str]) -> NoReturn:
    """The program: channel and life (descriptors), home, switches, timeout, type, command."""
    channel, life = int(arguments[0]), int(arguments[1])
    for fd in (channel, life):
        os.set_inheritable(fd, False)
    adopt_orphans()
    home, switches, timeout, content_type = arguments[2:6]
    _Commands(
        channel,
        command=arguments[6:],
        switches=frozenset(switches.split(",")),
        timeout=float(timeout),
        content_type=content_type,
    ).serve()
    end_relatives()
    remove_folder(home)
    with suppress(OSError):  # the gateway may be gone
        os.write(life, b"0")
    os._exit(0)


class _Run:
    """One command that runs for one call."""

    def __init__(self, request: wire.Request) -> None:
        self.call_id: int = request[0]
        self.request = request
        self.pid = 0
        self.output = bytearray()
        self.out_fd = -1
        self.in_fd = -1
        self.unsent = memoryview(b"")
        self.deadline = 0.0
        self.overdue = False
        self.too_long = False
        self.cancelled = False


class _Commands:
    def __init__(
        self,
        channel: int,
        *,
        command: list[str],
        switches: frozenset[str],
        timeout: float,
        content_type: str,
    ) -> None:
        self._channel = channel
        self._command = command
        self._switches = switches
        self._timeout = timeout
        self._content_type = content_type
        self._variables = Variables(cgi_headers="cgi_headers" in switches)
        self._program = _find(command[0])
        self._selector = selectors.DefaultSelector()
        self._runs: dict[int, _Run] = {}  # by process
        self._waiting: deque[wire.Request] = deque()
        self._nothing = os.open(os.devnull, os.O_RDONLY)

    def serve(self) -> None:
        """Answer calls until the gateway closes the channel."""
        wakeup, alarm = os.pipe()
        os.set_blocking(wakeup, False)
        os.set_blocking(alarm, False)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake)
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._selector.register(wakeup, selectors.EVENT_READ)
        if self._program is None:
            _log(f"{self._not_found()}; calls fail until it is there")
        self._send(wire.CONTROL, wire.READY, [], b"")
        buffer = wire.RequestBuffer()
        while True:
            ended = False
            for key, _ in self._selector.select(self._time_left()):
                if key.fd == self._channel:
                    chunk = _read(self._channel)
                    if not chunk:
                        return
                    for request in buffer.feed(chunk):
                        self._take(request)
                elif key.fd == wakeup:
                    os.read(wakeup, 4096)
                    ended = True
                elif key.events == selectors.EVENT_READ:
                    self._receive(key.data)
                else:
                    self._feed(key.data)
            if ended:  # last: what a process wrote has been read before
                self._reap()
            self._kill_overdue()

    def _take(self, request: wire.Request) -> None:
        if len(request) == 1:
            self._cancel(request[0])
        elif request[1] not in _METHODS:
            self._send(request[0], 405, [], b"")
        elif len(self._runs) >= MAX_RUNNING:
            self._waiting.append(request)
        else:
            self._start(request)

    def _cancel(self, call_id: int) -> None:
        for run in self._runs.values():
            if run.call_id == call_id:
                run.cancelled = True
                _kill_group(run.pid)
                return
        self._waiting = deque(request for request in self._waiting if request[0] != call_id)

    def _start(self, request: wire.Request) -> None:
        run = _Run(request)
        ours: list[int] = []
        theirs: list[int] = []
        try:
            self._program = self._program or _find(self._command[0])
            if self._program is None:
                self._fail(run, self._not_found())
                return
            out_read, out_write = os.pipe()
            ours.append(out_read)
            theirs.append(out_write)
            stdin = self._nothing
            body: bytes = request[5]
            if body:
                stdin, in_write = os.pipe()
                theirs.append(stdin)
                ours.append(in_write)
                os.set_blocking(in_write, False)
                run.unsent = memoryview(body)[os.write(in_write, body) :]
                run.in_fd = in_write
            actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, out_write, 1)]
            if "combine_output" in self._switches:
                actions.append((os.POSIX_SPAWN_DUP2, out_write, 2))
            run.pid = os.posix_spawn(
                self._program,
                self._command,
                self._variables.of(request),
                file_actions=actions,
                setpgroup=0,
                setsigdef=_RESTORED,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in a variable
            self._program = None
            for fd in ours:
                os.close(fd)
            number = error.errno if isinstance(error, OSError) else None
            reason = os.strerror(number or errno.EINVAL).lower()
            self._fail(run, f"fork/exec {self._command[0]}: {reason}")
            return
        finally:
            for fd in theirs:
                os.close(fd)
        run.out_fd = out_read
        os.set_blocking(out_read, False)
        self._selector.register(out_read, selectors.EVENT_READ, run)
        if run.in_fd >= 0:
            self._feed(run)
        run.deadline = time.monotonic() + self._timeout
        self._runs[run.pid] = run

    def _feed(self, run: _Run) -> None:
        """Write what the pipe takes of the body; close it at the end."""
        if run.unsent:
            try:
                run.unsent = run.unsent[os.write(run.in_fd, run.unsent) :]
            except BlockingIOError:
                pass
            except BrokenPipeError:  # it doesn't want to read more
                run.unsent = memoryview(b"")
        known = run.in_fd in self._selector.get_map()
        if run.unsent and not known:
            self._selector.register(run.in_fd, selectors.EVENT_WRITE, run)
        elif not run.unsent:
            if known:
                self._selector.unregister(run.in_fd)
            os.close(run.in_fd)
            run.in_fd = -1

    def _receive(self, run: _Run) -> bool:
        """Read what has come of the output; False when there is no more now."""
        if run.out_fd < 0:
            return False
        try:
            chunk = os.read(run.out_fd, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._close_output(run)
            return False
        run.output += chunk
        if len(run.output) > wire.MAX_ANSWER:
            run.too_long = True
            _kill_group(run.pid)
            self._close_output(run)
            return False
        return True

    def _close_output(self, run: _Run) -> None:
        if run.out_fd >= 0:
            self._selector.unregister(run.out_fd)
            os.close(run.out_fd)
            run.out_fd = -1

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while ended := _wait():
                pid, status = ended
                if run := self._runs.pop(pid, None):
                    self._finish(run, status)
        while self._waiting and len(self._runs) < MAX_RUNNING:
            self._start(self._waiting.popleft())

    def _finish(self, run: _Run, status: int) -> None:
        while self._receive(run):
            pass
        self._close_output(run)
        if run.in_fd >= 0:
            run.unsent = memoryview(b"")
            self._feed(run)
        if run.cancelled:
            return
        output = bytes(run.output)
        if "write_debug" in self._switches:
            _log(f"exit status {status}, {len(output)} bytes:\n{output!r}")
        if run.too_long:
            self._fail(run, f"the output is longer than {wire.MAX_ANSWER} bytes")
        elif run.overdue:
            self._send(run.call_id, 408, [_TEXT], b"Killed process.\n")
        elif status > 0:
            self._fail(run, f"exit status {status}", output)
        elif status < 0:
            text = signal.strsignal(-status) or str(-status)
            self._fail(run, f"signal: {text.lower()}", output)
        else:
            self._send(run.call_id, 200, self._success_fields(run), output)

    def _success_fields(self, run: _Run) -> list[tuple[str, str]]:
        if self._content_type:
            return [("Content-Type", self._content_type)]
        for name, value in run.request[4]:
            if name.lower() == "content-type":
                return [("Content-Type", value)]
        return []

    def _fail(self, run: _Run, reason: str, output: bytes = b"") -> None:
        _log(reason)
        self._send(run.call_id, 500, [_TEXT], reason.encode() + b"\n" + output)

    def _not_found(self) -> str:
        name = self._command[0]
        if "/" in name:
            return f"fork/exec {name}: no such file or directory"
        return f'exec: "{name}": executable file not found in $PATH'

    def _time_left(self) -> float | None:
        if not self._timeout:
            return None
        for run in self._runs.values():  # the first has run longest
            if not run.overdue:
                return max(0.0, run.deadline - time.monotonic())
        return None

    def _kill_overdue(self) -> None:
        if not self._timeout:
            return
        now = time.monotonic()
        for run in self._runs.values():
            if run.overdue:
                continue
            if run.deadline > now:
                break
            run.overdue = True
            _log(f"exec_timeout ({self._timeout} s): killing {self._command[0]}")
            _kill_group(run.pid)

    def _send(self, call_id: int, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        frame = memoryview(wire.pack_answer(call_id, status, fields, body))
        with suppress(BrokenPipeError, ConnectionResetError):  # the gateway is gone
            while frame:
                frame = frame[os.write(self._channel, frame) :]


def _log(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _wake(_signal: int, _frame: FrameType | None) -> None:
    """Only here so that the wakeup descriptor is written to."""


def _find(name: str) -> str | None:
    """The program's path: with a slash from the current folder, else on PATH."""
    if "/" in name:
        return name if os.path.isfile(name) else None  # noqa: PTH113  (pathlib takes 5 ms)
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = f"{folder or '.'}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113
            return path
    return None


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 262_144)
    except ConnectionResetError:
        return b""


def _wait() -> tuple[int, int] | None:
    """Reap one process that has ended, and kill what is left of its group."""
    if sys.platform == "linux":  # kill before the id is free for another group
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        _kill_group(found.si_pid)
    pid, status = os.waitpid(-1, os.WNOHANG)
    if not pid:
        return None
    _kill_group(pid)
    return pid, os.waitstatus_to_exitcode(status)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
