"""HTTP header fields: what may pass, and a mapping that ignores case."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from faas_connector.errors import ConfigError

# RFC 9110, 5.6.2: a field name is a token.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110, 5.5, less obs-text: visible ASCII, with blanks and tabs inside only.
_TEXT = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")


class Headers(Mapping[str, str]):
    """Header fields of a response: a read-only mapping whose names ignore case.

    A field that came several times gives its first value; `get_all` gives every one. Iterating
    gives the names in lower case. It equals any mapping of the same names, in any case, and values.
    """

    __slots__ = ("_fields", "_index")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = tuple(fields)
        self._index: dict[str, list[str]] | None = None

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Every field as it came: names as the peer wrote them, in order."""
        return self._fields

    def get_all(self, name: str) -> tuple[str, ...]:
        """Every value of the field, in order; empty when there is none."""
        return tuple(self._by_name().get(name.lower(), ()))

    def _by_name(self) -> dict[str, list[str]]:
        index = self._index
        if index is None:
            index = dict[str, list[str]]()
            for name, value in self._fields:
                index.setdefault(name.lower(), []).append(value)
            self._index = index
        return index

    def __getitem__(self, name: str) -> str:
        return self._by_name()[name.lower()][0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._by_name()

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return self._by_name() == other._by_name()
        if isinstance(other, Mapping):
            return self == Headers(cast("Mapping[str, str]", other).items())
        return NotImplemented

    # Equal mappings may differ in the case of their names, and a dict has no hash either.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({list(self._fields)!r})"


def is_token(name: str) -> bool:
    """Whether `name` may be a field name."""
    return _TOKEN.fullmatch(name) is not None


def is_text(value: str) -> bool:
    """Whether `value` may be a field value as it is (visible ASCII, no CR, LF or NUL)."""
    # The first three tell it of nearly all, in half the time.
    is_plain = value.isascii() and value.isprintable() and value.strip() == value
    return is_plain or _TEXT.fullmatch(value) is not None


def encode_field(name: str, value: str) -> tuple[tuple[str, str], ...]:
    """One field, or two when the value is no header text.

    Such a value goes as base64 of its UTF-8 bytes, with `<name>-Enc: b64` beside it, as the
    commercial Kafka connector does with `X-Kafka-Key` and `X-Kafka-Key-Enc`.

    Raises:
        ConfigError: `name` is no header name.
    """
    if not _TOKEN.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no header name: letters, digits and '-', for example 'X-Source'"
        )
    if _TEXT.fullmatch(value):
        return ((name, value),)
    return ((name, b64encode(_bytes(value)).decode("ascii")), (f"{name}-Enc", "b64"))


def _bytes(text: str) -> bytes:
    try:
        # What Python decoded from an argument that is no UTF-8 becomes those bytes again.
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # JSON may hold half of a surrogate pair.
        return text.encode("utf-8", "surrogatepass")
