"""What a source gives is checked field by field, and refused by the field's name."""

from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from faas_connector.errors import ConfigError
from faas_connector.event import Event
from faas_connector.given import check_delivery, is_plain
from faas_connector.headers import Headers
from faas_connector.source import Delivery


class _Text(str):
    __slots__ = ()


class _Bytes(bytes):
    __slots__ = ()


WHOLE = {
    "topic": "t",
    "data": b"1",
    "headers": {"X-A": "1"},
    "content_type": "text/plain",
    "id": "1",
    "key": "k",
    "time": datetime.now(UTC),
}


@pytest.mark.parametrize("fields", [{"topic": "t"}, WHOLE], ids=["the least", "all"])
def test_the_usual_event_takes_the_short_way(fields):
    assert is_plain(Delivery(Event(**fields)))
    assert is_plain(Delivery(Event(**fields), position="1"))


@pytest.mark.parametrize(
    "fields",
    [
        {"topic": _Text("t")},
        {"data": _Bytes(b"1")},
        {"headers": MappingProxyType({"X-A": "1"})},
        {"headers": Headers([("X-A", "1")])},
        {"headers": {_Text("X-A"): "1"}},
        {"id": _Text("1")},
    ],
)
def test_what_is_as_good_passes(fields):
    delivery = Delivery(Event(**{**WHOLE, **fields}))
    assert not is_plain(delivery)
    check_delivery(delivery, "orders")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"topic": None}, "topic is NoneType; give text"),
        ({"topic": 5}, "topic is int; give text"),
        ({"data": "text"}, "data is str; give bytes, for example text.encode()"),
        ({"data": {"a": 1}}, "data is dict; give bytes"),
        ({"headers": None}, "headers is NoneType; give a dict of texts"),
        ({"headers": [("X-A", "1")]}, "headers is list; give a dict of texts"),
        ({"headers": {1: "1"}}, "headers have the name 1; give text"),
        ({"content_type": 5}, "content_type is int; give text"),
        ({"id": 12}, "id is int; give text, for example str(id)"),
        ({"key": 5}, "key is int; give text, for example str(key)"),
        ({"time": 12.0}, "time is float; give a datetime, for example datetime.fromtimestamp("),
        ({"time": "today"}, "time is str; give a datetime"),
    ],
)
def test_a_field_of_a_wrong_type_is_named(fields, said):
    delivery = Delivery(Event(**{**WHOLE, **fields}))
    assert not is_plain(delivery)
    with pytest.raises(ConfigError) as caught:
        check_delivery(delivery, "orders")
    assert str(caught.value).startswith(f"source orders gave an event whose {said}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Event("t"), "source orders gave an Event; wrap it: Delivery(event)"),
        (b"1", "source orders gave b'1', which is no Delivery; for example Delivery(Event("),
        (Delivery({"topic": "t"}), "source orders gave {'topic': 't'}, which is no Event; for"),
        (Delivery(Event("t"), position=1), "an event whose position is int; give text, for exa"),
    ],
)
def test_what_is_no_delivery_of_an_event(given, said):
    assert not is_plain(given)
    with pytest.raises(ConfigError) as caught:
        check_delivery(given, "orders")
    assert said in str(caught.value)
