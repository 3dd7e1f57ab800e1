"""What is said of options: the docstrings of their fields, and their values as text."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import PurePath
from textwrap import dedent
from typing import Any, cast

from faas_connector.settings.kinds import Duration, Kind, Several, Size

_SIZES = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}


@functools.cache
def docstrings(described: type) -> dict[str, str]:
    """The docstring under each field of a class, those of its bases among them."""
    found: dict[str, str] = {}
    for each in reversed(described.__mro__[:-1]):
        try:
            (definition,) = ast.parse(dedent(inspect.getsource(each))).body
        except (OSError, TypeError, SyntaxError):  # no source here, as in some bundles
            continue
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for statement, after in itertools.pairwise(body):
            match statement, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
                case _:
                    pass
    return found


def summary(described: type) -> str:
    """The first sentence of what a class says of itself."""
    text = " ".join((inspect.getdoc(described) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".") + "."


def written(value: Any, kind: Kind | None = None) -> str:
    """A value as it would be written in a variable or a flag; empty where there is none."""
    if isinstance(value, tuple | frozenset):
        items = cast("Iterable[object]", value)
        return _list(items, kind.item if isinstance(kind, Several) else None)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value) + ("s" if isinstance(kind, Duration) else "")
    if isinstance(value, int):
        return _size(value) if isinstance(kind, Size) else str(value)
    value = getattr(value, "value", getattr(value, "name", value))  # of an enum, of a matcher
    return str(value) if isinstance(value, str | PurePath) else ""


def _list(values: Iterable[object], kind: Kind | None) -> str:
    texts = [written(each, kind) for each in values]
    plain = all(text and text == text.strip() and "," not in text for text in texts)
    if plain and not (texts and texts[0].startswith("[")):
        return ",".join(texts)
    return json.dumps(texts)


def _number(value: float) -> str:
    text = f"{Decimal(repr(value)):f}"
    return text.removesuffix(".0")


def _size(value: int) -> str:
    for unit, size in _SIZES.items():
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return str(value)
