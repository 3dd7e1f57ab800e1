"""The annotations that mean something to a connector: how each is read, and what it must be."""

from __future__ import annotations

import difflib
import enum
import functools
import re
from collections.abc import Callable, Mapping

import msgspec

from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.names import Invocation
from faas_connector.schedules import SCHEDULES, why_no_schedule
from faas_connector.urls import mask_url, split_http_url


class Order(enum.Enum):
    """Whether a function wants its events in order."""

    NONE = "none"
    """Side by side, as they come."""
    KEY = "key"
    """Events of one key one after another; different keys side by side."""


class AnnotationProblem(msgspec.Struct, frozen=True, gc=False):
    """An annotation that can't mean what it says; it affects that setting of that function only."""

    key: str
    """The annotation."""
    value: str
    """What it holds."""
    reason: str
    """What is wrong and a right example, in one line."""
    holds: str = ""
    """What holds meanwhile; empty where nothing does."""

    def __str__(self) -> str:
        key = self.key if self.key.isprintable() else repr(self.key)
        return f"annotation {key}: {self.reason}{self.holds and '; '}{self.holds}"


class Annotation(msgspec.Struct, frozen=True):
    """The definition of one annotation: what it sets, how its value is read, an example."""

    key: str
    field: str | None
    """The field of `FunctionContract` it sets; None where others than the connector read it."""
    parse: Callable[[str], object]
    """Reads the value; raises ConfigError with what it must be, as the end of a sentence."""
    example: str
    meaning: str
    strict: enum.Enum | int | None = None
    """What holds instead of a wrong value, where no good one is known; None: nothing special."""


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


def _schedule(text: str) -> tuple[str, ...]:
    schedules = tuple(part.strip() for part in text.split(";") if part.strip())
    if not schedules:
        raise ConfigError(SCHEDULES)
    if wrong := dict.fromkeys(why for each in schedules if (why := why_no_schedule(each))):
        raise ConfigError("; ".join(wrong))
    return schedules


def _queue(text: str) -> str:
    if not re.fullmatch(r"[-a-zA-Z0-9_.]+", text):
        raise ConfigError("must be a queue's name")
    return text


def topics_by_blanks(text: str) -> list[str]:
    """The topics of `faas-connector.topics`."""
    return text.replace(";", " ").split()


def split_topics(text: str, delimiter: str) -> list[str]:
    """The topics of `topic`; an empty delimiter separates nothing."""
    parts = text.split(delimiter) if delimiter else [text]
    return [topic for part in parts if (topic := part.strip())]


TOPIC_KEY = "topic"
TOPICS_KEY = "faas-connector.topics"

ANNOTATIONS: tuple[Annotation, ...] = (
    Annotation(
        TOPIC_KEY, "topics", lambda text: split_topics(text, ","), "payment.received",
        "The topics whose events the function wants, separated by commas.",
    ),
    Annotation(
        TOPICS_KEY, "topics", topics_by_blanks, "payment.received payment.refused",
        "More topics, separated by blanks or `;`, for gateways that refuse commas.",
    ),
    Annotation(
        "schedule", "schedule", _schedule, "*/5 * * * *",
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
        strict=1,
    ),
    Annotation(
        "faas-connector.order", "order", _one_of({order.value: order for order in Order}), "key",
        "`key`: events with the same key reach the function one after another.",
        strict=Order.KEY,
    ),
    Annotation(
        "faas-connector.dead-letter", "dead_letter", _one_of({"on": True, "off": False}), "on",
        "Whether events that failed for good are kept.",
        strict=True,
    ),
    Annotation(
        "faas-connector.local.url", None, _url, "http://127.0.0.1:5000",
        "Where the function runs already; read by the local gateway only.",
    ),
)  # fmt: skip

BY_KEY = {annotation.key: annotation for annotation in ANNOTATIONS}


def problem_of(annotation: Annotation, value: str, what: str) -> AnnotationProblem:
    """The problem of a value, with what it was and what would be right."""
    shown = mask_url(value) if annotation.parse is _url else value
    return AnnotationProblem(
        annotation.key, value, f"{what}, got {shown!r}; for example '{annotation.example}'"
    )


def written(value: enum.Enum | float | frozenset[int] | tuple[str, ...]) -> str:
    """A setting as an annotation would say it."""
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, frozenset):
        return ",".join(sorted(map(str, value)))
    if isinstance(value, tuple):
        return "; ".join(value)
    return str(value) if isinstance(value, int) else f"{value:.9f}".rstrip("0").rstrip(".") + "s"


_PREFIX = re.compile(r"(?:faas-connector|com\.openfaas)\.", re.IGNORECASE)
_OWN_PREFIXES = ("faas-connector.", "com.openfaas.retry.")
# Far above every key of ours, so that a longer one isn't misspelt; what is remembered stays small.
_LONGEST_KEY = 100


def misspelt(key: str) -> str | None:
    """Why a key that means nothing was probably meant for us; None for everybody else's keys."""
    return _reason(key[:_LONGEST_KEY])


@functools.lru_cache(maxsize=4096)
def _reason(key: str) -> str | None:
    prefix = _PREFIX.match(key)
    if prefix:  # it is the rest that must be near: `com.openfaas.` has many keys of others
        known = {_PREFIX.sub("", each): each for each in BY_KEY}
    else:
        known = {each: each for each in BY_KEY}
    ours = key.startswith(_OWN_PREFIXES)
    rest = _PREFIX.sub("", key).lower()
    nearest = difflib.get_close_matches(rest, known, n=1, cutoff=0.6 if ours else 0.8)
    if nearest:
        return f"is unknown; did you mean '{known[nearest[0]]}'?"
    return f"is unknown; known are {', '.join(BY_KEY)}" if ours else None
