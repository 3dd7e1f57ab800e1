"""Runs programs as their readers do: a process of their own, a terminal that sends Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from faas_connector.testing import ThreadedGateway

ROOT = Path(__file__).parents[2]


class Program:
    """A program that runs; every warning of Python's is an error in it."""

    def __init__(
        self,
        errors: Path,
        arguments: tuple[str, ...],
        stdin: str | None,
        environment: Mapping[str, str],
    ) -> None:
        self._errors = errors
        with _interruptible(), errors.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-W", "error", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={"PATH": os.environ["PATH"], **environment},
                cwd=ROOT,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin, self.stdout = self._process.stdin, self._process.stdout
        if stdin is not None:
            self.stdin.write(stdin)
            self.stdin.close()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def line(self) -> str:
        """Its next line."""
        line = self.stdout.readline()
        assert line, f"it ended: {self.errors}"
        return line.rstrip("\n")

    def end(self) -> int:
        """Its exit status, when it has ended by itself."""
        return self._process.wait()

    def interrupt(self) -> int:
        """Press Ctrl-C; its exit status."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self.stdin, self.stdout):
            with contextlib.suppress(BrokenPipeError):
                file.close()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """A shell's background job ignores SIGINT, and so would all that it starts."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


Start = Callable[..., Program]


@pytest.fixture
def start(threaded_gateway: ThreadedGateway, tmp_path: Path) -> Iterator[Start]:
    """Starts programs whose `$OPENFAAS_URL` is the test's gateway."""
    with contextlib.ExitStack() as programs:

        def start(*arguments: str, stdin: str | None = None, **environment: str) -> Program:
            environment = {"OPENFAAS_URL": threaded_gateway.url, **environment}
            program = Program(tmp_path / "errors", arguments, stdin, environment)
            programs.callback(program.close)
            return program

        yield start
