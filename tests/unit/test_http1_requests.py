"""Requests, read from bytes as a server does, and the heads that a client writes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.errors import ConfigError
from faas_connector.gateway.http1 import RequestError, RequestParser, request_head

POST = b"POST /function/printer HTTP/1.1\r\nHost: gw\r\n"


def read(*pieces, **limits):
    """Every request in these pieces; the last item is the error's status, or None."""
    parser = RequestParser(**limits)
    found = []
    for piece in pieces:
        parser.feed(piece)
        try:
            while (request := parser.next_request()) is not None:
                found.append(request)
        except RequestError as error:
            return [*found, error.status]
    return [*found, None]


def each_split(raw, **limits):
    whole = read(raw, **limits)
    for at in range(1, len(raw)):
        assert read(raw[:at], raw[at:], **limits) == whole, at
    assert read(*(raw[at : at + 1] for at in range(len(raw))), **limits) == whole
    return whole


def one(raw, **limits):
    request, rest = each_split(raw, **limits)
    assert rest is None
    return request


def test_a_request_has_its_parts_as_they_were_sent():
    request = one(POST + b"X-A:  1\t\r\nx-a: \xe9\r\nContent-Length: 5\r\n\r\nhe\0lo")
    assert request.method == "POST"
    assert request.target == "/function/printer"
    assert request.version == "1.1"
    assert request.headers == (
        ("Host", "gw"),
        ("X-A", "1"),
        ("x-a", "\xe9"),
        ("Content-Length", "5"),
    )
    assert request.body == b"he\0lo"
    assert request.keep_alive


@pytest.mark.parametrize(
    ("raw", "body", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, CLOSE\r\n\r\n", b"", False),
        (b"GET / HTTP/1.0\r\n\r\n", b"", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"", True),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", True),
        (POST + b"Content-Length: 0\r\n\r\n", b"", True),
        (POST + b"\r\n", b"", True),
        (POST + b"Host2: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", True),
        (
            POST + b"transfer-encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n"
            b"0\r\nX-Sum: 1\r\n\r\n",
            b"abc0123456789",
            True,
        ),
    ],
)
def test_where_a_request_ends(raw, body, keep_alive):
    request = one(raw)
    assert (request.body, request.keep_alive) == (body, keep_alive)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a%2Fb?x=1&y",
        "/caf\xe9",
        "http://gw/function/a",
        "*",
        "/a//../b",
        "/?a+b",
    ],
)
def test_targets_pass_as_they_are(target):
    raw = f"OPTIONS {target} HTTP/1.1\r\nHost: gw\r\n\r\n".encode("latin-1")
    assert one(raw).target == target


def test_pipelined_requests_come_one_after_another():
    first = POST + b"Content-Length: 2\r\n\r\nhi"
    second = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    third = b"GET /last HTTP/1.1\r\nHost: gw\r\n\r\n"
    *requests, error = each_split(first + second + third + b"GET /un")
    assert [request.body for request in requests] == [b"hi", b"x", b""]
    assert requests[2].target == "/last"
    assert error is None


def test_what_follows_a_wrong_request_is_never_read():
    good = POST + b"Content-Length: 2\r\n\r\nhi"
    parser = RequestParser()
    parser.feed(good + b"BAD\n\n" + good)
    assert parser.next_request().body == b"hi"
    for _ in range(2):
        with pytest.raises(RequestError) as caught:
            parser.next_request()
        assert caught.value.status == 400
        parser.feed(good)


SMUGGLED = {
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": b"Content-Length: 5, 5\r\n\r\nhello",
    "folded line": b"X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "folded with a tab": b"X-A: b\r\n\tc\r\n\r\n",
    "folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"X-A: b\nContent-Length: 5\r\n\r\nhello",
    "bare LF at the end": b"X-A: b\n\n",
    "bare CR": b"X-A: b\rContent-Length: 5\r\n\r\nhello",
    "NUL in a value": b"X-A: b\0c\r\n\r\n",
    "NUL in a name": b"X\0A: b\r\n\r\n",
    "other control character": b"X-A: b\x01c\r\n\r\n",
    "vertical tab before chunked": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "blank before the colon": b"Content-Length : 5\r\n\r\nhello",
    "tab before the colon": b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "blank before the name": b" Content-Length: 5\r\n\r\nhello",
    "no colon": b"Content-Length\r\n\r\n",
    "no name": b": b\r\n\r\n",
    "two codings": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "quoted coding": b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "empty coding": b"Transfer-Encoding:\r\n\r\n",
    "identity": b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    "signed length": b"Content-Length: +5\r\n\r\nhello",
    "negative length": b"Content-Length: -5\r\n\r\nhello",
    "hex length": b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": b"Content-Length:\r\n\r\nhello",
    "length with a blank": b"Content-Length: 5 5\r\n\r\nhello",
    "second Host": b"Host: other\r\n\r\n",
    "chunk of no size": b"Transfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n",
    "chunk with a sign": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\n",
    "chunk with a prefix": b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "chunk ended by LF": b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    "chunk longer than said": b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "chunk of a length that overflows": b"Transfer-Encoding: chunked\r\n\r\n"
    b"10000000000000001\r\na\r\n0\r\n\r\n",
    "trailer with bare LF": b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n\r\n",
    "trailer with a blank": b"Transfer-Encoding: chunked\r\n\r\n0\r\nA : b\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_two_servers_could_read_differently_is_refused(name):
    assert each_split(POST + SMUGGLED[name]) == [400]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),  # TLS
        (b"\x00", 400),
        (b"{}", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\n\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT gw:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/11\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (POST + b"Expect: 200-ok\r\n\r\n", 417),
    ],
)
def test_what_is_no_request_gets_its_status(raw, status):
    assert each_split(raw) == [status]


def test_a_head_over_the_limit_gets_431_and_a_body_over_it_413():
    head = POST + b"X: " + b"x" * 100 + b"\r\nContent-Length: 10\r\n\r\n"
    assert one(head + b"x" * 10, max_head_bytes=len(head), max_body_bytes=10).body == b"x" * 10
    assert each_split(head + b"x" * 10, max_head_bytes=len(head) - 1) == [431]
    assert each_split(head + b"x" * 10, max_body_bytes=9) == [413]
    assert read(head, max_body_bytes=9) == [413]
    chunks = POST + b"Transfer-Encoding: chunked\r\n\r\n6\r\nxxxxxx\r\n6\r\n"
    assert each_split(chunks, max_body_bytes=11) == [413]
    assert each_split(chunks, max_body_bytes=12) == [None]


def test_bytes_beyond_the_limit_do_not_matter():
    assert each_split(b"X" * 300 + b"(\n", max_head_bytes=256) == [431]


def test_errors_say_what_to_answer():
    parser = RequestParser(max_body_bytes=9)
    parser.feed(POST + b"Content-Length: 10\r\n\r\n")
    with pytest.raises(RequestError) as caught:
        parser.next_request()
    assert str(caught.value) == "413 the request's body is larger than 9 bytes"
    assert caught.value.text == "the request's body is larger than 9 bytes"


def test_an_expected_continue_is_noticed_once():
    parser = RequestParser()
    parser.feed(POST + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
    assert parser.next_request() is None
    assert parser.take_expectation()
    assert not parser.take_expectation()
    parser.feed(b"hi")
    assert parser.next_request().body == b"hi"
    assert not parser.take_expectation()


@pytest.mark.parametrize(
    "raw",
    [
        POST + b"Content-Length: 2\r\n\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nh",
        POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        POST + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_no_continue_is_expected(raw):
    parser = RequestParser()
    parser.feed(raw)
    parser.next_request()
    assert not parser.take_expectation()


def test_idle_until_a_byte_of_the_next_request_comes():
    parser = RequestParser()
    assert parser.idle
    parser.feed(POST + b"Content-Length: 2\r\n\r\n")
    assert not parser.idle
    assert parser.next_request() is None
    assert not parser.idle
    parser.feed(b"hi")
    assert parser.next_request() is not None
    assert parser.idle


def test_a_large_body_in_small_pieces_costs_no_more_than_its_size():
    body = bytes(range(256)) * 4096
    parser = RequestParser()
    parser.feed(POST + b"Content-Length: %d\r\n\r\n" % len(body))
    for at in range(0, len(body), 512):
        assert parser.next_request() is None
        parser.feed(body[at : at + 512])
    assert parser.next_request().body == body


@given(st.binary(max_size=120), st.lists(st.integers(0, 200), max_size=5))
def test_garbage_is_judged_alike_however_it_is_split(garbage, cuts):
    for start in (b"", POST, POST + b"Transfer-Encoding: chunked\r\n\r\n"):
        raw = start + garbage
        edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
        pieces = [raw[start:end] for start, end in itertools.pairwise(edges)]
        whole = read(raw)
        assert read(*pieces) == whole
        assert read(*(raw[at : at + 1] for at in range(len(raw)))) == whole


def test_request_head_is_what_the_parser_reads():
    fields = [("Host", "gw:8080"), ("X-Empty", ""), ("X-Text", "a b\tc \xe9")]
    head = request_head("POST", "/function/a?b=%20", fields)
    assert head == (
        b"POST /function/a?b=%20 HTTP/1.1\r\n"
        b"Host: gw:8080\r\nX-Empty: \r\nX-Text: a b\tc \xe9\r\n\r\n"
    )
    request = one(head)
    assert (request.method, request.target) == ("POST", "/function/a?b=%20")
    assert request.headers == tuple(fields)


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\r\n", "\x0b", "\x7f", "\x1b"])
def test_request_head_lets_nothing_end_a_line_early(character):
    for at in range(3):
        text = "ab"[:at] + character + "ab"[at:]
        with pytest.raises(ConfigError):
            request_head(text, "/", [])
        with pytest.raises(ConfigError):
            request_head("GET", "/" + text, [])
        with pytest.raises(ConfigError):
            request_head("GET", "/", [(text, "x")])
        with pytest.raises(ConfigError):
            request_head("GET", "/", [("X", text)])


@pytest.mark.parametrize(
    ("method", "target", "name", "value"),
    [
        ("", "/", "X", ""),
        ("GE T", "/", "X", ""),
        ("GET", "", "X", ""),
        ("GET", "/a b", "X", ""),
        ("GET", "/caf\xe9", "X", ""),
        ("GET", "/ HTTP/1.1", "X", ""),
        ("GET", "/", "", "x"),
        ("GET", "/", "X:", "x"),
        ("GET", "/", "X ", "x"),
        ("GET", "/", "X\xe9", "x"),
        ("GET", "/", "X", "\u20ac"),
    ],
)
def test_request_head_refuses_what_is_no_head(method, target, name, value):
    with pytest.raises(ConfigError):
        request_head(method, target, [(name, value)])


def test_request_head_shows_no_value_in_its_error():
    with pytest.raises(ConfigError) as caught:
        request_head("GET", "/", [("Authorization", "Bearer s3cret\n")])
    assert "'Authorization'" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True),
            st.from_regex(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]{0,20}[\x21-\x7e])?)?", fullmatch=True),
        ).filter(
            lambda field: (
                field[0].lower() not in {"host", "content-length", "transfer-encoding", "expect"}
            )
        ),
        max_size=5,
    ),
    st.binary(max_size=50),
)
def test_what_request_head_writes_comes_back(fields, body):
    sent = [("Host", "gw"), ("Content-Length", str(len(body))), *fields]
    [request, error] = read(request_head("POST", "/x", sent) + body)
    assert error is None
    assert request.headers == tuple(sent)
    assert request.body == body
