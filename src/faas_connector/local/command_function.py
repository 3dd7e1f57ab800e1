"""A function that is a command: a process for each call, as under the classic watchdog."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from faas_connector.errors import ConfigError
from faas_connector.local.environment import SecretValue
from faas_connector.local.function import Log
from faas_connector.local.worker_function import WorkerRunner


class CommandFunction(msgspec.Struct, frozen=True, kw_only=True):
    """What a `CommandRunner` needs to know."""

    name: str
    command: str
    """The `fprocess`: words as a shell would split them; no shell runs."""
    folder: Path
    """Where it runs; must exist."""
    environment: dict[str, str] = {}
    secrets: tuple[str, ...] = ()


class CommandRunner(WorkerRunner):
    """Runs a command for each call.

    The body is its standard input, its output the answer, `Http_…` variables tell of the request,
    another exit status than 0 is a 500. Cancelling a call kills the command and what it started.
    Its watchdog settings are those of the function's `environment`.

    Raises:
        ConfigError: the command is empty or its quotes don't match.
    """

    def __init__(self, function: CommandFunction, *, secret: SecretValue, log: Log) -> None:
        super().__init__(
            function.name,
            environment=function.environment,
            secrets=function.secrets,
            secret=secret,
            log=log,
        )
        self._folder = function.folder
        self._words = split_command(function.command)

    def _worker(self, home: Path) -> tuple[str, list[str], Path]:  # noqa: ARG002
        settings = self._watchdog
        switches = {
            "combine_output": settings.combine_output,
            "cgi_headers": settings.cgi_headers,
            "write_debug": settings.write_debug,
        }
        chosen = ",".join(name for name, on in switches.items() if on)
        arguments = [chosen, str(settings.exec_timeout), settings.content_type]
        return "commands", [*arguments, *self._words], self._folder


def split_command(command: str) -> list[str]:
    """The words of an `fprocess`.

    Raises:
        ConfigError: there are none, or the quotes don't match.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(
            f"fprocess {command!r} can't be split into words ({error}); "
            "for example: python3 main.py --name 'two words'"
        ) from error
    if not words:
        raise ConfigError("fprocess is empty; for example: cat")
    return words
