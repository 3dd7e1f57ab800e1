"""Fuzzes the HTTP/1.1 parsers, without sockets.

    python tests/fuzz/fuzz_http1.py --seconds 60

Whatever bytes come, however they are split: all at once and in pieces give the same, the limits
hold, what h11 reads as an answer and we read too is the same answer, and nothing but the errors of
this project comes out. A failing input is kept as `crash-…` in the current folder; give it as an
argument to run it again.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import atheris
import h11

with atheris.instrument_imports(include=["faas_connector.gateway"]):
    from faas_connector.errors import TransportError
    from faas_connector.gateway.http1 import (
        RawResponse,
        RequestError,
        RequestParser,
        ResponseParser,
    )

MAX_HEAD = 512
MAX_BODY = 256
ANSWERS = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404 \r\n", b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 304\r\n", b"HTTP/1.1 101 Switching\r\n\r\n",
]  # fmt: skip
REQUESTS = [b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST /x?y HTTP/1.1\r\n", b"HEAD * HTTP/1.0\r\n"]
FIELDS = [
    b"Content-Length: 3\r\n", b"Content-Length: 3, 3\r\n", b"Content-Length: 4\r\n",
    b"Content-Length: 300\r\n", b"Content-Length: +3\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"X: " + b"y" * 600 + b"\r\n", b"X : y\r\n", b"X: a\r\n b\r\n", b"X: \xff\x00\r\n", b"X: y\n",
    b"Set-Cookie: a\r\nSet-Cookie: b\r\n", b"Expect: 100-continue\r\n", b"\r\n", b"\r\n\r\n",
]  # fmt: skip
BODIES = [
    b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nT: x\r\n\r\n", b"3;a=b\r\nabc\r\n",
    b"ffffffff\r\n",
    b"-1\r\n", b"3\nabc\n", b"z" * 300, b"fff\r\n", b"0x3\r\nabc\r\n", b"",
]  # fmt: skip

Outcome = tuple[object, ...]


def compose(data: bytes) -> tuple[bytes, list[int]]:
    """A message out of parts and raw bytes, and where it is cut into pieces."""
    provider = atheris.FuzzedDataProvider(data)
    parts: list[bytes] = []
    for _ in range(provider.ConsumeIntInRange(1, 12)):
        kind = provider.ConsumeIntInRange(0, 4)
        lists = (ANSWERS, REQUESTS, FIELDS, BODIES)
        if kind == 4:
            parts.append(provider.ConsumeBytes(provider.ConsumeIntInRange(0, 20)))
        else:
            parts.append(lists[kind][provider.ConsumeIntInRange(0, len(lists[kind]) - 1)])
    message = b"".join(parts)
    cuts = [provider.ConsumeIntInRange(0, len(message)) for _ in range(8)]
    return message, sorted(cuts)


def read_answer(pieces: list[bytes], *, head_only: bool) -> Outcome:
    """What the response parser makes of it."""
    parser = ResponseParser(max_head_bytes=MAX_HEAD, max_body_bytes=MAX_BODY)
    parser.start(head_only=head_only)
    try:
        for position, piece in enumerate(pieces):
            if piece and (response := parser.feed(piece)) is not None:
                more = any(pieces[position + 1 :])
                return ("answer", *plain(response), parser.keep_alive and not more)
        response = parser.eof()
    except TransportError:
        return ("refused",)  # for one of its faults; which one is seen first depends on the split
    return ("cut short",) if response is None else ("answer", *plain(response), False)


def plain(response: RawResponse) -> Outcome:
    assert 200 <= response.status <= 999
    assert len(response.body) <= MAX_BODY, "the limit of a body does not hold"
    assert sum(len(name) + len(value) for name, value in response.headers.fields) <= MAX_HEAD
    return response.status, response.headers.fields, response.body


def read_requests(pieces: list[bytes]) -> Outcome:
    """What the request parser makes of it."""
    parser = RequestParser(max_head_bytes=MAX_HEAD, max_body_bytes=MAX_BODY)
    found: list[object] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (request := parser.next_request()) is not None:
                assert len(request.body) <= MAX_BODY, "the limit of a body does not hold"
                found.append(request)
    except RequestError:
        return (*found, "refused")
    return tuple(found)


def h11_answer(message: bytes) -> tuple[int, bytes] | None:
    """Status and body of the first answer, if h11 takes it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    body, status = b"", None
    try:
        client.receive_data(message)
        client.receive_data(b"")
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return (status, body) if status is not None else None
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


def one_input(data: bytes) -> None:
    message, cuts = compose(data)
    edges = [0, *cuts, len(message)]
    pieces = [message[start:end] for start, end in itertools.pairwise(edges)]
    bytewise = [message[at : at + 1] for at in range(len(message))]
    for head_only in (False, True):
        whole = read_answer([message], head_only=head_only)
        for split in (pieces, bytewise):
            outcome = read_answer(split, head_only=head_only)
            assert outcome == whole, (outcome, whole)
        if not head_only and whole[0] == "answer" and (other := h11_answer(message)) is not None:
            assert other == (whole[1], whole[3]), (other, whole)
    requests = read_requests([message])
    for split in (pieces, bytewise):
        assert read_requests(split) == requests, (read_requests(split), requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("inputs", nargs="*", type=Path, help="run these once instead")
    options = parser.parse_args()
    if options.inputs:
        for path in options.inputs:
            one_input(path.read_bytes())
        return
    with tempfile.TemporaryDirectory() as corpus:
        limits = [f"-max_total_time={options.seconds}", "-max_len=512"]
        atheris.Setup([sys.argv[0], corpus, *limits, "-print_final_stats=1"], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
