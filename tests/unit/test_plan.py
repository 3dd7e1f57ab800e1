"""How a call is made: which headers go out, and which never do."""

import itertools
import re
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector import ConfigError, ControllerConfig, Event, FunctionName, Invocation, Timeouts
from faas_connector.call_ids import call_ids
from faas_connector.gateway.client import GatewayClient
from faas_connector.planning import CallOptions, event_of, from_outside, plan_call

FUNCTION = FunctionName("printer", "fn")
CALLBACK = "http://gateway:8080/function/collect"


def plan(event=None, *, invocation=None, callback_url=None, timeout=None, **config):
    options = CallOptions(invocation, callback_url, timeout)
    return plan_call(
        ControllerConfig(**config), "/function/x", FUNCTION, event or Event("orders"), options
    )


def fields(*arguments, **options):
    """Header fields by lower-case name; each must come once."""
    found = {}
    for name, value in plan(*arguments, **options).fields:
        assert name.lower() not in found, f"{name} twice"
        found[name.lower()] = value
    return found


def test_defaults():
    sent = fields()
    assert sent.pop("user-agent").startswith("faas-connector/")
    assert sent == {
        "x-connector": "faas-connector",
        "content-type": "text/plain",
        "x-topic": "orders",
    }


def test_the_controllers_defaults():
    sent = fields(
        connector="acme/orders-connector",
        content_type="application/json",
        user_agent="acme/1.0",
        send_topic=False,
    )
    assert sent == {
        "x-connector": "acme/orders-connector",
        "content-type": "application/json",
        "user-agent": "acme/1.0",
    }


def test_the_callers_headers_replace_defaults_whatever_their_case():
    headers = {"x-CONNECTOR": "mine", "content-type": "a/b", "USER-AGENT": "u", "X-Extra": "1"}
    sent = fields(Event("orders", headers=headers))
    assert sent == {
        "x-connector": "mine",
        "content-type": "a/b",
        "user-agent": "u",
        "x-topic": "orders",
        "x-extra": "1",
    }


NOT_THE_CALLERS = [
    "X-Call-Id", "HOST", "Content-Length", "Transfer-Encoding", "connection", "Keep-Alive",
    "Proxy-Connection", "TE", "Trailer", "Upgrade", "Expect",
]  # fmt: skip


@pytest.mark.parametrize("name", NOT_THE_CALLERS)
def test_fields_that_are_not_the_callers_are_left_out(name):
    assert name.lower() not in fields(Event("orders", headers={name: "5"}))


@pytest.mark.parametrize(
    "name",
    [
        *NOT_THE_CALLERS, "x-callback-url", "X-TOPIC", "X-Connector", "X-Event-Id", "X-Event-Time",
        "X-Event-Attempt", "X-Event-Replay", "X-Idempotency-Key", "Authorization",
        "Proxy-Authorization", "Cookie", "X-Forwarded-For", "x-openfaas-internal",
        "X-Function-Name", "X-Event-Action", "x-event-", "Proxy", "X-Topic-Enc", "x-connector-ENC",
        "X-Event-Id-Enc", "X_Topic", "x_event-id", "X-Topic_Enc", "X_Forwarded_For",
    ],
)  # fmt: skip
def test_what_no_publisher_may_say_does_not_come_from_outside(name):
    event = Event("orders", b"body", {name: "5", "X-Order": "7"}, "a/b", "id", "key")
    passed = from_outside(event)
    assert passed.headers == {"X-Order": "7"}
    assert passed == msgspec.structs.replace(event, headers=passed.headers)
    assert from_outside(event, "a/b-connector").headers == {
        "X-Order": "7", "X-Connector": "a/b-connector",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["X-Events", "X-Topics", "X-Kafka-Key-Enc", "Proxy-Color", "Content-Enc", "X_Kafka_Key"]
)
def test_what_only_looks_like_it_comes_from_outside(name):
    event = Event("orders", headers={name: "5"})
    assert from_outside(event) is event


def test_an_event_stream_is_never_asked_for():
    sent = fields(Event("orders", headers={"Accept": "Text/Event-Stream, */*"}))
    assert "accept" not in sent
    assert fields(Event("orders", headers={"Accept": "text/html"}))["accept"] == "text/html"


def test_the_callback_goes_on_the_asynchronous_route_only():
    for event in (Event("orders"), Event("orders", headers={"X-Callback-Url": CALLBACK})):
        assert "x-callback-url" not in fields(event, callback_url=CALLBACK)
    sent = fields(invocation=Invocation.ASYNC, callback_url=CALLBACK)
    assert sent["x-callback-url"] == CALLBACK
    config = {"callback_url": "http://default/", "invocation": Invocation.ASYNC}
    event = Event("orders")
    given_here = CallOptions(callback_url=CALLBACK)
    made = plan_call(ControllerConfig(**config), "/", FUNCTION, event, given_here)
    assert dict(made.fields)["X-Callback-Url"] == CALLBACK
    assert fields(**config)["x-callback-url"] == "http://default/"


def test_what_is_no_header_text_goes_as_base64():
    sent = fields(Event("größe", headers={"X-Name": "a\r\nEvil: 1"}))
    assert sent["x-topic"] == "Z3LDtsOfZQ=="
    assert sent["x-topic-enc"] == "b64"
    assert sent["x-name"] == "YQ0KRXZpbDogMQ=="
    assert sent["x-name-enc"] == "b64"


@given(
    st.dictionaries(
        st.text("abcXYZ-019_", min_size=1, max_size=8), st.text(max_size=20), max_size=5
    ),
    st.text(max_size=20),
)
def test_no_header_breaks_out(headers, topic):
    for name, value in plan(Event(topic, headers=headers)).fields:
        assert re.fullmatch(r"[!-~]+", name)
        assert re.fullmatch(r"[\t -~]*", value)


@pytest.mark.parametrize("name", ["", "X Y", "X:Y", "Größe", "X\r\nY"])
def test_a_bad_header_name_is_refused(name):
    with pytest.raises(ConfigError, match=r"is no header name.*for example"):
        plan(Event("orders", headers={name: "1"}))


def test_a_header_that_is_no_text_is_refused():
    with pytest.raises(ConfigError, match="header X-Count must be text, got 3; for example '3'"):
        plan(Event("orders", headers={"X-Count": 3}))


def test_timeouts():
    assert plan(timeouts=Timeouts(call=7.0)).timeout == 7.0
    assert plan(timeout=3.0, timeouts=Timeouts(call=7.0)).timeout == 3.0


@pytest.mark.parametrize(
    ("url", "function", "invocation", "target"),
    [
        ("http://gw", FunctionName("a", "fn"), Invocation.SYNC, "/function/a.fn"),
        ("http://gw/", FunctionName("a"), Invocation.SYNC, "/function/a"),
        ("http://gw/base/", FunctionName("a", "fn"), Invocation.ASYNC, "/base/async-function/a.fn"),
        ("http://gw", FunctionName("a\r\nb/../c?d"), Invocation.SYNC, None),
    ],
)
def test_targets(url, function, invocation, target):
    made = GatewayClient(ControllerConfig(gateway_url=url)).call_target(function, invocation)
    if target is None:
        assert re.fullmatch(r"/function/[-A-Za-z0-9_.%]+", made)
    else:
        assert made == target


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"\x00\xff", b"\x00\xff"),
        ("größe", "größe".encode()),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[1:3], b"bc"),
        (b"", b""),
    ],
)
def test_bodies(data, body):
    assert event_of("orders", data, None, None).data == body


@pytest.mark.parametrize("data", [None, 5, {"a": 1}, ["x"]])
def test_what_is_no_body_is_refused(data):
    with pytest.raises(TypeError, match=r"data must be bytes or str, got .*; for example"):
        event_of("orders", data, None, None)


@pytest.mark.parametrize("content_type", ["", "a\r\nb", "grüße", 5, b"text/plain"])
def test_a_bad_content_type_is_refused(content_type):
    with pytest.raises(ConfigError, match="content_type must be text that a header may hold"):
        event_of("orders", b"", None, content_type)


def test_the_callers_mapping_is_not_kept():
    headers = {"X-A": "1"}
    event = event_of("orders", b"", headers, None)
    headers["X-A"] = "2"
    assert event.headers["X-A"] == "1"


def test_call_ids_are_random_uuids():
    made = set(itertools.islice(call_ids(), 1000))
    assert len(made) == 1000
    for text in made:
        assert str(uuid.UUID(text)) == text
        assert uuid.UUID(text).version == 4
        assert uuid.UUID(text).variant == uuid.RFC_4122
