"""How HTTP/1.1 marks where a message ends: the fields that say it, and the bodies (RFC 9112).

Pure: bytes in, bytes out. Requests and responses share it.
"""

from __future__ import annotations

import re
from typing import Protocol

from faas_connector.headers import Headers

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# A size line of a chunk: up to 16 hex digits, an extension that nobody reads.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*+(?:;[^\r\n\0]*+)?")
_MAX_CHUNK_LINE = 512
_TRAILER = re.compile(rb"(?:" + TOKEN + rb":[^\r\n\0]*+\r\n)*+\r\n")
_MAX_LENGTH_DIGITS = 15
_BARE_LF = re.compile(rb"(?<!\r)\n")


class FramingError(Exception):
    """Where the message ends can't be told; the text is the reason."""


class BodyTooLargeError(Exception):
    """The body is over the limit."""


class ReceivedHeaders(Headers):
    """Header fields that are taken apart when somebody reads them first."""

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        self._fields = ()
        self._index = None
        self._raw = raw

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Every field as it came: names as the peer wrote them, in order."""
        if self._raw:
            self._fields = split_fields(self._raw)
            self._raw = b""
        return self._fields

    def _by_name(self) -> dict[str, list[str]]:
        if self._raw:
            self._fields = self.fields
        return super()._by_name()

    def __repr__(self) -> str:
        return f"Headers({list(self.fields)!r})"


def split_fields(raw: bytes) -> tuple[tuple[str, str], ...]:
    """The fields of a checked block of `name: value` lines, each ended by CRLF."""
    fields: list[tuple[str, str]] = []
    for line in raw.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            fields.append((name, value.strip(" \t")))
    return tuple(fields)


def has_bare_lf(data: bytearray, start: int, end: int) -> bool:
    """Whether a line ends without CR; `start` is where the last look ended."""
    return _BARE_LF.search(data, max(0, start - 1), end) is not None


def content_length(head: bytes, *, repeats: bool) -> int | None:
    """The Content-Length in a lower-cased head; None when it has none.

    Args:
        head: the whole head, from the first line to the empty one.
        repeats: whether the field may come again with the same value.

    Raises:
        FramingError: it is no length, or there are several.
    """
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return None
    end = head.find(b"\r\n", at + 2)
    value = head[at + 17 : end].strip(b" \t")
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
        raise FramingError("its Content-Length is no length")
    if head.find(b"\r\ncontent-length:", end) >= 0:
        others = {item.lstrip(b"0") for item in field_values(head, b"content-length")}
        if not repeats or len(others) > 1:
            raise FramingError("it has several Content-Length fields")
    return int(value)


def is_chunked(head: bytes) -> bool:
    """Whether a lower-cased head says `Transfer-Encoding: chunked`.

    Raises:
        FramingError: it names any other coding, or a length beside it.
    """
    if head.find(b"\r\ntransfer-encoding:") < 0:
        return False
    if field_values(head, b"transfer-encoding") != [b"chunked"]:
        raise FramingError("its Transfer-Encoding is not 'chunked' alone")
    if head.find(b"\r\ncontent-length:") >= 0:
        raise FramingError("it has both Transfer-Encoding and Content-Length")
    return True


def stays_open(head: bytes, version: bytes) -> bool:
    """Whether the connection may be used again, by a lower-cased head; `version` is 1 or 0."""
    if head.find(b"\r\nconnection:") < 0:
        return version == b"1"
    options = {
        option.strip(b" \t")
        for value in field_values(head, b"connection")
        for option in value.split(b",")
    }
    return b"close" not in options and (version == b"1" or b"keep-alive" in options)


def field_values(head: bytes, name: bytes) -> list[bytes]:
    """Every value of a field in a lower-cased head, in order."""
    mark = b"\r\n" + name + b":"
    return [part.partition(b"\r\n")[0].strip(b" \t") for part in head.split(mark)[1:]]


class Body(Protocol):
    """A body that is being read out of the connection's buffer."""

    @property
    def held(self) -> int:
        """Bytes that it has taken and not given yet."""
        ...

    def read(self, buffer: bytearray) -> bytes | None:
        """Take what belongs to the body out of `buffer`; the whole body once it is complete."""
        ...


class CountedBody:
    """A body of a known length."""

    __slots__ = ("_length",)

    def __init__(self, length: int) -> None:
        self._length = length

    @property
    def held(self) -> int:
        """None: they stay in the buffer."""
        return 0

    def read(self, buffer: bytearray) -> bytes | None:
        """The body once all of it is there."""
        if len(buffer) < self._length:
            return None
        with memoryview(buffer) as all_of_it:
            body = bytes(all_of_it[: self._length])  # a list of functions is copied once only
        del buffer[: self._length]
        return body


class UnboundedBody:
    """A body that ends with the connection."""

    __slots__ = ("_data", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()

    @property
    def held(self) -> int:
        """Bytes that have come."""
        return len(self._data)

    def read(self, buffer: bytearray) -> bytes | None:
        """Never complete by itself; see `end`."""
        self._data += buffer
        buffer.clear()
        if len(self._data) > self._limit:
            raise BodyTooLargeError
        return None

    def end(self) -> bytes:
        """The body, now that the connection has ended."""
        return bytes(self._data)


class ChunkedBody:
    """A chunked body; extensions and trailers are checked and dropped (RFC 9112, 7.1)."""

    __slots__ = ("_data", "_limit", "_missing", "_seen", "_trailer_limit", "_trailing")

    def __init__(self, limit: int, trailer_limit: int) -> None:
        self._limit = limit
        self._trailer_limit = trailer_limit
        self._data = bytearray()
        self._missing = 0  # bytes of the chunk that is being read, with its CRLF
        self._trailing = False
        self._seen = 0  # how much of an incomplete trailer was searched

    @property
    def held(self) -> int:
        """Bytes of the chunks that have come."""
        return len(self._data)

    def read(self, buffer: bytearray) -> bytes | None:
        """The body once its last chunk and trailer are there.

        Raises:
            FramingError: a chunk is malformed.
            BodyTooLargeError: the chunks are larger than the limit together.
        """
        while not self._trailing:
            if self._missing:
                if not self._read_chunk(buffer):
                    return None
            elif not self._read_size(buffer):
                return None
        return bytes(self._data) if self._read_trailer(buffer) else None

    def _read_size(self, buffer: bytearray) -> bool:
        end = buffer.find(b"\r\n", 0, _MAX_CHUNK_LINE)
        if end < 0:
            # Refused as early as it can be told, however the bytes are split.
            if len(buffer) >= _MAX_CHUNK_LINE or not _may_become_size(buffer):
                raise FramingError("a chunk has no size")
            return False
        match = _CHUNK_SIZE.fullmatch(buffer, 0, end)
        if match is None:
            raise FramingError("a chunk has no size")
        size = int(match[1], 16)
        if len(self._data) + size > self._limit:
            raise BodyTooLargeError
        del buffer[: end + 2]
        if size:
            self._missing = size + 2
        else:
            self._trailing = True
        return True

    def _read_chunk(self, buffer: bytearray) -> bool:
        taken = min(len(buffer), self._missing - 2)
        if taken > 0:
            self._data += buffer[:taken]
            del buffer[:taken]
            self._missing -= taken
        if self._missing > 2:
            return False
        if not b"\r\n".startswith(buffer[:2]):
            raise FramingError("a chunk is longer than its size")
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self._missing = 0
        return True

    def _read_trailer(self, buffer: bytearray) -> bool:
        if buffer.startswith(b"\r\n"):
            del buffer[:2]
            return True
        end = buffer.find(b"\r\n\r\n", max(0, self._seen - 3), self._trailer_limit)
        if end < 0:
            window = min(len(buffer), self._trailer_limit)
            if has_bare_lf(buffer, self._seen, window) or len(buffer) >= self._trailer_limit:
                raise FramingError("its trailer is malformed or too large")
            self._seen = window
            return False
        if not _TRAILER.fullmatch(buffer, 0, end + 4):
            raise FramingError("its trailer is malformed or too large")
        del buffer[: end + 4]
        return True


def _may_become_size(line: bytearray) -> bool:
    if line.endswith(b"\r"):
        line = line[:-1]
    return not line or _CHUNK_SIZE.fullmatch(line) is not None
