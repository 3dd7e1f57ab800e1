"""`TopicMap.match` among many topics, per dialect, for topics it sees first and sees again."""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Sequence

from faas_connector import TopicMap, TopicMatcher
from faas_connector.contract import FunctionContract
from faas_connector.names import FunctionName

_PER_FUNCTION = 10
_SEEN_AGAIN = 1000

_EXACT = ("site.{0}.created",)
# Kinds of patterns, in equal parts.
_GLOB = ("site.{0}.*", "*.{0}.created", "site.{0}.?reated", "site.{0}.created")
_MQTT = ("site/{0}/+/state", "site/{0}/#", "+/{0}/door/state", "site/{0}/door/state")
_NATS = ("site.{0}.*.state", "site.{0}.>", "*.{0}.door.state", "site.{0}.door.state")


def measure(
    matcher: TopicMatcher, kinds: Sequence[str], topic: str, count: int
) -> dict[str, float]:
    """Seconds per match among `count` patterns."""
    patterns = [kinds[number % len(kinds)].format(number) for number in range(count)]
    functions = [
        FunctionContract(FunctionName(f"f{at}", "ns"), tuple(patterns[at : at + _PER_FUNCTION]))
        for at in range(0, count, _PER_FUNCTION)
    ]
    found = TopicMap(functions, matcher)
    topics = [topic.format(number) for number in range(count)]
    random.Random(1).shuffle(topics)
    if not all(found.match(each) for each in topics[:100]):
        raise RuntimeError(f"{matcher} finds nothing")
    return {"first": _per_match(found, topics), "again": _again(found, topics[:_SEEN_AGAIN])}


def _per_match(found: TopicMap, topics: Sequence[str]) -> float:
    match = found.match
    gc.collect()
    begun = time.perf_counter()
    for topic in topics:
        match(topic)
    return (time.perf_counter() - begun) / len(topics)


def _again(found: TopicMap, topics: Sequence[str]) -> float:
    _per_match(found, topics)
    return _per_match(found, list(topics) * 20)


def main() -> None:
    """Measure each dialect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topics", type=int, default=100_000)
    count = parser.parse_args().topics
    results: dict[str, float] = {}
    for matcher, kinds, topic in (
        (TopicMatcher.EXACT, _EXACT, "site.{}.created"),
        (TopicMatcher.GLOB, _GLOB, "site.{}.created"),
        (TopicMatcher.MQTT, _MQTT, "site/{}/door/state"),
        (TopicMatcher.NATS, _NATS, "site.{}.door.state"),
    ):
        measured = measure(matcher, kinds, topic, count)
        results |= {matcher.name: measured["first"], f"{matcher.name} again": measured["again"]}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
