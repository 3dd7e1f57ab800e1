"""What commands print: aligned columns, and lines that appear at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from faas_connector.contract import FunctionContract


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows in aligned columns two blanks apart; the last column is as wide as it needs."""
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)


def say(line: str) -> None:
    """Print a line that is the command's result."""
    click.echo(line)


def note(line: str) -> None:
    """Print a line that is about the result, on stderr."""
    click.echo(line, err=True)


def warn_of_problems(functions: Iterable[FunctionContract]) -> None:
    """Say on stderr which annotations are wrong."""
    for function in functions:
        for problem in function.problems:
            note(f"Warning: {function.name}: {problem}")
