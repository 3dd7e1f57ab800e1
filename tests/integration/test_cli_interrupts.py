"""Ctrl-C before a command is up: it ends, and says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("faas-connector"))


class Starting:
    """A command that tells on stderr of every module it has imported."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        """What it wrote there besides."""

    def imports(self, module: str) -> None:
        """Wait until it has imported this one."""
        for line in self.process.stderr:
            if self.take(line) == module:
                return
        raise AssertionError(f"{module} was not imported; it said {self.said}")

    def take(self, line: str) -> str | None:
        if line.startswith("import time:"):
            return line.rpartition("|")[2].strip()
        self.said.append(line)
        return None

    def interrupt(self) -> int:
        """Send what Ctrl-C sends; the exit status."""
        self.process.send_signal(signal.SIGINT)
        for line in self.process.stderr:
            self.take(line)
        return self.process.wait(timeout=60)


@pytest.fixture
def start(tmp_path):
    @contextmanager
    def start(*arguments: str, program: tuple[str, ...] = (COMMAND,)):
        environ = {**os.environ, "HOME": str(tmp_path), "PYTHONPROFILEIMPORTTIME": "1"}
        with subprocess.Popen(
            [*program, *arguments],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Starting(process)
            finally:
                process.kill()

    return start


# In this order, from the first that is imported after `main` is entered.
MOMENTS = ["traceback", "click", "faas_connector.cli.app", "asyncio", "faas_connector.config"]
PROGRAMS = [(COMMAND,), (sys.executable, "-m", "faas_connector")]


@pytest.mark.parametrize("program", PROGRAMS, ids=["script", "module"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_while_modules_are_imported_is_130(start, moment, program):
    with start("dev", "--port", "0", program=program) as command:
        command.imports(moment)
        assert command.interrupt() == 130
        assert "".join(command.said).strip() == ""


@pytest.mark.parametrize("delay", [0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3])
@pytest.mark.parametrize("arguments", ["dev --port 0", "topics", "--help"])
def test_an_interrupt_at_any_moment_shows_no_traceback(start, arguments, delay):
    with start(*arguments.split()) as command:
        command.imports("click")
        threading.Event().wait(delay)  # whatever it does then
        # 0: it was up, or had ended; 1: no gateway answered; -2: the interpreter was going
        assert command.interrupt() in {0, 1, 130, -signal.SIGINT}
        said = "".join(command.said).strip()
        assert said == "" or said.startswith("Error: ")
        assert "Traceback" not in said


def test_an_interrupt_that_is_ignored_stays_ignored(start):
    # As a shell starts what runs in the background.
    ignoring = ("sh", "-c", 'trap "" INT; exec "$0" "$@"', COMMAND)
    with start("--version", program=ignoring) as command:
        command.imports("click")
        assert command.interrupt() == 0
        assert command.said == []
