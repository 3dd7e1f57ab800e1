"""HTTP/1.1 without sockets: a parser for answers and one for requests (RFC 9110, RFC 9112).

Both are strict where a lenient reading could make two programs disagree about where a message
ends: bare LF, NUL, blanks before a colon, two lengths, a length beside chunks. Both bound what
they hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from faas_connector.errors import (
    ConfigError,
    ProtocolError,
    ResponseTooLargeError,
)
from faas_connector.gateway.framing import (
    TOKEN,
    Body,
    BodyTooLargeError,
    ChunkedBody,
    CountedBody,
    FramingError,
    ReceivedHeaders,
    UnboundedBody,
    content_length,
    field_values,
    has_bare_lf,
    is_chunked,
    split_fields,
    stays_open,
)
from faas_connector.headers import Headers

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_RESPONSE_BYTES: Final = 1024 * 1024
MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024

_RESPONSE_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n\0]*+)?\r\n"
    rb"((?:" + TOKEN + rb":[^\r\n\0]*+\r\n)*+)\r\n"
)
# The head that nearly every answer has, told at one look: its body's length is known, and it says
# nothing else of where the answer or the connection ends.
_OTHER_FIELDS = (
    rb"(?:(?![CcTt](?i:ontent-length|onnection|ransfer-encoding):)"
    + TOKEN + rb":[^\r\n\0]*+\r\n)*+"
)  # fmt: skip
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [^\r\n\0]*+)?\r\n"
    rb"(" + _OTHER_FIELDS
    + rb"[Cc](?i:ontent-length):[ \t]*+([0-9]{1,15})[ \t]*+\r\n"
    + _OTHER_FIELDS + rb")\r\n"
)  # fmt: skip
_STATUS = {b"%d" % status: status for status in range(200, 600)}
# Whatever length they announce (RFC 9112, 6.3).
_WITHOUT_BODY = (b"204", b"304")
# Control characters other than tab are refused in what a client sends; peers differ over them.
_REQUEST_HEAD = re.compile(
    rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]++) HTTP/([0-9]\.[0-9])\r\n"
    rb"((?:" + TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
)
_NO_HEADERS = Headers()
_FOLD = re.compile(rb"[ \t]*\r\n[ \t]+")
_MAY_BEGIN = re.compile(TOKEN + rb"(?: |\Z)|\r?\Z")
_REQUEST_LINE = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+")
_FIELD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*")


class RawResponse(msgspec.Struct, frozen=True, gc=False):
    """A complete answer."""

    status: int
    headers: Headers
    """Every field; names ignore case. Taken apart at the first look."""
    body: bytes


class ResponseParser:
    """Reads one answer after another from the bytes of a connection.

    `start` gets ready for an answer; `feed` returns it once it is complete. 1xx answers are
    skipped, trailers dropped. After an error neither parser nor connection is of further use.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_head_only",
        "_headers",
        "_max_body",
        "_max_head",
        "_room",
        "_seen",
        "_status",
        "begun",
        "keep_alive",
    )

    def __init__(
        self, *, max_head_bytes: int = MAX_HEAD_BYTES, max_body_bytes: int = MAX_RESPONSE_BYTES
    ) -> None:
        self._max_head = max_head_bytes
        self._max_body = max_body_bytes
        self._buffer = bytearray()
        self._forget()
        self.start()

    def start(self, *, head_only: bool = False) -> None:
        """Get ready for an answer; `head_only` when the request's method is HEAD."""
        self._head_only = head_only
        self.begun = False
        """Whether a byte of the answer has come."""
        self.keep_alive = False
        """Whether the connection may carry another request, once the answer is complete."""
        if self._status:  # of an answer that came bit by bit
            self._forget()

    def _forget(self) -> None:
        """Know no answer any more that didn't come all at once."""
        self._room = self._max_head  # for all heads of this answer, 1xx included
        self._seen = 0  # how much of an incomplete head was searched
        self._status = 0
        self._headers: Headers = _NO_HEADERS
        self._body: Body | None = None

    def feed(self, data: bytes) -> RawResponse | None:
        """Take bytes off the connection; the answer once it is complete.

        Bytes beyond its end are an answer that nobody asked for: `keep_alive` is then False.

        Raises:
            ProtocolError: this is no HTTP/1.1, or it can't be told where the answer ends.
            ResponseTooLargeError: the body is larger than `max_body_bytes`.
        """
        if not self.begun:
            self.begun = True
            match = None if self._head_only else _PLAIN_HEAD.match(data)
            if match is not None:
                code, fields, length = match.groups()
                end = match.end()
                is_whole = int(length) == len(data) - end <= self._max_body and end <= self._room
                if is_whole and code not in _WITHOUT_BODY:
                    self.keep_alive = True
                    return RawResponse(_STATUS[code], ReceivedHeaders(fields), data[end:])
        self._buffer += data
        if self._body is None and not self._read_heads():
            return None
        return self._read_body()

    def eof(self) -> RawResponse | None:
        """The peer has hung up: the answer, if it ends in this way; None if it is cut short."""
        if isinstance(self._body, UnboundedBody):
            return RawResponse(self._status, self._headers, self._body.end())
        return None

    def _read_heads(self) -> bool:
        """Read heads out of the buffer up to the first that is not 1xx."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n\r\n", max(0, self._seen - 3), self._room) + 4
            if end < 4:
                self._check_partial_head()
                return False
            head = bytes(buffer[:end])
            match = _RESPONSE_HEAD.fullmatch(head) or _RESPONSE_HEAD.fullmatch(_unfold(head))
            if match is None:
                raise ProtocolError("the answer's head is malformed")
            del buffer[:end]
            self._seen = 0
            self._room -= end
            if match[2] >= b"200":
                self._read_head(match)
                return True
            if match[2] == b"101":
                raise ProtocolError("the answer switches protocols (101), which nobody asked for")

    def _check_partial_head(self) -> None:
        """Refuse what can't become a head, as soon as it can be told."""
        buffer = self._buffer
        if not b"HTTP/1.".startswith(buffer[:7]):
            raise ProtocolError("the answer does not begin with 'HTTP/1.'")
        window = min(len(buffer), self._room)
        if has_bare_lf(buffer, self._seen, window):
            raise ProtocolError("the answer's head is malformed")
        if len(buffer) >= self._room:
            raise ProtocolError(f"the answer's head is larger than {self._max_head} bytes")
        self._seen = window

    def _read_head(self, match: re.Match[bytes]) -> None:
        """Learn from a head where the body ends."""
        version, code, fields = match.groups()
        head = match[0].lower()
        self._status = int(code)
        self._headers = ReceivedHeaders(fields)
        self.keep_alive = stays_open(head, version)
        try:
            chunked = is_chunked(head)
            length = content_length(head, repeats=True)
        except FramingError as error:
            raise ProtocolError(f"the answer's end is unclear: {error}") from None
        if self._head_only or code == b"304":
            length = 0
        elif code == b"204":
            # A peer that announces a body here may send one: nothing else may follow it.
            self.keep_alive = self.keep_alive and not chunked and not length
            length = 0
        elif chunked:
            if version == b"0":
                raise ProtocolError("the answer's end is unclear: chunks are not of HTTP/1.0")
            self._body = ChunkedBody(self._max_body, self._max_head)
            return
        elif length is None:
            self.keep_alive = False
            self._body = UnboundedBody(self._max_body)
            return
        elif length > self._max_body:
            raise self._too_large()
        self._body = CountedBody(length)

    def _read_body(self) -> RawResponse | None:
        body = self._body
        if body is None:
            return None
        try:
            data = body.read(self._buffer)
        except FramingError as error:
            raise ProtocolError(f"the answer's body is malformed: {error}") from None
        except BodyTooLargeError:
            raise self._too_large() from None
        if data is None:
            return None
        if self._buffer:
            self.keep_alive = False
        return RawResponse(self._status, self._headers, data)

    def _too_large(self) -> ResponseTooLargeError:
        return ResponseTooLargeError(
            f"the answer is larger than {self._max_body} bytes (limits.max_response_bytes)"
        )


def _unfold(head: bytes) -> bytes:
    """Join folded field lines, as a user agent must (RFC 9112, 5.2)."""
    line, end, fields = head.partition(b"\r\n")
    return line + end + _FOLD.sub(b" ", fields) if fields[:1] not in b" \t" else head


class Request(msgspec.Struct, frozen=True):
    """A complete request, as the server side sees it."""

    method: str
    target: str
    """As sent: a path with its query, or a whole URL."""
    version: str
    """1.1 or 1.0."""
    headers: tuple[tuple[str, str], ...]
    body: bytes
    keep_alive: bool
    """Whether the client can take another answer on this connection."""


class RequestError(Exception):
    """A request that can't be served: answer with `status` and `text`, then close."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
        self.text = text


class RequestParser:
    """Reads requests, pipelined ones too, from the bytes of a connection.

    `feed` takes bytes, `next_request` gives one complete request after another.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_error",
        "_expected",
        "_match",
        "_max_body",
        "_max_head",
        "_seen",
        "_stays_open",
    )

    def __init__(
        self, *, max_head_bytes: int = MAX_HEAD_BYTES, max_body_bytes: int = MAX_REQUEST_BYTES
    ) -> None:
        self._max_head = max_head_bytes
        self._max_body = max_body_bytes
        self._buffer = bytearray()
        self._seen = 0  # how much of an incomplete head was searched
        self._match: re.Match[bytes] | None = None
        self._body: Body | None = None
        self._stays_open = True
        self._expected = False
        self._error: RequestError | None = None

    @property
    def idle(self) -> bool:
        """Whether no byte of a further request has come."""
        return self._match is None and not self._buffer

    @property
    def held(self) -> int:
        """Bytes of requests that are not given yet."""
        held = len(self._buffer)
        if self._match is not None and self._body is not None:
            held += len(self._match.string) + self._body.held
        return held

    @property
    def target(self) -> str | None:
        """The target of the request whose body is being read, or was when an error came."""
        if self._match is None or self._body is None:
            return None
        return self._match[2].decode("latin-1")

    def feed(self, data: bytes) -> None:
        """Take bytes off the connection."""
        if self._error is None:
            self._buffer += data

    def next_request(self) -> Request | None:
        """The next request once it is complete; None while it is not.

        Raises:
            RequestError: what came is no request, or too large; every later call raises it too.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._next()
        except FramingError as error:
            self._error = RequestError(400, f"the request's end is unclear: {error}")
        except BodyTooLargeError:
            self._error = self._too_large()
        except RequestError as error:
            self._error = error
        self._buffer.clear()
        raise self._error

    def take_expectation(self) -> bool:
        """Whether the client waits for a `100 Continue` before it sends the body; True once."""
        expected = self._expected and self._match is not None and not self._buffer
        self._expected = False
        return expected

    def _next(self) -> Request | None:
        if self._body is None and not (self._buffer and self._read_head()):
            return None
        match, reader = self._match, self._body
        if match is None or reader is None:
            return None
        body = reader.read(self._buffer)
        if body is None:
            return None
        self._match = self._body = None
        self._expected = False
        method, target, version, fields = match.groups()
        return Request(
            method.decode("ascii"),
            target.decode("latin-1"),
            version.decode("ascii"),
            split_fields(fields),
            body,
            self._stays_open,
        )

    def _read_head(self) -> bool:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # left over from a body (RFC 9112, 2.2)
            del buffer[:2]
            self._seen = 0
        end = buffer.find(b"\r\n\r\n", max(0, self._seen - 3), self._max_head) + 4
        if end < 4:
            self._check_partial_head()
            return False
        match = _REQUEST_HEAD.fullmatch(bytes(buffer[:end]))
        if match is None:
            raise RequestError(400, "the request's head is malformed")
        del buffer[:end]
        self._seen = 0
        self._match = match
        self._body = self._body_of(match)
        return True

    def _check_partial_head(self) -> None:
        """Refuse what can't become a head, as soon as it can be told."""
        buffer = self._buffer
        window = min(len(buffer), self._max_head)
        # Other protocols (TLS first of all) show at the first byte and have no line ends.
        if has_bare_lf(buffer, self._seen, window) or not _MAY_BEGIN.match(buffer, 0, window):
            raise RequestError(400, "the request's head is malformed")
        if len(buffer) >= self._max_head:
            raise RequestError(431, f"the request's head is larger than {self._max_head} bytes")
        self._seen = window

    def _body_of(self, match: re.Match[bytes]) -> Body:
        version, target = match[3], match[2]
        head = match[0].lower()
        if version not in {b"1.1", b"1.0"}:
            raise RequestError(505, "HTTP/1.1 is spoken here")
        if not (target.startswith(b"/") or b"://" in target or target == b"*"):
            raise RequestError(400, "the request's target is no path")
        hosts = head.count(b"\r\nhost:")
        if hosts > 1 or (version == b"1.1" and not hosts):
            raise RequestError(400, "the request needs exactly one Host field")
        self._stays_open = stays_open(head, version[2:])
        self._expected = version == b"1.1" and b"\r\nexpect:" in head
        if self._expected and field_values(head, b"expect") != [b"100-continue"]:
            raise RequestError(417, "only 'Expect: 100-continue' is known here")
        if is_chunked(head):
            if version == b"1.0":
                raise FramingError("chunks are not of HTTP/1.0")
            return ChunkedBody(self._max_body, self._max_head)
        length = content_length(head, repeats=False) or 0
        if length > self._max_body:
            raise self._too_large()
        return CountedBody(length)

    def _too_large(self) -> RequestError:
        return RequestError(413, f"the request's body is larger than {self._max_body} bytes")


def request_head(method: str, target: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """The head of a request, from its first line to the empty one.

    The last guard before the wire: nothing that could end a line early passes.

    Raises:
        ConfigError: the method, the target, a name or a value can't stand in a head.
    """
    line = f"{method} {target}"
    if not _REQUEST_LINE.fullmatch(line):
        raise ConfigError(
            f"{line!r} can't begin a request: a method and a percent-encoded path, "
            "for example 'POST /function/printer'"
        )
    lines = [f"{line} HTTP/1.1"]
    for name, value in fields:
        field = f"{name}: {value}"
        if not _FIELD.fullmatch(field):
            # The value may be a secret.
            raise ConfigError(
                f"the header {name!r} can't be sent: a name is letters, digits and '-', "
                "a value has no line ends or control characters"
            )
        lines.append(field)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
