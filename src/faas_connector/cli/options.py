"""The options of every command that talks to a gateway."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from faas_connector.cli.connection import Connection, GatewayFlags, connection
from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.settings.file import read_file
from faas_connector.settings.general import General, general

P = ParamSpec("P")
R = TypeVar("R")

_FLAGS = [field.name for field in fields(GatewayFlags)]
FILE = click.option(
    "-f", "--file", metavar="FILE", help="Settings, as run reads them; its sources stay closed."
)
NAMESPACES = click.option(
    "-n", "--namespace", "namespaces", metavar="NAME", multiple=True,
    help="Only these namespaces; 'team-*' works. Repeatable.  [all]",
)  # fmt: skip
GATEWAY_OPTIONS = (
    click.option("-g", "--gateway", metavar="URL", help="The gateway.  [$OPENFAAS_URL]"),
    click.option("-u", "--username", metavar="NAME", help="Its user.  [admin]"),
    click.option("--password-file", metavar="FILE", help="Read the password from a file."),
    click.option("-s", "--password-stdin", is_flag=True, help="Read it from standard input."),
    click.option("-k", "--token", metavar="TOKEN", help="A token instead, or @FILE."),
    NAMESPACES,
    click.option("--tls-no-verify", is_flag=True, help="Accept any certificate."),
    click.option("--ca-file", metavar="FILE", help="Certificates to trust (PEM)."),
)  # fmt: skip


def duration(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """The callback of an option that takes a time in Go's spelling; gives seconds."""
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error
    if not seconds:
        raise click.BadParameter(f"{text!r} must be longer than 0; for example '10s'")
    return seconds


MATCHERS = ("exact", "case-insensitive", "glob", "mqtt", "nats")
_MATCHER = click.option(
    "-m", "--matcher", type=click.Choice(MATCHERS), metavar="NAME",
    help=f"How topics are compared: {', '.join(MATCHERS)}.  [exact]",
)  # fmt: skip


def gateway_options(command: Callable[Concatenate[GatewayFlags, P], R]) -> Callable[P, R]:
    """Give a command the options of the gateway; it gets what they say as first argument."""

    @functools.wraps(command)
    def with_flags(*args: P.args, **options: P.kwargs) -> R:
        flags = gateway_flags({name: options.pop(name) for name in _FLAGS})
        return command(flags, *args, **options)

    decorated: Callable[P, R] = with_flags
    for option in (_MATCHER, *reversed(GATEWAY_OPTIONS)):
        decorated = option(decorated)
    return decorated


def gateway_parameters() -> list[click.Parameter]:
    """The options of the gateway, for a command that is not made of a function."""

    def holder() -> None:
        """Carry the options."""

    for option in GATEWAY_OPTIONS:
        option(holder)
    found: list[click.Parameter] = getattr(holder, "__click_params__", [])
    return found


def gateway_flags(params: Mapping[str, Any]) -> GatewayFlags:
    """What the options of the gateway say."""
    return GatewayFlags(**{name: params[name] for name in _FLAGS if name in params})


def settings_of(
    file: str | None, flags: Mapping[str, str | Sequence[str]] | None = None
) -> General:
    """All settings but the sources, as a run with this file would have them.

    Args:
        file: what `-f` names; of its sources nothing is looked at.
        flags: those of settings, without dashes.

    Raises:
        ConfigError: the file can't be read, or a setting can't work.
    """
    raw = None if file is None else read_file(file, os.environ)
    return general(os.environ, flags=flags, file=raw)


def connect(flags: GatewayFlags, settings: General | None = None) -> Connection:
    """What the flags, this process's environment, a file and the stored login say.

    Args:
        flags: those of the gateway.
        settings: all others, those of a file among them; None for those of the environment.

    Raises:
        ConfigError: a setting can't work.
    """
    return connection(
        flags,
        os.environ,
        home=Path.home(),
        folder=Path.cwd(),
        read_password=sys.stdin.read,
        settings=settings,
    )
