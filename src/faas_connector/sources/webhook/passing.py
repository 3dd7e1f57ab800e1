"""What of a request's headers goes on to functions."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Sequence

from faas_connector.headers import Headers, is_text


def passing(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    """Tells which header names, in lower case, go on to functions; None where none does."""
    if not patterns:
        return None
    expression = re.compile("|".join(_expression(each.lower()) for each in patterns))

    @functools.lru_cache(maxsize=1024)
    def passes(name: str) -> bool:
        return expression.fullmatch(name) is not None and name != "content-type"

    return passes


def _expression(pattern: str) -> str:
    """Of a pattern where only `*` has a meaning; however many there are, it is matched at once."""
    return fnmatch.translate(pattern.replace("[", "[[]").replace("?", "[?]"))


def passed(headers: Headers, passes: Callable[[str], bool] | None) -> dict[str, str]:
    """The fields that go on, several of one name as one (RFC 9110, 5.3)."""
    if passes is None:
        return {}
    names = {name.lower(): name for name, _ in headers.fields if passes(name.lower())}
    return {name: readable(", ".join(headers.get_all(lower))) for lower, name in names.items()}


def content_type(headers: Headers) -> str | None:
    """What the sender says of its body, where it is text that a header may hold."""
    value = headers.get("content-type")
    return value if value and is_text(value) else None


def readable(value: str) -> str:
    """A field's value as text: UTF-8 where it is that."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value
