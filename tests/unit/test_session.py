"""What a source is told of topics, and what is said of the events that it had to drop."""

import logging

import pytest

from faas_connector import FunctionName, TopicMap
from faas_connector.contract import FunctionContract
from faas_connector.metrics import SourceCounts
from faas_connector.session import Drops, Lacks, LiveSession


def function(name, *topics):
    return FunctionContract(FunctionName(*name.split(".")), topics)


def session(topic_map, *namespaces):
    return LiveSession(lambda: topic_map, 10, Drops("nats", SourceCounts()), namespaces)


def test_topics_are_those_of_functions_that_vanished_lately_too():
    found = TopicMap([function("one.a", "x", "y")], missing=[function("two.a", "z")])
    assert session(found).topics() == {"x", "y", "z"}


def test_topics_are_those_of_its_namespaces():
    found = TopicMap([function("one.a", "x"), function("two.b", "y")])
    assert session(found, "b").topics() == {"y"}


def test_topics_follow_the_map():
    maps = [TopicMap([function("one.a", "x")]), TopicMap([function("one.a", "y")])]
    live = LiveSession(lambda: maps[0], 10, Drops("nats", SourceCounts()))
    assert live.topics() == {"x"}
    maps.pop(0)
    assert live.topics() == {"y"}


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.ERROR, "faas_connector.source")
    return lambda: [record.getMessage() for record in caplog.records]


def test_the_first_drop_is_told_at_once_and_further_ones_together(said):
    counts = SourceCounts()
    drops = Drops("nats", counts)
    for _ in range(5):
        drops.add(1, "found no room")
    assert counts.dropped == 5
    assert said() == ["source nats dropped 1 events that found no room"]
    drops.tell()
    assert said()[1:] == ["source nats dropped 4 events that found no room"]
    drops.tell()
    assert len(said()) == 2


def test_missing_topics_are_told_when_they_change(caplog):
    caplog.set_level(logging.INFO, "faas_connector.source")
    lacks = Lacks("kafka")
    for missing in ((), ("b", "a"), ("a", "b"), ("a",), ()):
        lacks.are(frozenset(missing))
    assert [record.getMessage().partition(" that")[0] for record in caplog.records] == [
        "source kafka has no topic a, b",
        "source kafka has no topic a",
        "source kafka has all its topics",
    ]
    assert not lacks.topics
