"""Why an event reaches a function, or doesn't."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from faas_connector.cli.survey import Surveyed
from faas_connector.contract import TOPIC_KEY, TOPICS_KEY, FunctionContract
from faas_connector.durations import format_duration
from faas_connector.matching import TopicMatcher
from faas_connector.topic_map import TopicMap

_MOST_TOPICS = 10
_DIALECTS = (TopicMatcher.GLOB, TopicMatcher.MQTT, TopicMatcher.NATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What would become of an event for one function."""

    function: Surveyed
    called: bool
    near: bool
    """Whether it is worth a look though it isn't called: something small keeps it from it."""
    reason: str


def judge(function: Surveyed, topic: str, matcher: TopicMatcher) -> Verdict:
    """Whether a connector would call this function for this topic, and why."""
    patterns = [pattern for pattern in function.contract.topics if matcher(topic, pattern)]
    asks = f"asks for {_quoted(patterns)}"
    if patterns and not function.watched:
        reason = f"{asks}, but its namespace {function.name.namespace!r} is not watched; name it"
        return Verdict(
            function=function, called=False, near=True,
            reason=f"{reason} with -n {function.name.namespace}",
        )  # fmt: skip
    if patterns:
        asleep = "; it has no replicas now, so the gateway answers 503 or has to start one first"
        return Verdict(
            function=function, called=True, near=True,
            reason=asks if function.replicas else asks + asleep,
        )  # fmt: skip
    small = _small_difference(function.contract, topic, matcher)
    return Verdict(
        function=function, called=False, near=small is not None,
        reason=small or _big_difference(function.contract, topic),
    )  # fmt: skip


def _small_difference(contract: FunctionContract, topic: str, matcher: TopicMatcher) -> str | None:
    for pattern in contract.topics:
        if pattern.casefold() == topic.casefold():
            return (
                f"asks for {pattern!r}, which differs in upper and lower case; "
                "write the topic alike, or use --matcher case-insensitive"
            )
    for pattern in contract.topics:
        for dialect in _DIALECTS:
            if dialect is not matcher and dialect(topic, pattern):
                return (
                    f"asks for {pattern!r}, which the matcher {dialect.name} would match; "
                    f"the connector uses {matcher.name}"
                )
    if wrong := [each for each in contract.problems if each.key in {TOPIC_KEY, TOPICS_KEY}]:
        return f"its {wrong[0]}"
    nearest = difflib.get_close_matches(topic, contract.topics, n=1, cutoff=0.8)
    return f"asks for {nearest[0]!r}, which is nearly the same" if nearest else None


def _big_difference(contract: FunctionContract, topic: str) -> str:
    if not contract.topics:
        return f"has no topic annotation; to have it called, annotate it with topic: {topic}"
    return f"asks for {_quoted(contract.topics)}"


def no_function_wants(topic: str, known: TopicMap, gateway: str) -> str:
    """What to say where no function asked for a topic."""
    if not known.topics:
        return (
            f"no function at {gateway} asks for any topic; "
            f"annotate one with, for example, topic: {topic}"
        )
    nearest = difflib.get_close_matches(topic, known.topics, n=1, cutoff=0.6)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    listed = ", ".join(known.topics[:_MOST_TOPICS])
    more = len(known.topics) - _MOST_TOPICS
    if more > 0:
        listed += f" and {more} more (see: faas-connector topics)"
    return f"no function at {gateway} asks for {topic!r}{hint} asked for are: {listed}"


def declared(contract: FunctionContract) -> str:
    """The settings that the function declares beside its topics; empty where there are none."""
    seconds = {
        "timeout": contract.timeout,
        "retry.min_wait": contract.retry_min_wait,
        "retry.max_wait": contract.retry_max_wait,
    }
    texts = {name: format_duration(value) for name, value in seconds.items() if value is not None}
    if contract.mode is not None:
        texts["mode"] = contract.mode.value
    if contract.concurrency is not None:
        texts["concurrency"] = str(contract.concurrency)
    if contract.order is not None:
        texts["order"] = contract.order.value
    if contract.dead_letter is not None:
        texts["dead-letter"] = "on" if contract.dead_letter else "off"
    if contract.retry_attempts is not None:
        texts["retry.attempts"] = str(contract.retry_attempts)
    if contract.retry_codes is not None:
        texts["retry.codes"] = ",".join(map(str, sorted(contract.retry_codes)))
    return ", ".join(f"{name} {text}" for name, text in texts.items())


def ordered(verdicts: Iterable[Verdict]) -> Sequence[Verdict]:
    """Those that are called first, then those that nearly are, then the others, by name."""
    return sorted(verdicts, key=lambda each: (not each.called, not each.near, each.function.name))


def _quoted(patterns: Iterable[str]) -> str:
    return ", ".join(map(repr, patterns))
