"""How a command that fails says so: one line on stderr, and an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import cast

import click

from faas_connector.cli.output import visible
from faas_connector.errors import ConfigError, ConnectorError, GatewayAuthError, MissingExtraError

FAILED = 1
"""Something failed, or nothing matched."""
WRONG_USE = 2
"""What was asked for can't be done with these settings and what is installed."""

HOW_TO_LOG_IN = (
    "give the password with --password-file FILE or -s; "
    "faas-connector check --help says where it is"
)


class CommandError(ConnectorError):
    """A command did not do what it was asked for; the message is all that is shown."""


def describe(error: BaseException) -> tuple[str, int]:
    """The line (without `Error:`) and the exit status of an error."""
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "faas-connector"
        problem = one_line(error.format_message()).rstrip(".")
        return f"{problem}; see {command} --help", WRONG_USE
    if isinstance(error, click.ClickException):
        return one_line(error.format_message()), error.exit_code
    text = one_line(str(error))
    if isinstance(error, GatewayAuthError) and error.status == HTTPStatus.UNAUTHORIZED:
        # What follows the mark is advice for programs.
        text = f"{text.partition(';')[0]}; {HOW_TO_LOG_IN}"
    elif not isinstance(error, ConnectorError | OSError):
        text = f"{type(error).__name__}: {text} (unexpected; see where with --debug)"
    return text, WRONG_USE if isinstance(error, ConfigError | MissingExtraError) else FAILED


def one_line(text: str) -> str:
    """The text with every line break and run of blanks as one blank, and nothing invisible."""
    return visible(" ".join(text.split()))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in an exception group, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(each)
    else:
        yield error
