"""The options of every command that talks to a gateway."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from faas_connector.cli.connection import Connection, GatewayFlags, connection

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = (
    click.option("-g", "--gateway", metavar="URL", help="The gateway.  [$OPENFAAS_URL]"),
    click.option("-u", "--username", metavar="NAME", help="Its user.  [admin]"),
    click.option("--password-file", metavar="FILE", help="Read the password from a file."),
    click.option("-s", "--password-stdin", is_flag=True, help="Read it from standard input."),
    click.option("-k", "--token", metavar="TOKEN", help="A token instead, or @FILE."),
    click.option(
        "-n", "--namespace", "namespaces", metavar="NAME", multiple=True,
        help="Only these namespaces; 'team-*' works. Repeatable.  [all]",
    ),
    click.option("--tls-no-verify", is_flag=True, help="Accept any certificate."),
    click.option("--ca-file", metavar="FILE", help="Certificates to trust (PEM)."),
)  # fmt: skip


def gateway_options(command: Callable[Concatenate[Connection, P], R]) -> Callable[P, R]:
    """Give a command the options of the gateway; it gets what they say as first argument."""

    @functools.wraps(command)
    def with_connection(*args: P.args, **options: P.kwargs) -> R:
        flags = _take_flags(options)
        found = connection(flags, os.environ, home=Path.home(), folder=Path.cwd())
        return command(found, *args, **options)

    decorated: Callable[P, R] = with_connection
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _take_flags(options: dict[str, object]) -> GatewayFlags:
    reads_password = options.pop("password_stdin")
    taken = {
        name: options.pop(name)
        for name in (
            "gateway", "username", "password_file", "token", "namespaces", "tls_no_verify",
            "ca_file",
        )
    }  # fmt: skip
    password = sys.stdin.read().strip() if reads_password else None
    return GatewayFlags(password=password, **taken)  # type: ignore[arg-type]
