"""What `dev` and `gateway` share."""

from __future__ import annotations

import os
from pathlib import Path

import click

from faas_connector.cli.output import note
from faas_connector.local.stack import Stack, read_stack


def open_stack(path: str | None) -> Stack | None:
    """The stack file, if one is wanted; what is odd in it is said on stderr.

    Raises:
        StackError: it has a mistake.
        click.BadParameter: there is no such file.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise click.BadParameter(f"there is no file {path!r}", param_hint="--stack")
    stack = read_stack(path, os.environ)
    for warning in stack.warnings:
        note(f"Warning: {warning}")
    return stack
