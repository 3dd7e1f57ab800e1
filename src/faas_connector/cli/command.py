"""What all commands share: `--help`, `--debug` and the state of one run."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

import click

HELP_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


@dataclass(slots=True)
class State:
    """What the options of one run of the command line have set."""

    debug: bool = False
    until_interrupted: bool = False
    """Whether Ctrl-C is the normal end of this command."""


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(State).debug = True


DEBUG = click.Option(
    ["--debug"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the log, and tracebacks of errors.",
)


class Command(click.Command):
    """A command with `-h` and `--debug`, whose log goes to stderr."""

    def __init__(
        self, name: str | None, *, log_level: int = logging.ERROR, **settings: object
    ) -> None:
        settings.setdefault("context_settings", HELP_SETTINGS)
        super().__init__(name, **settings)  # type: ignore[arg-type]
        self.params.append(DEBUG)
        self._log_level = log_level

    def invoke(self, ctx: click.Context) -> object:
        show_log(logging.DEBUG if ctx.ensure_object(State).debug else self._log_level)
        return super().invoke(ctx)


def show_log(level: int) -> None:
    """Send this package's log to stderr, from `level` upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    log = logging.getLogger("faas_connector")
    log.handlers[:] = [handler]
    log.setLevel(level)
