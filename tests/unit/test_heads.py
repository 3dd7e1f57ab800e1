"""The heads of requests, made from what they have in common: as planned, whatever the values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector import ConfigError, ControllerConfig, Event, FunctionName, Invocation, planning
from faas_connector.gateway.client import GatewayClient
from faas_connector.planning import CallOptions, Planner, from_outside

FUNCTION = FunctionName("printer", "fn")
NAMES = ["X-A", "x-a", "X-Topic", "x-topic", "Content-Type", "accept", "X-Callback-Url", "Host"]
VALUES = st.sampled_from(["", "-", "1", " 1", "1 ", "a b", "a\tb", "größe", "a\r\nb", "%s", "{}"])
EVENTS = st.builds(
    Event,
    st.one_of(VALUES, st.text(max_size=5)),
    headers=st.dictionaries(
        st.sampled_from(NAMES), st.one_of(VALUES, st.text(max_size=5)), max_size=4
    ),
    content_type=st.sampled_from([None, "a/b"]),
)
OPTIONS = st.builds(
    CallOptions, st.sampled_from([None, *Invocation]), st.sampled_from([None, "http://here/"])
)


def new_planner(**options):
    config = ControllerConfig(**options)
    return Planner(GatewayClient(config), config)


def lines(head):
    return sorted(head.split("\r\n"))


def planned(planner, event, options=CallOptions()):  # noqa: B008
    plan = planner.plan(FUNCTION, event, options)
    fields = [f"{name}: {value}" for name, value in plan.fields]
    return sorted([f"POST {plan.target} HTTP/1.1", "Host: 127.0.0.1:8080", *fields, ""])


@given(st.lists(st.tuples(EVENTS, OPTIONS), max_size=6), st.booleans())
def test_a_head_is_as_planned_whichever_came_before(calls, send_topic):
    planner = new_planner(send_topic=send_topic, callback_url="http://default/")
    for event, options in calls:
        head = planner.head(FUNCTION, event, options)
        assert lines(head) == planned(planner, event, options)
        assert head.endswith("\r\n")
        assert not head.endswith("\r\n\r\n")


def test_a_call_has_its_own_callback():
    planner = new_planner(callback_url="http://default/")
    for url in (None, "http://one/", "http://two/", None):
        options = CallOptions(Invocation.ASYNC, url)
        head = planner.head(FUNCTION, Event("orders"), options)
        assert f"X-Callback-Url: {url or 'http://default/'}" in lines(head)


def test_a_header_that_is_no_text_is_refused_after_one_that_is():
    planner = new_planner()
    planner.head(FUNCTION, Event("orders", headers={"X-Count": "3"}), CallOptions())
    with pytest.raises(ConfigError, match="header X-Count must be text, got 3"):
        planner.head(FUNCTION, Event("orders", headers={"X-Count": 3}), CallOptions())


def test_what_is_remembered_is_bounded_whatever_comes_from_outside():
    planner = new_planner()
    for number in range(100):
        event = Event(f"orders.{number}", headers={"X-Id": str(number)})
        planner.head(FUNCTION, event, CallOptions())
    assert len(planner._heads) == 1
    event = Event("orders", headers={"X" * 100_000: "1"})
    assert lines(planner.head(FUNCTION, event, CallOptions())) == planned(planner, event)
    kept = sum(len(head.fixed) + sum(map(len, head.names)) for head in planner._heads.values())
    assert kept < 10_000


def test_heads_of_many_kinds_are_forgotten_at_times(monkeypatch):
    monkeypatch.setattr(planning, "_MOST_HEADS", 10)
    planner = new_planner()
    for number in range(35):
        event = Event("orders", headers={f"X-{number}": "1"})
        assert lines(planner.head(FUNCTION, event, CallOptions())) == planned(planner, event)
        assert 1 <= len(planner._heads) <= 10


def test_a_head_of_many_names_and_a_long_topic_are_not_remembered():
    planner = new_planner()
    many = {f"x{number}": "1" for number in range(100)}
    for event in (Event("orders", headers=many), Event("o" * 10_000)):
        assert lines(planner.head(FUNCTION, event, CallOptions())) == planned(planner, event)
    assert len(planner._heads) == 1
    assert all(len(head.begin) < 1000 for head in planner._heads.values())


def test_names_from_outside_are_remembered_where_they_are_few_and_short(monkeypatch):
    known = {}
    monkeypatch.setattr(planning, "_known", known)
    for number in range(100):
        headers = {"X-Id": str(number), "X-Topic": "1"}
        assert from_outside(Event("t", headers=headers)).headers == {"X-Id": str(number)}
    assert list(known) == [("X-Id", "X-Topic")]
    many = {f"x{number}": "1" for number in range(60_000)}
    for headers in (many, {"X" * 100_000: "1"}):
        assert from_outside(Event("t", headers=headers | {"X-Topic": "1"})).headers == headers
    assert len(known) == 1
    monkeypatch.setattr(planning, "_MOST_NAMES", 10)
    for number in range(100):
        from_outside(Event("t", headers={f"X-{number}": "1"}))
        assert len(known) <= 10
