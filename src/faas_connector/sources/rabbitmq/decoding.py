"""Reads what publishers must not send and do: else one such message would stop its queue for good.

The library ends the connection at text that is no UTF-8, and at a time beyond the year 9999; the
broker delivers the message again at once. Here such text keeps its bytes (as surrogate escapes),
such a time is none, and headers that can't be read at all stand under one name.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

Decoder = Callable[..., tuple[int, Any]]
"""Bytes -> how many of them were used, and the value."""
UNREADABLE = "Unreadable"
"""The name of headers that can't be read; their bytes are its value."""
_TIME_SIZE, _LENGTH_SIZE = 8, 4


def forgive(methods: MutableMapping[str, Decoder], table: MutableMapping[bytes, Decoder]) -> None:
    """Put forgiving decoders in the place of the library's, once.

    Args:
        methods: by the name of a type: of properties and arguments.
        table: by the letter of a type: of the values of headers.
    """
    if not isinstance(methods["shortstr"], _Forgiving):
        time = _Forgiving(methods["timestamp"], _no_time)
        methods["shortstr"] = _Forgiving(methods["shortstr"], _escaped)
        methods["timestamp"] = table[b"T"] = time
        methods["table"] = _Forgiving(methods["table"], _unread)


class _Forgiving:
    def __init__(self, decode: Decoder, fallback: Decoder) -> None:
        self._decode, self._fallback = decode, fallback

    def __call__(self, value: bytes) -> tuple[int, Any]:
        try:
            return self._decode(value)
        except (ValueError, OverflowError, OSError):
            return self._fallback(value)


def _escaped(value: bytes) -> tuple[int, str]:
    end = 1 + value[0]
    return end, value[1:end].decode("utf-8", "surrogateescape")


def _no_time(_value: bytes) -> tuple[int, None]:
    return _TIME_SIZE, None


def _unread(value: bytes) -> tuple[int, dict[str, bytes]]:
    end = _LENGTH_SIZE + int.from_bytes(value[:_LENGTH_SIZE])
    return end, {UNREADABLE: value[_LENGTH_SIZE:end]}
