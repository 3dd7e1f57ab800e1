"""Messages for the HTTP/1.1 parsers, put together as a fuzzer's bytes say."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

STATUS_LINES = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 500\r\n", b"HTTP/1.0 404 \r\n", b"HTTP/1.1 204 No\r\n",
    b"HTTP/1.1 304 \xe9\r\n", b"HTTP/1.2 200 OK\r\n", b"HTTP/1.1 099 x\r\n", b"HTTP/1.1 200 OK\n",
]  # fmt: skip
EARLY = [
    b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nLink: " + b"l" * 240 + b"\r\n\r\n", b"HTTP/1.1 101 Switch\r\n\r\n",
]  # fmt: skip
REQUEST_LINES = [
    b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST /x?y HTTP/1.1\r\nhost: a\r\n", b"HEAD * HTTP/1.0\r\n",
    b"GET / HTTP/1.1\r\n", b"\r\nPUT http://a/ HTTP/1.1\r\nHost: a\r\n", b"GET x HTTP/1.1\r\n",
]  # fmt: skip
FRAMING = [
    b"Content-Length: 3\r\n", b"content-length:\t3 \r\n", b"Content-Length: 03\r\n",
    b"Content-Length: 4\r\n", b"Content-Length: 0\r\n", b"Content-Length: 3, 3\r\n",
    b"Content-Length: +3\r\n", b"Content-Length: 257\r\n", b"Content-Length: 0000000000000003\r\n",
    b"Transfer-Encoding: chunked\r\n", b"TRANSFER-ENCODING: Chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
]  # fmt: skip
USUAL_FRAMING = [FRAMING[0], FRAMING[9], FRAMING[9]]
USUAL_FIELDS = [b"A: b\r\n", b"Connection: close\r\n", b"A: b\r\n c\r\n"]
FIELDS = [
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: a, CLOSE\r\n",
    b"A: b\r\n", b"a:\tc \r\n", b"A:\r\n", b"A: b\r\n c\r\n", b"A: b \r\n\t\tc\r\n", b"A : b\r\n",
    b"A: b\n", b"A\r\n", b": b\r\n", b" c\r\n", b"A: \xe9\xff\r\n", b"A: b\x00\r\n",
    b"A: b\x0bc\r\n", b"A: b\rc\r\n", b"X: " + b"y" * 300 + b"\r\n", b"X: " + b"y" * 600 + b"\r\n",
    b"Expect: 100-continue\r\n", b"Set-Cookie: a\r\nSet-Cookie: b\r\n",
]  # fmt: skip
CHUNKS = [
    b"3\r\nabc\r\n", b"3\r\na\nb\r\n", b"c8;a=b\r\n" + b"z" * 200 + b"\r\n",
    b"003 \r\nabc\r\n",
    b"3;\x00\r\nabc\r\n",
    b"0000000000000003\r\nabc\r\n", b"00000000000000003\r\nabc\r\n", b"4\r\nabc\r\n",
    b"2\r\nabc\r\n", b"fff\r\n", b"-1\r\n", b"0x3\r\nabc\r\n",
    b"3\nabc\n", b"3;" + b"e" * 520 + b"\r\nabc\r\n", b"3\r\nabcd\n", b"A\r\n0123456789\r\n",
]  # fmt: skip
ENDS = [
    b"0\r\n\r\n", b"0\r\nT: x\r\nU: y\r\n\r\n", b"0\r\nT: x\r\n y\r\n\r\n", b"0\r\nT: x\n\n",
    b"000;e\r\n\r\n", b"0\r\nT\r\n\r\n", b"0\r\nT: " + b"x" * 600 + b"\r\n\r\n", b"0\r\n",
]  # fmt: skip
BODIES = [b"abc", b"abc", b"", b"abcd", b"z" * 256, b"z" * 257]
AFTER = [b"", b"", b"\r\n", b"x", b"HTTP/1.1 200 OK\r\n\r\n"]
ODD_BYTES = [b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b"\x0b", b":", b",", b"0", b"\xff", b""]


class Choices:
    """Takes decisions out of bytes; when they are used up each is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, most: int) -> int:
        """One from 0 to `most`."""
        width = 1 if most < 256 else 2
        taken = self._data[self._at : self._at + width]
        self._at += width
        return int.from_bytes(taken, "big") % (most + 1)

    def one_of(self, listed: Sequence[T]) -> T:
        return listed[self.number(len(listed) - 1)]

    def raw(self, most: int) -> bytes:
        length = self.number(most)
        self._at += length
        return self._data[self._at - length : self._at]


@dataclass(frozen=True, slots=True)
class Case:
    """The bytes of a connection, and where they are cut."""

    message: bytes
    cuts: tuple[int, ...]

    @property
    def splits(self) -> tuple[list[bytes], list[bytes]]:
        """The message in some pieces, and in single bytes."""
        edges = [0, *self.cuts, len(self.message)]
        pieces = [self.message[start:end] for start, end in itertools.pairwise(edges)]
        return pieces, [self.message[at : at + 1] for at in range(len(self.message))]


def compose(data: bytes) -> Case:
    """A message that is nearly right more often than not."""
    choices = Choices(data)
    make = choices.one_of([_answer, _answer, _answer, _requests, _heap])
    message = _damaged(make(choices), choices)
    cuts = sorted(choices.number(len(message)) for _ in range(4))
    return Case(message, tuple(cuts))


def _answer(choices: Choices) -> bytes:
    early = [choices.one_of(EARLY) for _ in range(choices.one_of([0, 0, 0, 1, 3]))]
    return b"".join(early) + _message(choices, STATUS_LINES) + choices.one_of(AFTER)


def _requests(choices: Choices) -> bytes:
    return b"".join(_message(choices, REQUEST_LINES) for _ in range(1 + choices.number(2)))


def _message(choices: Choices, lines: list[bytes]) -> bytes:
    # What is usual comes more often, lest every message be wrong for several reasons.
    line = lines[0] if choices.number(1) else choices.one_of(lines)
    fields = [
        choices.one_of(choices.one_of([USUAL_FIELDS, FIELDS]))
        for _ in range(choices.one_of([0, 0, 1, 2, 3]))
    ]
    framing = [
        choices.one_of(choices.one_of([USUAL_FRAMING, FRAMING]))
        for _ in range(choices.one_of([1, 1, 1, 0, 2]))
    ]
    at = choices.number(len(fields))
    head = b"".join([line, *fields[:at], *framing, *fields[at:], b"\r\n"])
    if b"chunked" not in head.lower():
        return head + choices.one_of(BODIES)
    usual = CHUNKS[:3] if choices.number(1) else CHUNKS
    chunks = [choices.one_of(usual) for _ in range(choices.one_of([0, 1, 2, 3]))]
    return head + b"".join(chunks) + (ENDS[0] if choices.number(1) else choices.one_of(ENDS))


def _heap(choices: Choices) -> bytes:
    lists = (STATUS_LINES, EARLY, REQUEST_LINES, FRAMING, FIELDS, CHUNKS, ENDS, BODIES)
    parts = [
        choices.raw(20) if choices.number(4) == 4 else choices.one_of(choices.one_of(lists))
        for _ in range(choices.number(10))
    ]
    return b"".join(parts)


def _damaged(message: bytes, choices: Choices) -> bytes:
    for _ in range(choices.one_of([0, 0, 0, 1, 2])):
        at = choices.number(len(message))
        wrong = choices.raw(3) if choices.number(3) == 0 else choices.one_of(ODD_BYTES)
        message = message[:at] + wrong + message[at + choices.number(1) :]
    return message
