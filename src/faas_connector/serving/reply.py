"""Answers, and how they are written on the wire. No I/O."""

from __future__ import annotations

import enum
import functools
import re
import time
from collections.abc import AsyncGenerator
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields in the order they go out."""

PLAIN: Final = ("Content-Type", "text/plain; charset=utf-8")
NO_SNIFF: Final = ("X-Content-Type-Options", "nosniff")
JSON: Final = ("Content-Type", "application/json")

# What Go's server holds back to find out the length; a longer body goes in chunks.
_BUFFERED = 2048
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CHUNKED = ("Transfer-Encoding", "chunked")
_FRAMING = {"connection", "transfer-encoding", "content-length", "trailer", "upgrade"}
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Flaw(enum.Enum):
    """What is wrong with an answer, on purpose."""

    NONE = "none"
    HANG_UP = "hang-up"
    """The connection is closed without a byte."""
    SHORT_BODY = "short-body"
    """Half of the promised body, then the connection is closed."""


class Reply(msgspec.Struct, frozen=True):
    """One answer of a server."""

    status: int = 200
    headers: Headers = ()
    """A Content-Length among them is kept, even if the body is shorter."""
    body: bytes = b""
    stream: AsyncGenerator[bytes] | None = None
    """Pieces that follow `body`, each sent as it comes."""
    flaw: Flaw = Flaw.NONE
    pace: float = 0.0
    """Seconds between the bytes of the body; 0 sends it at once."""


HANG_UP: Final = Reply(flaw=Flaw.HANG_UP)


def empty(status: int) -> Reply:
    """An answer without a body."""
    return Reply(status)


def text(status: int, body: str) -> Reply:
    """An answer as Go's `http.Error` gives it; `body` holds its own line end."""
    return Reply(status, (PLAIN, NO_SNIFF), body.encode("utf-8", "replace"))


def json(body: bytes, status: int = 200) -> Reply:
    """An answer of encoded JSON."""
    return Reply(status, (JSON,), body)


NOT_FOUND: Final = text(404, "404 page not found\n")

UNAUTHORIZED: Final = Reply(
    401, (("Www-Authenticate", 'Basic realm="Restricted"'), PLAIN), b"invalid credentials"
)


def reason(status: int) -> str:
    """The reason phrase of a status, as Go writes it."""
    return _REASONS.get(status, f"status code {status}")


class Wire(msgspec.Struct, frozen=True):
    """What goes out for one answer."""

    head: bytes
    body: bytes
    chunked: bool
    """Whether what follows `body` goes in chunks, with a last chunk at the end."""
    keep_alive: bool


def to_wire(reply: Reply, *, method: str, version: str, keep_alive: bool) -> Wire:
    """The bytes of an answer to a request of this method and HTTP version."""
    fields, declared, dated = _clean(reply.headers)
    framing, body, whole = _framed(reply, declared, version)
    keep_alive = keep_alive and (whole or method == "HEAD")
    begin, end = _around_date(version, reply.status, fields, framing, keep_alive)
    return Wire(
        begin + end if dated else begin + _date_field() + end,
        b"" if method == "HEAD" else body,
        reply.stream is not None and framing is not None,
        keep_alive,
    )


# Most answers have the heads of others.
@functools.lru_cache(maxsize=256)
def _clean(headers: Headers) -> tuple[Headers, int | None, bool]:
    """The fields that may go out, the Content-Length among them, and whether there is a Date."""
    fields: list[tuple[str, str]] = []
    declared: int | None = None
    dated = False
    for name, value in headers:
        lower = name.lower()
        if lower == "content-length":
            declared = int(value) if re.fullmatch(r"[0-9]{1,15}", value) else declared
        elif lower not in _FRAMING and _NAME.fullmatch(name):
            dated = dated or lower == "date"
            fields.append((name, _UNSAFE.sub(" ", value)))
    return tuple(fields), declared, dated


@functools.lru_cache(maxsize=256)
def _around_date(
    version: str, status: int, fields: Headers, framing: tuple[str, str] | None, keep_alive: bool
) -> tuple[bytes, bytes]:
    """What of a head stands before the Date that we give it, and what behind it."""
    lines = [f"HTTP/{version} {status} {reason(status)}"]
    lines += [f"{name}: {value}" for name, value in fields]
    last = [] if framing is None else [": ".join(framing)]
    if not keep_alive:
        last.append("Connection: close")
    elif version == "1.0":
        last.append("Connection: keep-alive")
    begin, end = "\r\n".join([*lines, ""]), "\r\n".join([*last, "", ""])
    return encode_head(begin), encode_head(end)


def _framed(
    reply: Reply, declared: int | None, version: str
) -> tuple[tuple[str, str] | None, bytes, bool]:
    """The field that says where the body ends, the body, and whether it is all that was promised.

    A stream to an HTTP/1.0 client has no such field: it ends with the connection.
    """
    if reply.status in {204, 304} or reply.status < 200:
        return None, b"", True
    if reply.stream is not None:
        if version == "1.1":
            return _CHUNKED, chunk(reply.body), True
        return None, reply.body, False
    length, body = _counted(reply, declared)
    whole = length == len(body)
    if whole and declared is None and length > _BUFFERED and version == "1.1":
        return _CHUNKED, chunk(body) + b"0\r\n\r\n", True
    return ("Content-Length", str(length)), body, whole


def encode_head(head: str) -> bytes:
    """Header text as bytes: what came from the wire goes back as it came, the rest is UTF-8."""
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        return head.encode("utf-8", "replace")


def chunk(piece: bytes) -> bytes:
    """One chunk; an empty piece gives nothing (an empty chunk would be the last)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


def _counted(reply: Reply, declared: int | None) -> tuple[int, bytes]:
    """The length to promise, and the bytes to send."""
    if reply.flaw is Flaw.SHORT_BODY:
        promised = max(len(reply.body), 2)
        return promised, reply.body[: promised // 2]
    if declared is None:
        return len(reply.body), reply.body
    return declared, reply.body[:declared]


class _Clock:
    """The Date field, made once a second."""

    __slots__ = ("field", "second")

    def __init__(self) -> None:
        self.second = -1
        self.field = b""


_clock = _Clock()


def _date_field() -> bytes:
    now = int(time.time())
    if now != _clock.second:
        _clock.second, _clock.field = now, f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
    return _clock.field
