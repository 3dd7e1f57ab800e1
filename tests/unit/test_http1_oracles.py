"""h11 and aiohttp read the same bytes: what we take, they take in the same way."""

import asyncio
import contextlib
import itertools

import h11
import pytest
from aiohttp import http_exceptions
from aiohttp.http_parser import HttpResponseParser
from hypothesis import given, settings
from hypothesis import strategies as st

from faas_connector.errors import TransportError
from faas_connector.gateway.http1 import RequestError, RequestParser, ResponseParser

REFUSED = "refused"
SHORT = "not complete"


def ours(pieces, *, eof):
    """(status, fields, body, whether the connection stays open), REFUSED or SHORT."""
    parser = ResponseParser()
    for number, piece in enumerate(pieces, 1):
        try:
            answer = parser.feed(piece)
        except TransportError:
            return REFUSED
        if answer is not None:
            stays = parser.keep_alive and number == len(pieces)
            return answer.status, lowered(answer.headers.fields), answer.body, stays
    if eof and (answer := parser.eof()) is not None:
        return answer.status, lowered(answer.headers.fields), answer.body, False
    return SHORT


def lowered(fields):
    """Fields as h11 gives them: a repeated length once, codings in lower case."""
    given = {}
    for name, value in fields:
        key = name.lower()
        given[key if key == "content-length" else (key, len(given))] = (
            key,
            value.lower() if key == "transfer-encoding" else value,
        )
    return tuple(given.values())


def by_h11(pieces, *, eof):
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "gw")]))
    client.send(h11.EndOfMessage())
    status = fields = None
    body = b""
    pieces = [*pieces, b""] if eof else pieces
    try:
        for number, piece in enumerate(pieces, 1):
            client.receive_data(piece)
            while (event := client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    status = event.status_code
                    fields = tuple(
                        (name.decode(), value.decode("latin-1")) for name, value in event.headers
                    )
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    more = client.trailing_data[0] or any(pieces[number:])
                    stays = client.their_state is h11.DONE and not more and piece != b""
                    return status, fields, body, stays
                elif isinstance(event, h11.ConnectionClosed):
                    return SHORT
    except h11.RemoteProtocolError:
        return REFUSED if piece else SHORT
    return SHORT


def by_aiohttp(pieces, *, eof):
    loop = asyncio.new_event_loop()
    try:
        return _by_aiohttp(pieces, loop, eof=eof)
    except http_exceptions.HttpProcessingError:
        return REFUSED
    finally:
        loop.close()


def _by_aiohttp(pieces, loop, *, eof):
    from aiohttp.base_protocol import BaseProtocol

    parser = HttpResponseParser(
        BaseProtocol(loop),
        loop,
        2**16,
        max_line_size=2**16,
        max_field_size=2**16,
        response_with_body=True,
        read_until_eof=True,
        auto_decompress=False,
    )
    message = payload = None
    for piece in pieces:
        messages, upgraded, _ = parser.feed_data(piece)
        if upgraded:
            return REFUSED
        for found, its_payload in messages:
            if message is None and found.code >= 200:
                message, payload = found, its_payload
    if message is None:
        return SHORT
    if eof and not payload.is_eof():
        with contextlib.suppress(http_exceptions.HttpProcessingError):
            parser.feed_eof()
    if payload.exception() is not None or not payload.is_eof():
        return SHORT
    body = b"".join(iter(payload.read_nowait, b""))
    fields = tuple((name.decode(), value.decode("latin-1")) for name, value in message.raw_headers)
    return message.code, lowered(fields), body, not message.should_close


OK = b"HTTP/1.1 200 OK\r\n"
# Name: bytes, whether the connection ends after them.
AGREED = {
    "length": (OK + b"Content-Length: 5\r\n\r\nhello", False),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", False),
    "no reason": (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", False),
    "close": (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", False),
    "close, other case": (OK + b"CONNECTION: CLOSE\r\nContent-Length: 2\r\n\r\nhi", False),
    "close among others": (OK + b"Connection: a, close\r\nContent-Length: 2\r\n\r\nhi", False),
    "keep-alive": (OK + b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", False),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", False),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", False),
    "chunked, capitals": (OK + b"TRANSFER-ENCODING: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", False),
    "several chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n",
        False,
    ),
    "extension": (OK + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0;x\r\n\r\n", False),
    "trailer": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
        False,
    ),
    "until the end": (OK + b"\r\nall of it", True),
    "until the end, 1.0": (b"HTTP/1.0 200 OK\r\n\r\nall of it", True),
    "nothing until the end": (OK + b"\r\n", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", False),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", False),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", False),
    "103": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
        False,
    ),
    "fields": (
        OK
        + b"A: 1\r\na:2 \r\nB:\t\r\nC: \xe9 \x80\r\n!#$%&'*+-.^_`|~0: x\r\n"
        + b"Content-Length: 0\r\n\r\n",
        False,
    ),
    "500": (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno", False),
    "cut within the head": (OK + b"Content-Length: 5\r\n", True),
    "cut within the body": (OK + b"Content-Length: 5\r\n\r\nhell", True),
    "cut within a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab", True),
    "cut after a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", True),
    "cut before the last line": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", True),
    "no http": (b"SSH-2.0-OpenSSH\r\n\r\n", False),
    "bad status": (b"HTTP/1.1 2x0 OK\r\n\r\n", False),
    "bad length": (OK + b"Content-Length: x\r\n\r\n", False),
    "signed length": (OK + b"Content-Length: +2\r\n\r\nhi", False),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", False),
    "NUL": (OK + b"A: b\0\r\nContent-Length: 0\r\n\r\n", False),
    "bad name": (OK + b"A(: b\r\nContent-Length: 0\r\n\r\n", False),
    "bad chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\nabc\r\n0\r\n\r\n", False),
    "chunk longer than said": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        False,
    ),
}


@pytest.mark.parametrize("name", AGREED)
def test_all_three_agree_at_every_split(name):
    raw, eof = AGREED[name]
    splits = [[raw], [raw[at : at + 1] for at in range(len(raw))]]
    splits += [[raw[:at], raw[at:]] for at in range(1, len(raw))]
    for pieces in splits:
        found = ours(pieces, eof=eof)
        assert found == by_h11(pieces, eof=eof), pieces
        assert found == by_aiohttp(pieces, eof=eof), pieces


# Where the oracles differ from each other, or take what we refuse; and why we do.
STRICTER = {
    "length and chunks (which one counts?)": (
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "bare LF (a proxy may not take it for an end)": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "lengths in a list": OK + b"Content-Length: 2, 2\r\n\r\nhi",
    "chunks in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "more digits than any chunk needs": OK
    + b"Transfer-Encoding: chunked\r\n\r\n00000000000000001\r\na\r\n0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", STRICTER)
def test_what_only_we_refuse(name):
    assert ours([STRICTER[name]], eof=True) is REFUSED
    taken = by_h11([STRICTER[name]], eof=True), by_aiohttp([STRICTER[name]], eof=True)
    assert taken != (REFUSED, REFUSED)


def test_a_204_that_announces_a_body_ends_the_connection_for_us_only():
    pieces = [b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n"]
    assert ours(pieces, eof=False)[3] is False
    assert by_h11(pieces, eof=False)[3] is True


def one_of(listed):
    return st.sampled_from(listed.split(b"|"))


status_lines = one_of(
    b"HTTP/1.1 200 OK\r\n|HTTP/1.0 200 OK\r\n|HTTP/1.1 500\r\n|HTTP/1.1 204 x\r\n|"
    b"HTTP/1.1 304 x\r\n|HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\n"
)
field_lines = one_of(
    b"Content-Length: 3\r\n|content-length:\t3\r\n|Content-Length: 0\r\n|Content-Length: 4\r\n|"
    b"Transfer-Encoding: chunked\r\n|Transfer-Encoding: x\r\n|Connection: close\r\n|"
    b"Connection: keep-alive\r\n|A: b\r\n| c\r\n|A:\xff\r\n|A\r\n|A : b\r\n|A: b\n|\r\n"
)
body_parts = one_of(
    b"abc|3\r\nabc\r\n|3;x=y\r\nabc\r\n|03\r\nabc\r\n|3\r\n|0\r\n|0\r\n\r\n|0\r\nA: b\r\n\r\n|"
    b"0\r\nA\r\n\r\n|\r\n|\n| |\x00|ffff\r\n|HTTP/1.1 200 OK\r\n"
)
heaps = st.builds(
    lambda line, fields, body: line + b"".join(fields) + b"\r\n" + b"".join(body),
    status_lines,
    st.lists(field_lines, max_size=4),
    st.lists(body_parts, max_size=4),
)


def assert_taken_alike(pieces, *, eof):
    found = ours(pieces, eof=eof)
    if found in {REFUSED, SHORT}:
        return
    expected = by_h11(pieces, eof=eof)
    # Of a 204, see above; and h11 knows no keep-alive in HTTP/1.0.
    if found[0] == 204 or b"".join(pieces).startswith(b"HTTP/1.0"):
        found, expected = found[:3], expected[:3]
    assert found == expected


@settings(max_examples=500)
@given(heaps, st.lists(st.integers(0, 300), max_size=3), st.booleans())
def test_what_we_take_from_a_heap_of_parts_h11_takes_in_the_same_way(raw, cuts, eof):
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    pieces = [raw[start:end] for start, end in itertools.pairwise(edges) if start < end]
    assert_taken_alike(pieces, eof=eof)


@settings(max_examples=300)
@given(st.sampled_from(sorted(AGREED)), st.data())
def test_one_wrong_byte_never_makes_us_read_what_h11_does_not(name, data):
    raw, eof = AGREED[name]
    at = data.draw(st.integers(0, len(raw) - 1))
    # VT and FF are the only bytes that we pass in values and h11 does not.
    wrong = data.draw(st.binary(max_size=2).filter(lambda piece: not set(piece) & {0x0B, 0x0C}))
    raw = raw[:at] + wrong + raw[at + data.draw(st.integers(0, 1)) :]
    assert_taken_alike([raw], eof=eof)


def requests_of(raw):
    """What our server side reads: the requests, then REFUSED or SHORT."""
    parser = RequestParser()
    parser.feed(raw)
    found = []
    try:
        while (request := parser.next_request()) is not None:
            found.append(
                (
                    request.method.encode(),
                    request.target.encode("latin-1"),
                    lowered(request.headers),
                    request.body,
                    # h11 knows no keep-alive in HTTP/1.0.
                    request.keep_alive and request.version == "1.1",
                )
            )
            if not found[-1][-1]:
                return [*found, SHORT]
    except RequestError:
        return [*found, REFUSED]
    return [*found, SHORT]


def requests_by_h11(raw):
    found = []
    while True:
        while raw.startswith(b"\r\n"):  # which RFC 9112, 2.2 lets a server skip, and h11 doesn't
            raw = raw[2:]
        server = h11.Connection(h11.SERVER)
        server.receive_data(raw)
        try:
            request, body = server.next_event(), b""
            while isinstance(event := server.next_event(), h11.Data):
                body += bytes(event.data)
        except h11.RemoteProtocolError:
            return [*found, REFUSED]
        if not isinstance(event, h11.EndOfMessage):
            return [*found, SHORT]
        stays = server.their_state is h11.DONE
        fields = tuple((name.decode(), value.decode("latin-1")) for name, value in request.headers)
        found.append((request.method, request.target, fields, body, stays))
        if not stays:
            return [*found, SHORT]
        raw, _ = server.trailing_data


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.binary(max_size=60),
    st.lists(st.sampled_from([("X-A", "1"), ("x-a", "b c"), ("Connection", "close")]), max_size=3),
    st.booleans(),
    st.lists(st.integers(0, 300), max_size=4),
)
def test_what_h11_sends_as_a_client_arrives(method, body, fields, chunks, cuts):
    client = h11.Connection(h11.CLIENT)
    framing = ("Transfer-Encoding", "chunked") if chunks else ("Content-Length", str(len(body)))
    sent = [("Host", "gw"), *fields, framing]
    raw = client.send(h11.Request(method=method, target="/function/x?y=1", headers=sent))
    raw += client.send(h11.Data(body)) + client.send(h11.EndOfMessage())
    parser = RequestParser()
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for start, end in itertools.pairwise(sorted(set(edges))):
        assert parser.next_request() is None
        parser.feed(raw[start:end])
    request = parser.next_request()
    assert (request.method, request.target, request.body) == (method, "/function/x?y=1", body)
    assert lowered(request.headers) == lowered(sent)
    assert request.keep_alive is (("Connection", "close") not in fields)


request_fields = one_of(
    b"Content-Length: 3\r\n|Content-Length: 0\r\n|Content-Length: 03\r\n|A: b\r\n|A\r\n|A: b\n|"
    b"Transfer-Encoding: chunked\r\n|Transfer-Encoding: x\r\n|Connection: close\r\n| c\r\n|"
    b"Connection: keep-alive\r\n|Expect: 100-continue\r\n|A:\xff\r\n|A : b\r\n|Host: gw\r\n"
)
request_heaps = st.builds(
    lambda line, fields, body: line + b"Host: gw\r\n" + b"".join(fields) + b"\r\n" + b"".join(body),
    st.sampled_from([b"GET /a HTTP/1.1\r\n", b"POST /b HTTP/1.1\r\n", b"POST /c HTTP/1.0\r\n"]),
    st.lists(request_fields, max_size=3),
    st.lists(body_parts, max_size=3),
)


@settings(max_examples=500)
@given(st.lists(request_heaps, min_size=1, max_size=3))
def test_the_requests_that_we_take_h11_takes_in_the_same_way(heaps):
    raw = b"".join(heaps)
    taken = requests_of(raw)[:-1]
    assert requests_by_h11(raw)[: len(taken)] == taken
