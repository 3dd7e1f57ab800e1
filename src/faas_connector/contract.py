"""What one function declares in its annotations, and what is wrong with it."""

from __future__ import annotations

import difflib
import enum
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName, Invocation
from faas_connector.urls import mask_url, split_http_url


class Order(enum.Enum):
    """Whether a function wants its events in order."""

    NONE = "none"
    """Side by side, as they come."""
    KEY = "key"
    """Events of one key one after another; different keys side by side."""


class AnnotationProblem(msgspec.Struct, frozen=True):
    """An annotation that can't mean what it says; it affects that setting of that function only."""

    key: str
    """The annotation."""
    value: str
    """What it holds."""
    reason: str
    """What is wrong and a right example, in one line."""

    def __str__(self) -> str:
        key = self.key if self.key.isprintable() else repr(self.key)
        return f"annotation {key}: {self.reason}"


class FunctionContract(msgspec.Struct, frozen=True):
    """One function and what it declares. A setting it doesn't declare, or wrongly, is None."""

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


class Annotation(msgspec.Struct, frozen=True):
    """The definition of one annotation: what it sets, how its value is read, an example."""

    key: str
    field: str | None
    """The field of `FunctionContract` it sets; None where others than the connector read it."""
    parse: Callable[[str], object]
    """Reads the value; raises ConfigError with what it must be, as the end of a sentence."""
    example: str
    meaning: str


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d{0,8}", text, re.ASCII):
        raise ConfigError("must be a whole number from 1 to 999999999")
    return int(text)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ConfigError:
        raise ConfigError("must be a duration") from None


def _positive_duration(text: str) -> float:
    seconds = _duration(text)
    if seconds <= 0:
        raise ConfigError("must be a duration longer than 0")
    return seconds


def _codes(text: str) -> frozenset[int]:
    codes = [part.strip() for part in text.split(",") if part.strip()]
    if not codes or not all(re.fullmatch(r"[1-5]\d\d", code, re.ASCII) for code in codes):
        raise ConfigError("must be HTTP statuses separated by commas")
    return frozenset(map(int, codes))


def _one_of(values: Mapping[str, object]) -> Callable[[str], object]:
    def parse(text: str) -> object:
        if text not in values:
            raise ConfigError(f"must be {' or '.join(values)}")
        return values[text]

    return parse


def _url(text: str) -> str:
    split_http_url(text)
    return text


_CRON_FIELD = re.compile(r"[0-9A-Za-z*?,/#LW-]+")
_CRON_WORDS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}


def _schedule(text: str) -> tuple[str, ...]:
    schedules = tuple(part.strip() for part in text.split(";") if part.strip())
    if not schedules or not all(map(_is_schedule, schedules)):
        raise ConfigError("must be cron expressions of 5 fields, several joined by ';'")
    return schedules


def _is_schedule(schedule: str) -> bool:
    fields = schedule.split()
    if fields and re.fullmatch(r"(CRON_)?TZ=\S+", fields[0]):
        fields = fields[1:]
    if len(fields) == 2 and fields[0] == "@every":
        try:
            return parse_duration(fields[1]) > 0
        except ConfigError:
            return False
    if len(fields) == 1:
        return fields[0] in _CRON_WORDS
    return len(fields) in {5, 6} and all(_CRON_FIELD.fullmatch(field) for field in fields)


def _queue(text: str) -> str:
    if not re.fullmatch(r"[-a-zA-Z0-9_.]+", text):
        raise ConfigError("must be a queue's name")
    return text


def _topics_by_blanks(text: str) -> list[str]:
    return text.replace(";", " ").split()


def _split_topics(text: str, delimiter: str) -> list[str]:
    parts = text.split(delimiter) if delimiter else [text]
    return [topic for part in parts if (topic := part.strip())]


TOPIC_KEY = "topic"
TOPICS_KEY = "faas-connector.topics"

ANNOTATIONS: tuple[Annotation, ...] = (
    Annotation(
        TOPIC_KEY, "topics", lambda text: _split_topics(text, ","), "payment.received",
        "The topics whose events the function wants, separated by commas.",
    ),
    Annotation(
        TOPICS_KEY, "topics", _topics_by_blanks, "payment.received payment.refused",
        "More topics, separated by blanks or `;`, for gateways that refuse commas.",
    ),
    Annotation(
        "schedule", None, _schedule, "*/5 * * * *",
        "When the cron source calls the function; several joined by `;`.",
    ),
    Annotation(
        "com.openfaas.retry.attempts", "retry_attempts", _whole_number, "10",
        "Calls in all before an event counts as failed.",
    ),
    Annotation(
        "com.openfaas.retry.codes", "retry_codes", _codes, "429,502,503",
        "The function's statuses that are tried again.",
    ),
    Annotation(
        "com.openfaas.retry.min_wait", "retry_min_wait", _duration, "1s",
        "The wait before the second attempt.",
    ),
    Annotation(
        "com.openfaas.retry.max_wait", "retry_max_wait", _duration, "30s",
        "The longest wait between two attempts.",
    ),
    Annotation(
        "com.openfaas.queue", None, _queue, "slow-jobs",
        "The gateway's queue for asynchronous calls.",
    ),
    Annotation(
        "faas-connector.mode", "mode",
        _one_of({mode.value: mode for mode in Invocation}), "async",
        "`sync` waits for the function's answer, `async` uses the gateway's queue.",
    ),
    Annotation(
        "faas-connector.timeout", "timeout", _positive_duration, "90s",
        "How long one call may take.",
    ),
    Annotation(
        "faas-connector.concurrency", "concurrency", _whole_number, "4",
        "Calls of this function that may run at a time.",
    ),
    Annotation(
        "faas-connector.order", "order", _one_of({order.value: order for order in Order}), "key",
        "`key`: events with the same key reach the function one after another.",
    ),
    Annotation(
        "faas-connector.dead-letter", "dead_letter", _one_of({"on": True, "off": False}), "on",
        "Whether events that failed for good are kept.",
    ),
    Annotation(
        "faas-connector.local.url", None, _url, "http://127.0.0.1:5000",
        "Where the function runs already; read by the local gateway only.",
    ),
)  # fmt: skip

_BY_KEY = {annotation.key: annotation for annotation in ANNOTATIONS}
_PREFIX = re.compile(r"(?:faas-connector|com\.openfaas)\.", re.IGNORECASE)
_OWN_PREFIXES = ("faas-connector.", "com.openfaas.retry.")


def read_contract(
    name: FunctionName,
    annotations: Mapping[str, str],
    *,
    delimiter: str = ",",
    matcher: TopicMatcher = TopicMatcher.EXACT,
) -> FunctionContract:
    """Read what a function declares. Never fails: what is wrong stands in `problems`.

    Args:
        name: the function.
        annotations: all its annotations; those that mean nothing to us are ignored.
        delimiter: what separates topics in `topic`; empty means that nothing does.
        matcher: refuses topics that are no patterns of its dialect.
    """
    topics: dict[str, None] = {}
    settings: dict[str, Any] = {}
    problems: list[AnnotationProblem] = []
    for key, value in annotations.items():
        annotation = _BY_KEY.get(key)
        if annotation is None:
            if reason := _misspelt(key[:_LONGEST_KEY]):
                problems.append(AnnotationProblem(key, value, reason))
        elif annotation.field == "topics":
            found = (
                _split_topics(value, delimiter) if key == TOPIC_KEY else _topics_by_blanks(value)
            )
            bad = _bad_topics(annotation, value, found, matcher)
            problems += bad.values()
            topics.update(dict.fromkeys([topic for topic in found if topic not in bad]))
        else:
            _read_setting(annotation, value, settings, problems)
    for field, problem in _contradictions(annotations, settings) if settings else ():
        del settings[field]
        problems.append(problem)
    return FunctionContract(name, tuple(topics), problems=tuple(problems), **settings)


def _read_setting(
    annotation: Annotation,
    value: str,
    settings: dict[str, Any],
    problems: list[AnnotationProblem],
) -> None:
    try:
        parsed = annotation.parse(value.strip())
    except ConfigError as error:
        problems.append(_problem(annotation, value, str(error)))
    else:
        if annotation.field:
            settings[annotation.field] = parsed


def _bad_topics(
    annotation: Annotation, value: str, topics: list[str], matcher: TopicMatcher
) -> dict[str, AnnotationProblem]:
    if not topics:
        return {"": _problem(annotation, value, "names no topic")}
    bad: dict[str, AnnotationProblem] = {}
    for topic in topics:
        try:
            matcher.check(topic)
        except ConfigError as error:
            bad[topic] = AnnotationProblem(annotation.key, value, str(error))
    return bad


def _problem(annotation: Annotation, value: str, what: str) -> AnnotationProblem:
    shown = mask_url(value) if annotation.parse is _url else value
    return AnnotationProblem(
        annotation.key, value, f"{what}, got {shown!r}; for example '{annotation.example}'"
    )


def _contradictions(
    annotations: Mapping[str, str], settings: Mapping[str, object]
) -> Iterable[tuple[str, AnnotationProblem]]:
    """Settings that can't hold together: the one that is given up, and why."""
    least, most = settings.get("retry_min_wait"), settings.get("retry_max_wait")
    if isinstance(least, float) and isinstance(most, float) and least > most:
        key = "com.openfaas.retry.min_wait"
        reason = (
            f"is longer than com.openfaas.retry.max_wait, got {annotations[key]!r} and "
            f"{annotations['com.openfaas.retry.max_wait']!r}; for example '1s' and '30s'"
        )
        yield "retry_min_wait", AnnotationProblem(key, annotations[key], reason)
    if settings.get("mode") is Invocation.ASYNC and settings.get("order") is Order.KEY:
        key = "faas-connector.order"
        reason = (
            "contradicts faas-connector.mode 'async', got 'key': the gateway's queue keeps no "
            "order; remove one of them"
        )
        yield "order", AnnotationProblem(key, annotations[key], reason)


# Far above every key of ours, so that a longer one isn't misspelt; what is remembered stays small.
_LONGEST_KEY = 100


@functools.lru_cache(maxsize=4096)
def _misspelt(key: str) -> str | None:
    """Why a key that means nothing was probably meant for us; None for everybody else's keys."""
    prefix = _PREFIX.match(key)
    if prefix:  # it is the rest that must be near: `com.openfaas.` has many keys of others
        known = {_PREFIX.sub("", each): each for each in _BY_KEY}
    else:
        known = {each: each for each in _BY_KEY}
    ours = key.startswith(_OWN_PREFIXES)
    rest = _PREFIX.sub("", key).lower()
    nearest = difflib.get_close_matches(rest, known, n=1, cutoff=0.6 if ours else 0.8)
    if nearest:
        return f"is unknown; did you mean '{known[nearest[0]]}'?"
    return f"is unknown; known are {', '.join(_BY_KEY)}" if ours else None
