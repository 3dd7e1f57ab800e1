"""The fuzzer of the HTTP/1.1 parsers finds mistakes that are put into them."""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

from faas_connector.gateway import framing, http1

INPUTS = 5000  # some seconds; each mistake below takes far fewer

# Name: the module, a piece of it that stands there once, and what takes its place.
MISTAKES = {
    "a conflicting length is ignored": (framing, "not repeats or len(others) > 1", "not repeats"),
    "a length beside chunks is ignored": (
        framing,
        'if head.find(b"\\r\\ncontent-length:") >= 0:\n        raise FramingError("it has both',
        'if False:\n        raise FramingError("it has both',
    ),
    "a chunk is one byte longer": (framing, "self._missing = size + 2", "self._missing = size + 3"),
    "a chunk's size is read as decimal": (framing, "int(match[1], 16)", "int(match[1], 10)"),
    "what ends a chunk is not looked at": (
        framing, 'if not b"\\r\\n".startswith(buffer[:2])', "if False",
    ),
    "each chunk may be as large as all": (framing, "len(self._data) + size > self", "size > self"),
    "a trailer has no limit": (
        framing, "or len(buffer) >= self._trailer_limit", "or len(buffer) >= 10**6",
    ),
    "the first byte of a line feed in a trailer is not looked at again": (
        framing,
        'buffer.find(b"\\r\\n\\r\\n", max(0, self._seen - 3), self._trailer_limit)',
        'buffer.find(b"\\r\\n\\r\\n", self._seen, self._trailer_limit)',
    ),
    "a body without end has no limit": (framing, "if len(self._data) > self._limit", "if False"),
    "1xx is an answer": (
        http1, 'if match[2] >= b"200":\n                self', "if True:\n                self",
    ),
    "1xx is an answer when it comes in one piece": (
        http1, ' and match[2] >= b"200":', ":",
    ),
    "each head may be as large as all": (http1, "self._room -= end", "self._room -= 0"),
    "the end of a head is not found when it is split": (
        http1,
        'buffer.find(b"\\r\\n\\r\\n", max(0, self._seen - 3), self._room)',
        'buffer.find(b"\\r\\n\\r\\n", self._seen, self._room)',
    ),
    "a length has no limit": (http1, "elif length > self._max_body", "elif length > 10**9"),
    "204 has a body": (http1, 'elif code == b"204":', 'elif code == b"205":'),
    "HEAD has a body": (http1, 'if self._head_only or code == b"304"', 'if code == b"304"'),
    "what follows an answer is kept for the next": (
        http1, "if self._buffer:\n            self.keep_alive = False", "if False:\n            0",
    ),
    "folded lines are joined without a blank": (http1, '_FOLD.sub(b" ", ', '_FOLD.sub(b"", '),
    "a body that was cut short is an answer": (
        http1,
        "if isinstance(self._body, UnboundedBody):",
        "if self._body is not None:",
    ),
    "chunks are of HTTP/1.0 too": (
        http1, 'if version == b"0":\n                ', "if False:\n                ",
    ),
    "101 is passed over": (http1, 'if match[2] == b"101"', "if False"),
    "the length of a request has no limit": (
        http1, "if length > self._max_body:\n            ", "if False:\n            ",
    ),
}  # fmt: skip


def sabotaged(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the parsers with one mistake, in it or in what it is built on."""
    wrong, right, mistake = MISTAKES[name]
    parts = {
        module: Path(module.__file__).read_text(encoding="utf-8") for module in (framing, http1)
    }
    assert parts[wrong].count(right) == 1, "the code has changed: change the mistake as well"
    parts[wrong] = parts[wrong].replace(right, mistake)
    for module, source in parts.items():
        made = ModuleType(module.__name__)
        monkeypatch.setitem(sys.modules, module.__name__, made)
        exec(compile(source, f"<{name}>", "exec"), made.__dict__)
    return made


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    cases, properties, plain = (
        importlib.import_module(name)
        for name in ("http1_cases", "http1_properties", "plain_fuzzing")
    )

    def fuzz(parsers: ModuleType, seed: int) -> int:
        return plain.fuzz(
            lambda data: properties.check(cases.compose(data), parsers),
            random.Random(seed),
            range(INPUTS),
        )

    return fuzz


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_found(name, fuzz, monkeypatch):
    # A property that does not hold, or an error that no parser is to raise.
    with pytest.raises((AssertionError, AttributeError, ValueError)):
        fuzz(sabotaged(name, monkeypatch), seed=1)


def test_without_a_mistake_nothing_is_found(fuzz):
    assert fuzz(http1, seed=1) == INPUTS
