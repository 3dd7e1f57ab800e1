"""Answers, read from bytes: what is taken, what is refused, and that the split never matters."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.errors import ProtocolError, ResponseTooLargeError
from faas_connector.gateway.http1 import ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"


def read(*pieces, head_only=False, eof=False, **limits):
    """The answer in these pieces, whether the connection stays open, or the error's class."""
    parser = ResponseParser(**limits)
    parser.start(head_only=head_only)
    pieces = [piece for piece in pieces if piece]
    for number, piece in enumerate(pieces, 1):
        try:
            answer = parser.feed(piece)
        except (ProtocolError, ResponseTooLargeError) as error:
            return type(error)
        if answer is not None:
            stays = parser.keep_alive and number == len(pieces)
            return answer.status, answer.headers.fields, answer.body, stays
    if eof and (answer := parser.eof()) is not None:
        return answer.status, answer.headers.fields, answer.body, parser.keep_alive
    return None


def in_bytes(raw, **options):
    return read(*(raw[at : at + 1] for at in range(len(raw))), **options)


def each_split(raw, **options):
    """What is read from `raw`, however it is split in two, or byte by byte."""
    whole = read(raw, **options)
    for at in range(1, len(raw)):
        assert read(raw[:at], raw[at:], **options) == whole, at
    assert in_bytes(raw, **options) == whole
    return whole


GOOD = {
    "length": (OK + b"Content-Length: 5\r\n\r\nhello", (200, b"hello", True)),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", (200, b"", True)),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", (200, b"", True)),
    "blank reason": (b"HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n", (500, b"", True)),
    "latin-1 reason": (b"HTTP/1.1 500 caf\xe9\r\nContent-Length: 0\r\n\r\n", (500, b"", True)),
    "close": (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi", (200, b"hi", False)),
    "close among others": (
        OK + b"Content-Length: 2\r\nConnection: x, Close\r\n\r\nhi",
        (200, b"hi", False),
    ),
    "close in a second field": (
        OK + b"Connection: x\r\nContent-Length: 2\r\nCONNECTION: close\r\n\r\nhi",
        (200, b"hi", False),
    ),
    "same length twice": (
        OK + b"Content-Length: 2\r\ncontent-length: 2\r\n\r\nhi",
        (200, b"hi", True),
    ),
    "same length in two ways": (
        OK + b"Content-Length: 02\r\nContent-Length: 2\r\n\r\nhi",
        (200, b"hi", True),
    ),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", (200, b"hi", False)),
    "1.0 kept alive": (
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi",
        (200, b"hi", True),
    ),
    "chunked": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
        (200, b"hello!", True),
    ),
    "chunked, all frills": (
        OK + b"transfer-encoding:\tChunked \r\n\r\n"
        b'0005;a=b;c="d"\r\nhello\r\n1 \r\n!\r\n000 \t;e\r\nX-Sum: 1\r\nX-Time: 2\r\n\r\n',
        (200, b"hello!", True),
    ),
    "100 first": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
        (200, b"hi", True),
    ),
    "103 and 102 first": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
        (200, b"hi", True),
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", True)),
    "204 with length 0": (b"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", (204, b"", True)),
    "204 that announces a body": (
        b"HTTP/1.1 204 x\r\nContent-Length: 3\r\n\r\n",
        (204, b"", False),
    ),
    "204 with the body that it announces": (
        b"HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\nhi",
        (204, b"", False),
    ),
    "204 that announces chunks": (
        b"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n",
        (204, b"", False),
    ),
    "304 with the body that it announces": (
        b"HTTP/1.1 304 x\r\nContent-Length: 2\r\n\r\nhi",
        (304, b"", False),
    ),
    "304": (b"HTTP/1.1 304 x\r\nContent-Length: 99\r\n\r\n", (304, b"", True)),
    "any status": (b"HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n", (999, b"", True)),
    "more than asked for": (OK + b"Content-Length: 2\r\n\r\nhi!", (200, b"hi", False)),
    "a second answer": (
        OK + b"Content-Length: 2\r\n\r\nhi" + OK + b"Content-Length: 2\r\n\r\nho",
        (200, b"hi", False),
    ),
    "more after chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n",
        (200, b"", False),
    ),
    "folded": (OK + b"X-A: b\r\n  c\r\nContent-Length: 2\r\n\r\nhi", (200, b"hi", True)),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_an_answer_however_it_is_split(name):
    raw, (status, body, stays_open) = GOOD[name]
    read_status, _, read_body, read_stays_open = each_split(raw)
    assert (read_status, read_body, read_stays_open) == (status, body, stays_open)


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_that_is_cut_short_is_none(name):
    raw, (_, _, stays_open) = GOOD[name]
    if stays_open:
        for at in range(len(raw)):
            assert read(raw[:at], eof=True) is None


def test_fields_come_as_they_were_written_and_in_order():
    raw = (
        OK
        + b"X-A: 1\r\nset-cookie: a=b \r\nSet-Cookie:\tc\xe9\r\nEmpty:\r\nContent-Length: 0\r\n\r\n"
    )
    _, fields, _, _ = each_split(raw)
    assert fields == (
        ("X-A", "1"),
        ("set-cookie", "a=b"),
        ("Set-Cookie", "c\xe9"),
        ("Empty", ""),
        ("Content-Length", "0"),
    )


def test_headers_ignore_case_and_know_every_value():
    answer = ResponseParser().feed(OK + b"A: 1\r\na: 2\r\nContent-Length: 0\r\n\r\n")
    assert answer.headers["A"] == answer.headers["a"] == "1"
    assert answer.headers.get_all("a") == ("1", "2")
    assert "b" not in answer.headers
    assert dict(answer.headers) == {"a": "1", "content-length": "0"}
    assert repr(answer.headers) == "Headers([('A', '1'), ('a', '2'), ('Content-Length', '0')])"


def test_headers_show_their_fields_before_anybody_has_looked():
    answer = ResponseParser().feed(OK + b"Content-Length: 0\r\n\r\n")
    assert repr(answer.headers) == "Headers([('Content-Length', '0')])"
    assert len(ResponseParser().feed(b"HTTP/1.1 204 x\r\n\r\n").headers) == 0


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_answer_without_length_ends_with_the_connection(version):
    raw = b"HTTP/" + version + b" 200 OK\r\nConnection: keep-alive\r\n\r\nto the end"
    status, _, body, stays_open = each_split(raw, eof=True)
    assert (status, body, stays_open) == (200, b"to the end", False)
    assert read(raw) is None


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 9999999\r\n",
    ],
)
def test_an_answer_to_head_has_no_body(fields):
    raw = OK + fields + b"\r\n"
    status, _, body, stays_open = each_split(raw, head_only=True)
    assert (status, body, stays_open) == (200, b"", True)


def test_an_answer_to_head_that_has_a_body_is_the_last_one():
    raw = OK + b"Content-Length: 2\r\n\r\nhi"
    assert each_split(raw, head_only=True)[2:] == (b"", False)


BAD = {
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing like it": b"\x15\x03\x01\x00\x02\x02\x16",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "short status": b"HTTP/1.1 20 OK\r\n\r\n",
    "long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 0xx": b"HTTP/1.1 099 OK\r\n\r\n",
    "two blanks": b"HTTP/1.1  200 OK\r\n\r\n",
    "blank line first": b"\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "bare LF at the end": OK + b"Content-Length: 0\n\n",
    "bare CR": OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    "blank before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "no colon": OK + b"Content-Length\r\n\r\n",
    "no name": OK + b": 0\r\n\r\n",
    "bad name": OK + b"X(a): 0\r\n\r\n",
    "high name": OK + b"X\xe9: 0\r\n\r\n",
    "fold without a field": OK + b" X: 0\r\n\r\n",
    "folded length": OK + b"Content-Length: 1\r\n 2\r\n\r\n" + b"x" * 12,
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
    "list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nhi",
    "signed length": OK + b"Content-Length: +2\r\n\r\nhi",
    "negative length": OK + b"Content-Length: -2\r\n\r\nhi",
    "hex length": OK + b"Content-Length: 0x2\r\n\r\nhi",
    "no length": OK + b"Content-Length:\r\n\r\nhi",
    "digits that are none": OK + b"Content-Length: \xb2\r\n\r\nhi",
    "underscored length": OK + b"Content-Length: 1_0\r\n\r\n0123456789",
    "huge length": OK + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\nhi",
    "length of many digits": OK + b"Content-Length: " + b"0" * 15 + b"2\r\n\r\nhi",
    "length and chunks": OK
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nhi",
    "chunked twice": OK
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, misspelt": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "bad head after 100": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 OK\r\n\r\n",
}
CHUNKS = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "no hex": b"g\r\nabc\r\n0\r\n\r\n",
    "sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "blank first": b" 3\r\nabc\r\n0\r\n\r\n",
    "two numbers": b"3 3\r\nabc\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "bare LF": b"3\nabc\n0\n\n",
    "bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "longer than it says": b"3\r\nabcd\r\n0\r\n\r\n",
    "longer by a byte, and then nothing": b"3\r\nabcd",
    "shorter than it says": b"3\r\nab\r\n0\r\n\r\n",
    "many digits": b"0" * 17 + b"3\r\nabc\r\n0\r\n\r\n",
    "NUL in the extension": b"3;\0\r\nabc\r\n0\r\n\r\n",
    "long extension": b"3;" + b"x" * 600 + b"\r\nabc\r\n0\r\n\r\n",
    "trailer without colon": b"0\r\nabc\r\n\r\n",
    "trailer with bare LF": b"0\r\na: b\n\n",
    "endless trailer": b"0\r\n" + b"a: b\r\n" * 20_000,
}
BAD |= {
    f"chunks: {name}": OK + b"Transfer-Encoding: chunked\r\n\r\n" + raw
    for name, raw in CHUNKS.items()
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_answer_is_refused_however_it_is_split(name):
    raw = BAD[name]
    assert read(raw) is ProtocolError
    if len(raw) < 1000:
        assert each_split(raw) is ProtocolError
    else:
        assert in_bytes(raw) is ProtocolError


@pytest.mark.parametrize(
    "raw", [b"\x15", b"HTTP/2", b"HTTP/1.1 200 OK\n", OK + b"A: b\n"], ids=["tls", "2", "LF", "LF2"]
)
def test_what_can_become_no_answer_is_refused_at_once(raw):
    assert in_bytes(raw) is ProtocolError


def test_a_head_may_be_as_large_as_the_limit():
    head = OK + b"Content-Length: 2\r\nX: \r\n\r\n"
    head = head.replace(b"X: ", b"X: " + b"x" * (200 - len(head)))
    assert len(head) == 200
    assert each_split(head + b"hi", max_head_bytes=200)[2] == b"hi"
    assert each_split(head + b"hi", max_head_bytes=199) is ProtocolError


def test_an_endless_head_is_refused_when_it_passes_the_limit():
    parser = ResponseParser(max_head_bytes=1000)
    parser.feed(OK)
    fed = len(OK)
    while fed + 6 < 1000:
        assert parser.feed(b"X: y\r\n") is None
        fed += 6
    with pytest.raises(ProtocolError, match="head is larger than 1000 bytes"):
        parser.feed(b"X: y\r\n")


def test_the_limit_of_a_head_is_that_of_each_answer():
    raw = b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"
    parser = ResponseParser(max_head_bytes=len(raw))
    for _ in range(3):
        parser.start()
        assert parser.feed(raw).status == 200


def test_endless_informational_answers_count_as_one_head():
    one = b"HTTP/1.1 103 x\r\n\r\n"
    assert each_split(one * 30, max_head_bytes=len(one) * 20) is ProtocolError


def test_a_body_may_be_as_large_as_the_limit():
    counted = OK + b"Content-Length: 10\r\n\r\n" + b"x" * 10
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\n5\r\nxxxxx\r\n0\r\n\r\n"
    endless = OK + b"\r\n" + b"x" * 10
    for raw in counted, chunked, endless:
        assert each_split(raw, max_body_bytes=10, eof=True)[2] == b"x" * 10
        assert each_split(raw, max_body_bytes=9, eof=True) is ResponseTooLargeError


def test_a_body_over_the_limit_is_refused_at_its_announcement():
    parser = ResponseParser(max_body_bytes=9)
    with pytest.raises(ResponseTooLargeError, match=r"larger than 9 bytes.*max_response_bytes"):
        parser.feed(OK + b"Content-Length: 10\r\n\r\n")
    assert read(OK + b"Transfer-Encoding: chunked\r\n\r\na\r\n", max_body_bytes=9) is (
        ResponseTooLargeError
    )


def test_begun_tells_whether_a_byte_has_come():
    parser = ResponseParser()
    assert not parser.begun
    parser.feed(b"H")
    assert parser.begun
    parser.start()
    assert not parser.begun


def test_one_parser_reads_one_answer_after_another():
    parser = ResponseParser()
    for raw, (status, body, stays_open) in GOOD.values():
        if not stays_open:
            continue
        for pieces in ([raw], [raw[:20], raw[20:]]):
            parser.start()
            *_, answer = [parser.feed(piece) for piece in pieces]
            assert (answer.status, answer.body, parser.keep_alive) == (status, body, True)


names = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True).filter(
    lambda name: name.lower() not in {b"content-length", b"transfer-encoding", b"connection"}
)
values = st.from_regex(
    rb"(?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\t\x80-\xff]{0,20}[\x21-\x7e])?)?", fullmatch=True
)
bodies = st.binary(max_size=60)


@st.composite
def answers(draw):
    """A well-formed answer, its parts, and whether it ends with the connection."""
    status = draw(st.integers(200, 599).filter(lambda code: code not in {204, 304}))
    fields = draw(st.lists(st.tuples(names, values), max_size=4))
    body = draw(bodies)
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        extra, framed = (b"Content-Length", str(len(body)).encode()), body
    elif framing == "chunked":
        extra, framed = (b"Transfer-Encoding", b"chunked"), chunked(draw, body)
    else:
        extra, framed = (b"Connection", b"close"), body
    fields.insert(draw(st.integers(0, len(fields))), extra)
    informational = b"HTTP/1.1 103 x\r\nA: b\r\n\r\n" * draw(st.integers(0, 2))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    raw = informational + b"HTTP/1.1 %d x\r\n" % status + lines + b"\r\n" + framed
    decoded = tuple((name.decode(), value.decode("latin-1")) for name, value in fields)
    return raw, (status, decoded, body, framing != "close"), framing == "close"


def chunked(draw, body):
    framed = b""
    while body:
        size = draw(st.integers(1, len(body)))
        extension = draw(st.sampled_from([b"", b";a", b" ;a=b"]))
        framed += b"%x" % size + extension + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    return framed + b"0\r\n" + draw(st.sampled_from([b"", b"X: y\r\n"])) + b"\r\n"


def pieces_of(raw, cuts):
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    return [raw[start:end] for start, end in itertools.pairwise(edges)]


@given(answers(), st.lists(st.integers(0, 10_000), max_size=6))
def test_any_framing_split_any_way_reads_the_same(answer, cuts):
    raw, expected, needs_eof = answer
    assert read(*pieces_of(raw, cuts), eof=needs_eof) == expected
    assert in_bytes(raw, eof=needs_eof) == expected


@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=5))
def test_garbage_is_judged_alike_however_it_is_split(garbage, cuts):
    for start in (b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"):
        raw = start + garbage
        assert read(*pieces_of(raw, cuts)) == read(raw) == in_bytes(raw)
