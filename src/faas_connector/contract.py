"""What one function declares in its annotations, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from faas_connector.annotations import (
    ANNOTATIONS,
    BY_KEY,
    TOPIC_KEY,
    TOPICS_KEY,
    Annotation,
    AnnotationProblem,
    Order,
    misspelt,
    problem_of,
    split_topics,
    topics_by_blanks,
    written,
)
from faas_connector.errors import ConfigError
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName, Invocation

__all__ = [
    "ANNOTATIONS",
    "TOPICS_KEY",
    "TOPIC_KEY",
    "AnnotationProblem",
    "FunctionContract",
    "Order",
    "read_contract",
]


class FunctionContract(msgspec.Struct, frozen=True, gc=False):
    """One function and what it declares. A setting it doesn't declare is None."""

    name: FunctionName
    """Whom to call."""
    topics: tuple[str, ...] = ()
    """Topics or patterns, in the order of the annotation, each once."""
    mode: Invocation | None = None
    """The route of its calls."""
    timeout: float | None = None
    """Seconds one call may take."""
    concurrency: int | None = None
    """Calls that may run at a time."""
    order: Order | None = None
    """Whether events of one key come one after another."""
    schedule: tuple[str, ...] | None = None
    """When the cron source calls it."""
    dead_letter: bool | None = None
    """Whether its failed events are kept as dead letters."""
    retry_attempts: int | None = None
    """Calls in all before an event counts as failed."""
    retry_codes: frozenset[int] | None = None
    """Its statuses that are tried again."""
    retry_min_wait: float | None = None
    """Seconds before the second attempt."""
    retry_max_wait: float | None = None
    """Seconds that no wait between two attempts exceeds."""
    problems: tuple[AnnotationProblem, ...] = ()
    """What is wrong with its annotations."""
    asleep: bool = False
    """Whether the gateway's list says that it has no replicas."""


def read_contract(
    name: FunctionName,
    annotations: Mapping[str, str],
    *,
    delimiter: str = ",",
    matcher: TopicMatcher = TopicMatcher.EXACT,
    last: FunctionContract | None = None,
) -> FunctionContract:
    """Read what a function declares. Never fails: what is wrong stands in `problems`.

    A setting with a wrong value keeps the one of `last`; without one it takes the strict side
    (events in order, one call at a time, dead letters kept), or stays undeclared.

    Args:
        name: the function.
        annotations: all its annotations; those that mean nothing to us are ignored.
        delimiter: what separates topics in `topic`; empty means that nothing does.
        matcher: refuses topics that are no patterns of its dialect.
        last: what held for the function before.
    """
    topics: dict[str, None] = {}
    settings: dict[str, Any] = {}
    wrong: list[AnnotationProblem] = []
    problems: list[AnnotationProblem] = []
    for key, value in annotations.items():
        annotation = BY_KEY.get(key)
        if annotation is None:
            if reason := misspelt(key):
                problems.append(AnnotationProblem(key, value, reason))
        elif annotation.field == "topics":
            found = split_topics(value, delimiter) if key == TOPIC_KEY else topics_by_blanks(value)
            bad = _bad_topics(annotation, value, found, matcher)
            problems += bad.values()
            topics.update(dict.fromkeys([topic for topic in found if topic not in bad]))
        else:
            wrong += _read_setting(annotation, value, settings)
    if problems:
        problems = _keep_topics(problems, topics, last)
    if settings or wrong:
        problems += _settle(annotations, settings, wrong, last)
    return FunctionContract(name, tuple(topics), problems=tuple(problems), **settings)


def _read_setting(
    annotation: Annotation, value: str, settings: dict[str, Any]
) -> Iterator[AnnotationProblem]:
    try:
        parsed = annotation.parse(value.strip())
    except ConfigError as error:
        yield problem_of(annotation, value, str(error))
    else:
        if annotation.field:
            settings[annotation.field] = parsed


def _bad_topics(
    annotation: Annotation, value: str, topics: list[str], matcher: TopicMatcher
) -> dict[str, AnnotationProblem]:
    if not topics:
        return {"": problem_of(annotation, value, "names no topic")}
    bad: dict[str, AnnotationProblem] = {}
    for topic in topics:
        try:
            matcher.check(topic)
        except ConfigError as error:
            bad[topic] = AnnotationProblem(annotation.key, value, str(error))
    return bad


def _keep_topics(
    problems: list[AnnotationProblem], topics: dict[str, None], last: FunctionContract | None
) -> list[AnnotationProblem]:
    """Keep the topics of before, if some are wrong now: one of them may be what was meant."""
    of_topics = {TOPIC_KEY, TOPICS_KEY}
    kept = [topic for topic in last.topics if topic not in topics] if last else []
    if not kept or not any(problem.key in of_topics for problem in problems):
        return problems
    topics.update(dict.fromkeys(kept))
    shown = ", ".join(kept[:3]) + (f" and {len(kept) - 3} more" if len(kept) > 3 else "")
    holds = f"until then {shown!r} of before stays"
    return [
        msgspec.structs.replace(problem, holds=holds) if problem.key in of_topics else problem
        for problem in problems
    ]


def _settle(
    annotations: Mapping[str, str],
    settings: dict[str, Any],
    wrong: list[AnnotationProblem],
    last: FunctionContract | None,
) -> Iterator[AnnotationProblem]:
    """Put what holds in the place of what is wrong; the problems, saying so."""
    for problem in wrong:
        if BY_KEY[problem.key].field == "mode":  # others depend on it
            yield _instead(problem, settings, last)
    for field, problem in list(_contradictions(annotations, settings)):
        del settings[field]
        yield _instead(problem, settings, last)
    for problem in wrong:
        if BY_KEY[problem.key].field != "mode":
            yield _instead(problem, settings, last)


def _instead(
    problem: AnnotationProblem, settings: dict[str, Any], last: FunctionContract | None
) -> AnnotationProblem:
    annotation = BY_KEY[problem.key]
    field = annotation.field
    if field is None:
        return problem
    kept = getattr(last, field, None)
    for value, how in ((kept, "stays"), (annotation.strict, "is")):
        if value is None:
            continue
        # What contradicts the mode is given up, not the mode.
        if field == "mode" or not _contradict({**settings, field: value}):
            settings[field] = value
            holds = f"until then it {how} {written(value)}"
            break
    else:
        default = "nothing fires" if field == "schedule" else "the setting of the connector holds"
        holds = f"until then {'it has no effect' if annotation.strict else default}"
    return msgspec.structs.replace(problem, holds=holds)


def _contradict(settings: Mapping[str, object]) -> bool:
    return _waits_contradict(settings) or _order_contradicts(settings)


def _waits_contradict(settings: Mapping[str, object]) -> bool:
    least, most = settings.get("retry_min_wait"), settings.get("retry_max_wait")
    return isinstance(least, float) and isinstance(most, float) and least > most


def _order_contradicts(settings: Mapping[str, object]) -> bool:
    return settings.get("mode") is Invocation.ASYNC and settings.get("order") is Order.KEY


def _contradictions(
    annotations: Mapping[str, str], settings: Mapping[str, object]
) -> Iterator[tuple[str, AnnotationProblem]]:
    """Settings that can't hold together: the one that is given up, and why."""
    if _waits_contradict(settings):
        key = "com.openfaas.retry.min_wait"
        reason = (
            f"is longer than com.openfaas.retry.max_wait, got {annotations[key]!r} and "
            f"{annotations['com.openfaas.retry.max_wait']!r}; for example '1s' and '30s'"
        )
        yield "retry_min_wait", AnnotationProblem(key, annotations[key], reason)
    if _order_contradicts(settings):
        key = "faas-connector.order"
        reason = (
            "contradicts faas-connector.mode 'async', got 'key': the gateway's queue keeps no "
            "order; remove one of them"
        )
        yield "order", AnnotationProblem(key, annotations[key], reason)
