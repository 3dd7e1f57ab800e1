"""What one function declares in its annotations, and what is wrong with it."""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName, Invocation


class Order(enum.Enum):
    """Whether a function wants its events in order."""

    NONE = "none"
    """Side by side, as they come."""
    KEY = "key"
    """Events of one key one after another; different keys side by side."""


class AnnotationProblem(msgspec.Struct, frozen=True):
    """An annotation that can't mean what it says; it affects that setting of that function only."""

    key: str
    value: str
    reason: str
    """What is wrong and a right example, in one line."""

    def __str__(self) -> str:
        return f"annotation {self.key}: {self.reason}"


class FunctionContract(msgspec.Struct, frozen=True):
    """One function and what it declares. A setting it doesn't declare, or wrongly, is None."""

    name: FunctionName
    topics: tuple[str, ...] = ()
    """Topics or patterns, in the order of the annotation, each once."""
    mode: Invocation | None = None
    timeout: float | None = None
    """Seconds one call may take."""
    concurrency: int | None = None
    """Calls that may run at a time."""
    order: Order | None = None
    dead_letter: bool | None = None
    """Whether its failed events are kept as dead letters."""
    retry_attempts: int | None = None
    retry_codes: frozenset[int] | None = None
    retry_min_wait: float | None = None
    retry_max_wait: float | None = None
    problems: tuple[AnnotationProblem, ...] = ()


class Annotation(msgspec.Struct, frozen=True):
    """The definition of one annotation: what it sets, how its value is read, an example."""

    key: str
    field: str | None
    """The field of `FunctionContract` it sets; None where others than the connector read it."""
    parse: Callable[[str], object]
    """Reads the value; raises ConfigError with what would be right."""
    example: str
    meaning: str


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ConfigError("must be a whole number, 1 or more")
    return int(text)


def _positive_duration(text: str) -> float:
    seconds = parse_duration(text)
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
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError("must be a URL with http or https")
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


def _topics_by_blanks(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(";", " ").split()))


def _split_topics(text: str, delimiter: str) -> tuple[str, ...]:
    parts = text.split(delimiter) if delimiter else [text]
    return tuple(dict.fromkeys(stripped for part in parts if (stripped := part.strip())))


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
        "com.openfaas.retry.min_wait", "retry_min_wait", parse_duration, "1s",
        "The wait before the second attempt.",
    ),
    Annotation(
        "com.openfaas.retry.max_wait", "retry_max_wait", parse_duration, "30s",
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
    settings: dict[str, object] = {}
    problems: list[AnnotationProblem] = []
    for key, value in annotations.items():
        annotation = _BY_KEY.get(key)
        if annotation is None:
            if reason := _misspelt(key):
                problems.append(AnnotationProblem(key, value, reason))
            continue
        try:
            if key == TOPIC_KEY:
                parsed: object = _split_topics(value, delimiter)
            else:
                parsed = annotation.parse(value.strip())
        except ConfigError as error:
            problems.append(AnnotationProblem(key, value, _reason(annotation, value, error)))
            continue
        if annotation.field == "topics":
            found = cast("tuple[str, ...]", parsed)
            problems += _bad_topics(annotation, value, found, matcher)
            topics |= dict.fromkeys(found)
        elif annotation.field:
            settings[annotation.field] = parsed
    problems += _contradictions(annotations, settings)
    usable = tuple(topic for topic in topics if _is_pattern(topic, matcher))
    return FunctionContract(
        name, usable, problems=tuple(problems), **cast("dict[str, Any]", settings)
    )


def _reason(annotation: Annotation, value: str, error: ConfigError) -> str:
    text = str(error)
    if repr(value.strip()) in text:
        return text
    return f"{text}, got {value!r}; for example '{annotation.example}'"


def _bad_topics(
    annotation: Annotation, value: str, topics: tuple[str, ...], matcher: TopicMatcher
) -> list[AnnotationProblem]:
    if not topics:
        reason = f"names no topic, got {value!r}; for example '{annotation.example}'"
        return [AnnotationProblem(annotation.key, value, reason)]
    problems: list[AnnotationProblem] = []
    for topic in topics:
        try:
            matcher.check(topic)
        except ConfigError as error:
            problems.append(AnnotationProblem(annotation.key, value, str(error)))
    return problems


def _is_pattern(topic: str, matcher: TopicMatcher) -> bool:
    try:
        matcher.check(topic)
    except ConfigError:
        return False
    return True


def _contradictions(
    annotations: Mapping[str, str], settings: Mapping[str, object]
) -> list[AnnotationProblem]:
    problems: list[AnnotationProblem] = []
    least, most = settings.get("retry_min_wait"), settings.get("retry_max_wait")
    if isinstance(least, float) and isinstance(most, float) and least > most:
        key = "com.openfaas.retry.min_wait"
        problems.append(
            AnnotationProblem(
                key,
                annotations[key],
                f"is longer than com.openfaas.retry.max_wait ({annotations[key]!r} > "
                f"{annotations['com.openfaas.retry.max_wait']!r}); for example '1s' and '30s'",
            )
        )
    if settings.get("mode") is Invocation.ASYNC and settings.get("order") is Order.KEY:
        key = "faas-connector.order"
        problems.append(
            AnnotationProblem(
                key,
                annotations[key],
                "'key' contradicts faas-connector.mode 'async': the gateway's queue keeps no "
                "order; remove one of them",
            )
        )
    return problems


def _misspelt(key: str) -> str | None:
    """Why a key that means nothing was probably meant for us; None for everybody else's keys."""
    nearest = difflib.get_close_matches(key.lower(), _BY_KEY, n=1, cutoff=0.8)
    if key.startswith(_OWN_PREFIXES):
        nearest = nearest or difflib.get_close_matches(key, _BY_KEY, n=1, cutoff=0.5)
    elif not nearest:
        return None
    hint = f"; did you mean '{nearest[0]}'?" if nearest else f"; known are {', '.join(_BY_KEY)}"
    return f"is unknown{hint}"
