"""What holds of the HTTP/1.1 parsers whatever bytes come.

- All at once, in pieces and byte by byte give the same, or are refused alike.
- What h11 takes as an answer we take as the same one, or refuse for a reason of `STRICTER`; what we
  take h11 takes as well, but for `LENIENT`.
- An answer or request that is written down again is read as the same.
- The limits hold, and nothing but the documented errors comes out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import ModuleType

import h11
from http1_cases import Case

from faas_connector.errors import ProtocolError, ResponseTooLargeError

MAX_HEAD = 512
MAX_BODY = 256
LONGEST_SIZE_LINE = 510

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a parser made of a message."""

    status: int
    fields: Fields
    body: bytes
    stays_open: bool


REFUSED, SHORT = "refused", "not complete"
Outcome = Answer | str


def check(case: Case, http1: ModuleType) -> Hashable:
    """Fail where a property does not hold; gives what kind of case this was.

    Args:
        case: the message.
        http1: the module of the parsers.
    """
    kinds: list[Hashable] = []
    for head_only in (False, True):
        found, error = read_answer(http1, [case.message], head_only=head_only)
        for split in case.splits:
            again, _ = read_answer(http1, split, head_only=head_only)
            assert again == found, f"split {split}: {again}, at once: {found}"
        theirs = by_h11(case.message, head_only=head_only)
        compare(case.message, found, theirs, head_only=head_only)
        if isinstance(found, Answer):
            write_and_read(http1, found)
        kinds += [kind(found), kind(theirs), error]
    requests, error = read_requests(http1, [case.message])
    for split in case.splits:
        again, _ = read_requests(http1, split)
        assert again == requests, f"split {split}: {again}, at once: {requests}"
    for request in requests:
        if request is not REFUSED:
            write_and_read_request(http1, request)
    return (*kinds, len(requests), error)


def kind(outcome: Outcome) -> Hashable:
    if isinstance(outcome, Answer):
        return (outcome.status, len(outcome.fields), len(outcome.body) > 3, outcome.stays_open)
    return outcome


def read_answer(
    http1: ModuleType, pieces: list[bytes], *, head_only: bool = False, room: int = MAX_HEAD
) -> tuple[Outcome, str]:
    """What the response parser makes of it, and the text of its error."""
    parser = http1.ResponseParser(max_head_bytes=room, max_body_bytes=MAX_BODY)
    parser.start(head_only=head_only)
    try:
        for position, piece in enumerate(pieces):
            if piece and (response := parser.feed(piece)) is not None:
                more = any(pieces[position + 1 :])
                return answer(response, stays_open=parser.keep_alive and not more), ""
            held = len(parser._buffer)
            assert held <= room + MAX_BODY + len(piece), f"{held} bytes are held"
        response = parser.eof()
    # For one of its faults; which one is seen first depends on the split.
    except (ProtocolError, ResponseTooLargeError) as error:
        return REFUSED, str(error)
    return (SHORT if response is None else answer(response, stays_open=False)), ""


def answer(response: object, *, stays_open: bool) -> Answer:
    found = Answer(response.status, response.headers.fields, response.body, stays_open)
    assert 200 <= found.status <= 999
    assert len(found.body) <= MAX_BODY, "the limit of a body does not hold"
    return found


def by_h11(message: bytes, *, head_only: bool) -> Outcome:
    """The first answer as h11 reads it."""
    client = h11.Connection(h11.CLIENT)
    method = "HEAD" if head_only else "GET"
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    response, body = None, b""
    try:
        client.receive_data(message)
        client.receive_data(b"")
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif not isinstance(event, h11.InformationalResponse):
                return SHORT
    except h11.RemoteProtocolError:
        return REFUSED
    raw = [(name.decode(), value.decode("latin-1")) for name, value in response.headers]
    stays_open = client.their_state is h11.DONE and not client.trailing_data[0]
    return Answer(response.status_code, tuple(raw), body, stays_open)


def compare(message: bytes, ours: Outcome, theirs: Outcome, *, head_only: bool) -> None:
    """Fail where we read an answer in another way than h11 for no listed reason."""
    if isinstance(ours, Answer):
        if isinstance(theirs, Answer):
            assert ours.status == theirs.status
            assert ours.body == theirs.body
            assert comparable(ours.fields) == comparable(theirs.fields)
            # h11 knows no keep-alive in HTTP/1.0.
            assert theirs.stays_open or not ours.stays_open or b"HTTP/1.0" in message
        else:
            assert any(holds(message) for holds in LENIENT.values()), f"only we read {ours}"
    if isinstance(theirs, Answer):
        parts = Parts.of(message, theirs, head_only=head_only)
        reasons = [name for name, holds in STRICTER.items() if holds(parts)]
        if not isinstance(ours, Answer):
            assert reasons, f"{ours}, but h11 reads {theirs}"
        assert ours is REFUSED or not ALWAYS.intersection(reasons), reasons


def comparable(fields: Fields) -> list[tuple[str, str]]:
    """Fields as h11 gives them: a length that is repeated once, codings in lower case."""
    given: list[tuple[str, str]] = []
    for name, value in fields:
        # A folded line may be joined with one blank or more (RFC 9112, 5.2).
        pair = (name.lower(), " ".join(value.strip(" \t").replace("\t", " ").split()))
        if pair[0] == "transfer-encoding":
            pair = (pair[0], pair[1].lower())
        if pair[0] != "content-length" or not any(pair[0] == known for known, _ in given):
            given.append(pair)
    return given


HEAD = re.compile(rb"(HTTP/(...) (...).*?\n)\r?\n", re.DOTALL)
FOLD = re.compile(rb"[ \t]*\r?\n[ \t]+")
BARE_LF = re.compile(rb"(?<!\r)\n")


@dataclass(frozen=True, slots=True)
class Parts:
    """A message that h11 reads, taken apart."""

    heads: tuple[re.Match[bytes], ...]
    """Those of 1xx, and the one of the answer."""
    sizes: tuple[bytes, ...]
    """The lines before the chunks."""
    trailer: bytes
    body: bytes
    chunked: bool

    @property
    def last(self) -> bytes:
        """The head of the answer, its folded lines joined, in lower case."""
        return FOLD.sub(b" ", self.heads[-1][0]).lower()

    @classmethod
    def of(cls, message: bytes, answer: Answer, *, head_only: bool) -> Parts:
        heads: list[re.Match[bytes]] = []
        at = 0
        while not heads or heads[-1][3] < b"200":
            heads.append(HEAD.match(message, at))
            at = heads[-1].end()
        said = {name.lower() for name, _ in answer.fields}
        chunked = "transfer-encoding" in said
        sizes: list[bytes] = []
        if chunked and not head_only and answer.status not in {204, 304}:
            while not sizes or int(re.match(rb"[0-9a-fA-F]+", sizes[-1])[0], 16):
                line, _, rest = message[at:].partition(b"\r\n")
                sizes.append(line)
                size = int(re.match(rb"[0-9a-fA-F]+", line)[0], 16)
                at = len(message) - len(rest) + (size + 2 if size else 0)
        trailer = re.match(rb"\r?\n|.*?\n\r?\n", message[at:], re.DOTALL) if sizes else None
        ended = trailer[0] if trailer else b""
        return cls(tuple(heads), tuple(sizes), ended, answer.body, chunked)


# What we refuse and h11 does not, and why.
STRICTER: dict[str, Callable[[Parts], object]] = {
    "a line ends with LF alone: proxies differ over it": lambda parts: any(
        BARE_LF.search(text) for text in (*(head[0] for head in parts.heads), parts.trailer)
    ),
    "neither HTTP/1.1 nor 1.0": lambda parts: any(
        head[2] not in {b"1.0", b"1.1"} for head in parts.heads
    ),
    "lengths in a list": lambda parts: re.search(rb"\ncontent-length:[^\n]*,", parts.last),
    "a length beside chunks: which one counts?": lambda parts: (
        parts.chunked and b"\ncontent-length:" in parts.last
    ),
    "chunks in HTTP/1.0": lambda parts: parts.sizes and parts.heads[-1][2] == b"1.0",
    "a length of more than 15 digits": lambda parts: re.search(
        rb"\ncontent-length:[ \t]*[0-9]{16}", parts.last
    ),
    "a chunk's size of more than 16 digits": lambda parts: any(
        re.match(rb"[0-9a-fA-F]{17}", line) for line in parts.sizes
    ),
    "NUL or CR in a chunk's extension": lambda parts: any(
        re.search(rb"[\0\r]", line) for line in parts.sizes
    ),
    "a folded line in a trailer": lambda parts: re.search(rb"\n[ \t]", parts.trailer),
    "a chunk's line is over its limit": lambda parts: any(
        len(line) > LONGEST_SIZE_LINE for line in parts.sizes
    ),
    "the heads are over their limit": lambda parts: parts.heads[-1].end() > MAX_HEAD,
    "the trailer is over its limit": lambda parts: len(parts.trailer) > MAX_HEAD,
    "the body is over its limit": lambda parts: len(parts.body) > MAX_BODY,
}
# Those that hold whatever else the message says.
ALWAYS = frozenset(STRICTER) - {"a length of more than 15 digits"}
# What we take and h11 does not.
LENIENT: dict[str, Callable[[bytes], object]] = {
    "VT and FF in a line: nobody takes them for its end": lambda message: re.search(
        rb"[\x0b\x0c]", message
    ),
    "blanks before a chunk's extension: they must be taken (RFC 9112, 7.1.1: BWS)": (
        lambda message: re.search(rb"\n[0-9a-fA-F]+[ \t]+;", message)
    ),
    "lengths that are written differently": lambda message: re.search(
        rb"\ncontent-length:[ \t]*0[0-9]", FOLD.sub(b" ", message).lower()
    ),
}


def write_and_read(http1: ModuleType, found: Answer) -> None:
    """Fail unless the answer, written with a length and in chunks, is read as the same."""
    framing = {"content-length", "transfer-encoding", "connection"}
    fields = tuple(each for each in found.fields if each[0].lower() not in framing)
    lines = [f"HTTP/1.1 {found.status} x", *(f"{name}: {value}" for name, value in fields)]
    head = "\r\n".join(lines).encode("latin-1")
    bare = found.status in {204, 304}
    size = len(found.body)
    forms = {
        b"Content-Length": b"\r\nContent-Length: %d\r\n\r\n" % size + found.body,
        b"Transfer-Encoding": b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"" if bare else b"%x\r\n%b\r\n" % (size, found.body) * bool(size) + b"0\r\n\r\n"),
    }
    for form in forms.values():
        again, error = read_answer(http1, [head + form], room=4 * MAX_HEAD)
        assert isinstance(again, Answer), error
        assert (again.status, again.body) == (found.status, found.body)
        assert again.fields[:-1] == fields
        assert again.stays_open or found.status == 204


def read_requests(http1: ModuleType, pieces: list[bytes]) -> tuple[tuple[object, ...], str]:
    """What the request parser makes of it: requests, and perhaps a refusal."""
    parser = http1.RequestParser(max_head_bytes=MAX_HEAD, max_body_bytes=MAX_BODY)
    found: list[object] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (request := parser.next_request()) is not None:
                assert len(request.body) <= MAX_BODY, "the limit of a body does not hold"
                found.append(request)
            held = len(parser._buffer)
            assert held <= MAX_HEAD + MAX_BODY + len(piece), f"{held} bytes are held"
    except http1.RequestError as error:
        return (*found, REFUSED), str(error)
    return tuple(found), ""


def write_and_read_request(http1: ModuleType, found: object) -> None:
    """Fail unless the request, written with a length, is read as the same."""
    framing = {"content-length", "transfer-encoding", "expect"}
    fields = [each for each in found.headers if each[0].lower() not in framing]
    lines = [
        f"{found.method} {found.target} HTTP/{found.version}",
        *(f"{name}: {value}" for name, value in fields),
        f"Content-Length: {len(found.body)}\r\n\r\n",
    ]
    parser = http1.RequestParser(max_head_bytes=4 * MAX_HEAD, max_body_bytes=MAX_BODY)
    parser.feed("\r\n".join(lines).encode("latin-1") + found.body)
    again = parser.next_request()
    assert again is not None
    assert list(again.headers[:-1]) == fields
    for name in ("method", "target", "version", "body", "keep_alive"):
        assert getattr(again, name) == getattr(found, name), name
