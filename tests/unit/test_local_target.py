"""Targets, escapes and URLs as Go reads them."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.local.target import (
    TargetError,
    clean_path,
    escape,
    parse_target,
    second_look,
    unescape,
    url_error,
)

BYTES = st.binary(max_size=40).map(lambda data: data.decode("latin-1"))
PATHS = st.lists(st.sampled_from(["a", ".", "..", "/", "//", "%", "b.c"]), max_size=8).map(
    lambda parts: "/" + "".join(parts)
)


@given(BYTES)
def test_what_is_escaped_comes_back(text: str) -> None:
    assert unescape(escape(text)) == text
    assert escape(text).isascii()


@given(PATHS)
def test_a_clean_path_is_clean(path: str) -> None:
    clean = clean_path(path)
    assert clean_path(clean) == clean
    assert clean.startswith("/")
    assert not {"", ".", ".."} & set(clean.strip("/").split("/")) or clean == "/"
    assert clean.rstrip("/") == posixpath.normpath(f"/{path.lstrip('/')}").rstrip("/")
    assert clean.endswith("/") == (path.endswith("/") or clean == "/")


@given(BYTES, st.none() | BYTES)
def test_a_second_look_gives_a_path_or_gives_up(path: str, query: str | None) -> None:
    try:
        again, _ = second_look(f"/{path}", query)
    except TargetError:
        return
    assert again.startswith("/")


@given(BYTES)
def test_any_target_is_read_or_refused(text: str) -> None:
    try:
        target = parse_target(text)
    except TargetError:
        return
    assert target.path.startswith("/")
    assert target.written + target.tail == text[text.find("/") :] or target.authority


@pytest.mark.parametrize(
    ("text", "path", "query", "authority"),
    [
        ("/a", "/a", None, ""),
        ("/a?", "/a", "", ""),
        ("/a%2Fb?c=%2F", "/a/b", "c=%2F", ""),
        ("http://h:1/a?b", "/a", "b", "h:1"),
        ("http://h", "/", None, "h"),
        ("http://h?q", "/", "q", "h"),
        ("//h/a", "//h/a", None, ""),
    ],
)
def test_parts_of_a_target(text: str, path: str, query: str | None, authority: str) -> None:
    target = parse_target(text)
    assert (target.path, target.query, target.authority) == (path, query, authority)


@pytest.mark.parametrize("text", ["", "a", "/%", "/%4", "/%zz", "/\x01"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(TargetError):
        parse_target(text)


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/a?b", None, ("/a", "b")),
        ("/a?b", "c", ("/a", "b?c")),
        ("/a#b", "c", ("/a", "")),
        ("/%41", None, ("/A", "")),
        ("", "c", ("", "c")),
    ],
)
def test_the_second_look(path: str, query: str | None, expected: tuple[str, str]) -> None:
    assert second_look(path, query) == expected


@pytest.mark.parametrize(
    "url",
    ["", "http://h/", "http://u:p@h:80/x?y#z", "/x", "mailto:a", "http://[::1]:80/", "a/b:c", "?x"],
)
def test_urls_that_pass(url: str) -> None:
    assert url_error(url) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://u@v@h w/", "invalid userinfo"),
        ("1:2/x", "first path segment in URL cannot contain colon"),
        ("http://h\x7f", "invalid control character in URL"),
        ("http://[::1]x/", "invalid port"),
    ],
)
def test_urls_that_do_not(url: str, reason: str) -> None:
    assert reason in (url_error(url) or "")
