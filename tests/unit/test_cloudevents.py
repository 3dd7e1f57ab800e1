"""CloudEvents as the specification writes them, and as its own library does."""

import base64
import contextlib
import json
import string
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as Theirs
from hypothesis import given
from hypothesis import strategies as st

from faas_connector import Event, Headers
from faas_connector.cloudevents import (
    BATCHED,
    STRUCTURED,
    CloudEventError,
    as_cloudevent,
    decoded,
    encoded,
    received,
)

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
NAMES = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).filter(
    lambda name: name not in {"data", "id", "source", "type", "specversion", "time", "subject",
                              "datacontenttype", "dataschema"}
)  # fmt: skip


def structured(**members):
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **members}
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


def read(body, content_type=STRUCTURED):
    return received(Headers([("Content-Type", content_type)]), body)


def one(body, content_type=STRUCTURED):
    [event] = read(body, content_type)
    return event


@st.composite
def events(draw):
    attributes = {
        "id": draw(TEXT), "source": "/" + draw(TEXT), "type": draw(TEXT), "specversion": "1.0",
        **draw(st.dictionaries(NAMES, TEXT, max_size=3)),
    }  # fmt: skip
    if draw(st.booleans()):
        attributes["subject"] = draw(TEXT)
    return attributes


@given(events(), st.binary(max_size=50))
def test_binary_mode_as_the_library_writes_it(attributes, data):
    theirs = Theirs({**attributes, "datacontenttype": "application/octet-stream"}, data)
    message = to_binary(theirs, JSONFormat())
    [ours] = received(Headers(message.headers.items()), bytes(message.body))
    assert ours.data == data
    assert ours.content_type == "application/octet-stream"
    for name, value in attributes.items():
        assert ours.attribute(name) == value


@given(events(), st.binary(max_size=50))
def test_structured_mode_as_the_library_writes_it(attributes, data):
    theirs = Theirs({**attributes, "datacontenttype": "application/octet-stream"}, data)
    message = to_structured(theirs, JSONFormat())
    [ours] = received(Headers(message.headers.items()), bytes(message.body))
    assert ours.data == data
    for name, value in attributes.items():
        assert ours.attribute(name) == value


@given(events(), st.binary(max_size=50))
def test_what_goes_out_is_what_the_library_reads(attributes, data):
    body = json.dumps({**attributes, "data_base64": base64.b64encode(data).decode()}).encode()
    event = one(body).event("topic", {})
    message = HTTPMessage({**event.headers, "content-type": "a/b"}, event.data)
    theirs = from_http_event(message, JSONFormat())
    assert event.data == data
    for name, value in attributes.items():
        assert theirs.get_attributes()[name] == value


@given(st.text())
def test_a_value_reads_back_as_it_was(value):
    field = encoded(value)
    assert field.isascii()
    assert " " not in field
    assert decoded(field) == value or "\ud800" <= max(value) <= "\udfff"


def test_quoted_values():
    assert decoded('"a \\"b\\" %41"') == 'a "b" A'
    assert decoded('"') == '"'
    assert decoded("%C3%A4 %ZZ") == "ä %ZZ"


@pytest.mark.parametrize(
    ("members", "data", "content_type"),
    [
        ({"data": {"a": [1, None]}}, b'{"a": [1, null]}', "application/json"),
        ({"data": "text"}, b'"text"', "application/json"),
        ({"data": 1.50}, b"1.5", "application/json"),
        ({"data": None}, b"null", "application/json"),
        ({}, b"", None),
        ({"data": "<a>\u00e4</a>", "datacontenttype": "text/xml"}, b"<a>\xc3\xa4</a>", "text/xml"),
        ({"data": "x", "datacontenttype": "a/b+json"}, b'"x"', "a/b+json"),
        ({"data": {"a": 1}, "datacontenttype": "text/xml"}, b'{"a": 1}', "text/xml"),
        ({"data_base64": "AP8="}, b"\x00\xff", None),
        ({"data_base64": "AP8=", "datacontenttype": "a/b"}, b"\x00\xff", "a/b"),
    ],
)
def test_the_data_of_structured_events(members, data, content_type):
    event = one(structured(**members))
    assert (event.data, event.content_type) == (data, content_type)


def test_attributes_become_fields():
    event = one(structured(ext=True, count=3, gone=None, source="/a b", partitionkey="k"))
    assert event.fields == {
        "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a%20b", "ce-type": "t",
        "ce-ext": "true", "ce-count": "3", "ce-partitionkey": "k",
    }  # fmt: skip
    made = event.event("topic", {"X-More": "1"})
    assert (made.topic, made.id, made.key) == ("topic", "1", "k")
    assert made.headers["X-More"] == "1"


def test_the_time_is_the_events():
    event = one(structured(time="2026-11-24T12:00:00Z")).event("t", {})
    assert event.time == datetime(2026, 11, 24, 12, tzinfo=UTC)
    # The last two are times of the years 10000 and 0 in UTC.
    for no_time in ("yesterday", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+00:01"):
        made = one(structured(time=no_time)).event("t", {})
        assert made.time is None
        assert made.headers["ce-time"] == no_time


def test_a_batch():
    body = b"[" + structured(id="1") + b"," + structured(id="2") + b"]"
    found = read(body, f"{BATCHED}; charset=utf-8")
    assert [event.attribute("id") for event in found] == ["1", "2"]
    assert len({event.identity for event in found}) == 2
    assert read(b"[]", BATCHED) == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", STRUCTURED, 400),
        (b"[]", STRUCTURED, 400),
        (b"{}", BATCHED, 400),
        (b'{"id": "1"', STRUCTURED, 400),
        (b"\xff", STRUCTURED, 400),
        (b"[" * 100_000, BATCHED, 400),
        (structured(specversion=...), STRUCTURED, 400),
        (structured(specversion="0.3"), STRUCTURED, 400),
        (structured(id=...), STRUCTURED, 400),
        (structured(id=""), STRUCTURED, 400),
        (structured(source=...), STRUCTURED, 400),
        (structured(type=...), STRUCTURED, 400),
        (structured(ext={"a": 1}), STRUCTURED, 400),
        (structured(Ext="a"), STRUCTURED, 400),
        (structured(data=1, data_base64="AA=="), STRUCTURED, 400),
        (structured(data_base64="A"), STRUCTURED, 400),
        (structured(data_base64=1), STRUCTURED, 400),
        (structured(datacontenttype=1), STRUCTURED, 400),
        (structured(datacontenttype="a\nb"), STRUCTURED, 400),
        (b"", "application/cloudevents+avro", 415),
        (b"", "application/json", 400),
    ],
)
def test_what_is_no_cloudevent(body, content_type, status):
    with pytest.raises(CloudEventError) as caught:
        read(body, content_type)
    assert caught.value.status == status


MANY = {f"x{number:05d}": 1 for number in range(6000)}


@pytest.mark.parametrize(
    "members",
    [
        MANY,
        dict.fromkeys(MANY),
        {"ext": "a" * 40_000},
        {"x" * 40_000: "a"},
        {"datacontenttype": "a" * 40_000},
        # Percent-encoded they are three times as long.
        {"ext": "\u00e4" * 6000},
    ],
)
@pytest.mark.parametrize("ensure_ascii", [False, True])
def test_the_attributes_of_an_event_have_a_limit(members, ensure_ascii):
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    text = json.dumps({**event, **members}, ensure_ascii=ensure_ascii)
    for body, content_type in ((text, STRUCTURED), (f"[{json.dumps(event)},{text}]", BATCHED)):
        with pytest.raises(CloudEventError, match="have over 32 KiB") as caught:
            read(body.encode(), content_type)
        assert caught.value.status == 413


def test_the_limit_of_attributes_is_of_one_event_and_not_of_its_data():
    full = structured(ext="a" * 32_000, data="b" * 100_000)
    assert len(read(b"[" + b",".join([full] * 3) + b"]", BATCHED)) == 3


@given(st.binary(max_size=200), st.sampled_from([STRUCTURED, BATCHED, "a/b"]))
def test_no_body_breaks_it(body, content_type):
    with contextlib.suppress(CloudEventError):
        read(body, content_type)


# Out


def test_an_event_goes_out_as_a_cloudevent():
    event = Event(
        "orders", b"1", {"X-Own": "1"}, id="e", key="k", time=datetime(2026, 1, 2, tzinfo=UTC)
    )
    made = as_cloudevent(event, source="kafka", position="orders/0/12")
    assert made.headers == {
        "X-Own": "1", "ce-specversion": "1.0", "ce-id": "orders/0/12", "ce-source": "/kafka",
        "ce-type": "orders", "ce-time": "2026-01-02T00:00:00Z", "ce-partitionkey": "k",
    }  # fmt: skip
    theirs = from_http_event(HTTPMessage({**made.headers}, b"1"), JSONFormat())
    assert theirs.get_type() == "orders"


def test_its_id_is_the_position_else_the_publishers_else_a_new_one():
    def id_of(event, position):
        return as_cloudevent(event, source="s", position=position).headers["ce-id"]

    assert id_of(Event("t", id="e"), "p") == "p"
    assert id_of(Event("t", id="e"), None) == "e"
    assert id_of(Event("t"), None) != id_of(Event("t"), None)


def test_a_cloudevent_goes_out_as_it_came():
    event = Event("t", headers={"Ce-Specversion": "1.0", "Ce-Id": "1"})
    assert as_cloudevent(event, source="s", position="p") is event
