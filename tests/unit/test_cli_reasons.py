"""Why an event reaches a function, or doesn't."""

from __future__ import annotations

import pytest

from faas_connector.cli.reasons import declared, judge, no_function_wants, ordered
from faas_connector.cli.survey import Surveyed
from faas_connector.contract import FunctionContract, read_contract
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName
from faas_connector.topic_map import TopicMap


def function(
    topics: str | None, *, replicas=1, watched=True, name="printer", matcher=TopicMatcher.EXACT
) -> Surveyed:
    annotations = {} if topics is None else {"topic": topics}
    contract = read_contract(FunctionName(name, "fn"), annotations, matcher=matcher)
    return Surveyed(contract=contract, replicas=replicas, watched=watched)


@pytest.mark.parametrize(
    ("topics", "topic", "matcher", "called", "near", "parts"),
    [
        ("a,b", "b", "exact", True, True, ["asks for 'b'"]),
        ("a.*,a.b", "a.b", "glob", True, True, ["asks for 'a.*', 'a.b'"]),
        ("a,b", "c.d.e", "exact", False, False, ["asks for 'a', 'b'"]),
        ("Payment", "payment", "exact", False, True, ["upper and lower case", "case-insensitive"]),
        ("a.*", "a.b", "exact", False, True, ["'a.*'", "matcher glob", "uses exact"]),
        ("a/+", "a/b", "glob", False, True, ["matcher mqtt", "uses glob"]),
        ("a.>", "a.b.c", "exact", False, True, ["matcher nats"]),
        ("payment.recieved", "payment.received", "exact", False, True, ["nearly the same"]),
        ("#/a", "a", "mqtt", False, True, ["its annotation topic", "only be the last"]),
        (" , ", "a", "exact", False, True, ["its annotation topic", "names no topic"]),
        (None, "a", "exact", False, False, ["no topic annotation", "topic: a"]),
    ],
)
def test_verdicts(topics, topic, matcher, called, near, parts):
    matcher = TopicMatcher.of(matcher)
    verdict = judge(function(topics, matcher=matcher), topic, matcher)
    assert (verdict.called, verdict.near) == (called, near)
    for part in parts:
        assert part in verdict.reason


def test_a_function_without_replicas_is_called_and_the_answer_foretold():
    verdict = judge(function("a", replicas=0), "a", TopicMatcher.EXACT)
    assert verdict.called
    assert "no replicas" in verdict.reason
    assert "503" in verdict.reason


def test_a_namespace_that_is_not_watched():
    verdict = judge(function("a", watched=False), "a", TopicMatcher.EXACT)
    assert not verdict.called
    assert "'fn' is not watched; name it with -n fn" in verdict.reason


def test_the_called_come_first_then_those_that_nearly_are():
    functions = [
        function("x.y.z", name="a"),
        function("T", name="b"),
        function("t", name="d"),
        function("t", name="c"),
    ]
    verdicts = ordered(judge(each, "t", TopicMatcher.EXACT) for each in functions)
    assert [each.function.name.name for each in verdicts] == ["c", "d", "b", "a"]


def contracts(*topics: str) -> TopicMap:
    return TopicMap([FunctionContract(FunctionName("f"), topics)])


def test_nothing_matched_names_the_nearest_topic():
    text = no_function_wants("paymnt.received", contracts("payment.received", "x"), "http://g")
    assert "'paymnt.received'" in text
    assert "did you mean 'payment.received'?" in text
    assert "payment.received, x" in text


def test_nothing_matched_lists_ten_topics_at_most():
    known = contracts(*(f"topic-{number:02}" for number in range(12)))
    text = no_function_wants("zzz", known, "http://g")
    assert "topic-09 and 2 more (see: faas-connector topics)" in text
    assert "topic-10" not in text
    assert "did you mean" not in text


def test_nothing_matched_where_nothing_is_asked_for():
    text = no_function_wants("a.b", contracts(), "http://g")
    assert text == (
        "no function at http://g asks for any topic; annotate one with, for example, topic: a.b"
    )


def test_what_a_function_declares():
    annotations = {
        "topic": "a",
        "faas-connector.mode": "async",
        "faas-connector.timeout": "90s",
        "faas-connector.concurrency": "4",
        "faas-connector.dead-letter": "off",
        "com.openfaas.retry.attempts": "10",
        "com.openfaas.retry.codes": "502,429",
        "com.openfaas.retry.min_wait": "1s",
        "com.openfaas.retry.max_wait": "30s",
    }
    assert declared(read_contract(FunctionName("f"), annotations)) == (
        "timeout 90.00 s, retry.min_wait 1.00 s, retry.max_wait 30.00 s, mode async, "
        "concurrency 4, dead-letter off, retry.attempts 10, retry.codes 429,502"
    )
    assert declared(read_contract(FunctionName("f"), {"faas-connector.order": "key"})) == (
        "order key"
    )
    assert not declared(read_contract(FunctionName("f"), {"topic": "a"}))
