r"""What commands print: aligned columns, and lines that appear at once.

Topics, names and errors come from whoever deploys functions or sends events. What could move the
cursor or colour a terminal is shown as an escape sequence of Python's, `\x1b` for instance.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # `--help` does without
    from faas_connector.contract import FunctionContract


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows in aligned columns two blanks apart; the last column is as wide as it needs."""
    rows = [tuple(map(visible, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)


def say(line: str) -> None:
    """Print a line, or several, that are the command's result."""
    click.echo(visible(line, but="\n\t"))


def say_json(value: object) -> None:
    """Print a value as JSON, for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def note(line: str) -> None:
    """Print a line that is about the result, on stderr."""
    click.echo(visible(line, but="\n\t"), err=True)


def visible(text: str, *, but: str = "") -> str:
    """The text with escapes for all that a terminal would not show, `but` these characters."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in but else repr(each)[1:-1] for each in text)


def warn_of_problems(functions: Iterable[FunctionContract]) -> None:
    """Say on stderr which annotations are wrong."""
    for function in functions:
        for problem in function.problems:
            note(f"Warning: {function.name}: {problem}")
