"""The text of a stack file without the part that is no YAML, so that the others can be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_FUNCTIONS = "functions"
_KEY = re.compile(r"""\s*(['"]?)([^'":]*)""")


class Cut(NamedTuple):
    """A text of which a part was left out; its lines have kept their numbers."""

    text: str
    left_out: str
    """The name of that part: of a function, or of a field on the top level."""


def without(text: str, line: int) -> Cut:
    """The text without the function, else the field on the top level, that a line belongs to.

    Args:
        text: of the file.
        line: from 1.
    """
    lines = text.split("\n")
    at = min(line, len(lines)) - 1
    start, end = _part(lines, at, 0, 0)
    if _name(lines[start]) == _FUNCTIONS:
        inner = [_indent(each) for each in lines[start + 1 : end] if _says(each)]
        if inner and start < at:
            start, end = _part(lines, at, inner[0], start + 1)
    name = _name(lines[start])
    return Cut("\n".join([*lines[:start], *[""] * (end - start), *lines[end:]]), name)


def _part(lines: Sequence[str], at: int, indent: int, first: int) -> tuple[int, int]:
    """From which line to which the part goes that a line belongs to; parts begin at an indent."""
    starts = [n for n in range(first, at + 1) if _says(lines[n]) and _indent(lines[n]) == indent]
    ends = [n for n in range(at + 1, len(lines)) if _says(lines[n]) and _indent(lines[n]) <= indent]
    return max(starts, default=first), min(ends, default=len(lines))


def _says(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _indent(line: str) -> int:
    line = line.expandtabs()  # which is no YAML, but somewhere inside
    return len(line) - len(line.lstrip(" "))


def _name(line: str) -> str:
    found = _KEY.match(line)
    return found[2].strip() if found else ""
