"""What `invoke` sends and shows: the pure parts."""

from __future__ import annotations

import os

import click
import pytest

from faas_connector.cli.invoke import as_object, complain, read_data, split_header, status_line
from faas_connector.errors import ConnectError
from faas_connector.event import Event
from faas_connector.headers import Headers
from faas_connector.names import FunctionName
from faas_connector.response import InvokerResponse

EVENT = Event("payment.received", b"hello")


def answered(status: int | None, body: bytes = b"", name: str = "printer", **more):
    error = None if status else ConnectError("no connection to http://g (refused)")
    return InvokerResponse(
        EVENT, FunctionName(name, "fn"), "c-1", 0.0123, status, body=body, error=error, **more
    )


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("K=V", ("K", "V")),
        ("K: V", ("K", "V")),
        ("K:V=W", ("K", "V=W")),
        ("K=http://a:1", ("K", "http://a:1")),
        ("X-Empty=", ("X-Empty", "")),
        ("X-Empty:", ("X-Empty", "")),
    ],
)
def test_headers(text, header):
    assert split_header(text) == header


@pytest.mark.parametrize("text", ["", "K", "=V", ": V", "a b=c", "ä=1"])
def test_what_is_no_header(text):
    with pytest.raises(click.BadParameter, match="X-Source"):
        split_header(text)


def test_data_is_text_a_file_or_any_bytes(tmp_path):
    file = tmp_path / "body"
    file.write_bytes(b"\x00\xff")
    assert read_data("") == b""
    assert read_data("hällo") == "hällo".encode()
    assert read_data(f"@{file}") == b"\x00\xff"
    assert read_data(os.fsdecode(b"\xff")) == b"\xff"
    with pytest.raises(click.BadParameter, match="No such file"):
        read_data("@/nowhere/body")


def test_a_response_as_json():
    headers = Headers([("Content-Type", "text/plain"), ("X-A", "1"), ("x-a", "2")])
    assert as_object(answered(200, b"hi", headers=headers)) == {
        "topic": "payment.received",
        "function": "printer.fn",
        "status": 200,
        "duration": 0.0123,
        "headers": {"content-type": "text/plain", "x-a": "1, 2"},
        "body": "hi",
        "body_encoding": "utf-8",
        "error": None,
        "call_id": "c-1",
    }


def test_a_body_that_is_no_text_is_marked():
    found = as_object(answered(200, b"\xff\x00"))
    assert (found["body"], found["body_encoding"]) == ("/wA=", "base64")


def test_a_response_without_an_answer_as_json():
    found = as_object(answered(None))
    assert found["status"] is None
    assert found["error"] == "no connection to http://g (refused)"


def test_status_lines():
    assert status_line(answered(200, b"hello")) == "200  printer.fn  12.3 ms, 5 B"
    assert status_line(answered(202)) == "202  printer.fn  12.3 ms, call id c-1"
    assert status_line(answered(None)) == (
        "---  printer.fn  no answer: no connection to http://g (refused)"
    )


def test_failures_say_where_to_look():
    assert complain([answered(200), answered(202)]) is None
    assert complain([answered(200), answered(500, name="mail"), answered(404)]) == (
        "2 of 3 functions failed; mail.fn answered 500: see its log with faas-cli logs mail -n fn"
    )
    assert str(complain([answered(None)])).startswith("1 of 1 function failed; printer.fn gave no")
