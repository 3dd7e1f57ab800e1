"""Faults on request: what goes wrong, where, and how often.

A fault is written as `TARGET:KEY[=VALUE][,KEY[=VALUE]]…`, for example

    function/printer:status=503,times=2      the first two calls are answered 503
    function/printer:status=429,retry-after=2
    function/*:delay=250ms                   every call of every function takes longer
    async-function/printer:hang-up           the connection is closed without a byte
    system/functions:empty                   the list is `[]`; `null` makes it `null`
    system/namespaces:status=404
    healthz:status=503,after=10
    gateway:down=5s,at=10s                   10 s from now nobody listens for 5 s

Targets are a function (`function/NAME[.NAMESPACE]`), its asynchronous route
(`async-function/NAME…`), a route (`system/functions`, `healthz`), any of them with `*`, or
`gateway`. The first fault that applies is the one that happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

import msgspec

from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.local.function import Headers
from faas_connector.serving.reply import HANG_UP, JSON, NOT_FOUND, PLAIN, UNAUTHORIZED, Flaw, Reply

_EXAMPLE = "for example 'function/printer:status=503,times=2'"
_TARGET = re.compile(
    r"\*|gateway|healthz|ui|system/[-a-z*/]+|(?:async-)?function/[-a-zA-Z0-9_.*?\[\]]+"
)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong; several fields may be set together."""

    target: str
    """Which requests: see the top of this module."""
    status: int | None = None
    """Answer this instead of the function or the provider."""
    body: bytes | None = None
    """The answer's body. Default: what the gateway gives for 401 and 404, else none."""
    headers: Headers = ()
    """More header fields of the answer, such as Retry-After."""
    delay: float = 0.0
    """Seconds to wait first."""
    hang_up: bool = False
    """Close the connection without a byte."""
    short_body: bool = False
    """Promise the whole body, send half of it, close the connection."""
    slow_body: float = 0.0
    """Seconds between the bytes of the body."""
    down: float = 0.0
    """Target `gateway`: seconds for which nobody listens. `delay` is when that begins."""
    times: int | None = None
    """How many requests it hits; None hits all."""
    after: int = 0
    """How many requests it lets pass first."""

    @classmethod
    def parse(cls, text: str) -> Fault:
        """A fault from its spec, as `--fault` takes it.

        Raises:
            ConfigError: the spec can't be read; the message names the part and an example.
        """
        target, _, settings = text.partition(":")
        if not _TARGET.fullmatch(target) or not settings:
            raise ConfigError(f"{text!r} is no fault: TARGET:KEY=VALUE,…, {_EXAMPLE}")
        fields: dict[str, object] = {"target": target}
        for part in _parts(settings):
            key, has_value, value = part.partition("=")
            reader = _KEYS.get(key.strip())
            if reader is None or (has_value == "") != (key.strip() in _WORDS):
                raise ConfigError(f"{part!r} in {text!r} is no part of a fault, {_EXAMPLE}")
            try:
                fields.update(reader(value))
            except ValueError as error:
                raise ConfigError(f"{part!r} in {text!r}: {error}, {_EXAMPLE}") from None
        if (target == "gateway") != ("down" in fields):
            raise ConfigError(
                f"{text!r} is no fault: target 'gateway' and key 'down' belong together, "
                "for example 'gateway:down=5s,at=10s'"
            )
        return msgspec.convert(fields, cls)

    @property
    def answers(self) -> bool:
        """Whether the function or the provider is not asked at all."""
        return self.hang_up or self.status is not None

    def reply(self, route: str) -> Reply:
        """The answer of a route that is not a function's, such as `system/functions`."""
        status = self.status
        if self.hang_up or status is None:
            return HANG_UP
        if self.body is not None:
            fields = JSON if self.body[:1] in {b"[", b"{"} or self.body == b"null" else PLAIN
            return Reply(status, (fields, *self.headers), self.body)
        if route == "system/functions" and status not in {200, 401}:
            # What the provider says gets a line end here, and it says nothing (section 4.1).
            return Reply(status, (PLAIN, *self.headers), b"\n")
        known = {401: UNAUTHORIZED, 404: NOT_FOUND}.get(status, Reply(status))
        return msgspec.structs.replace(known, headers=(*known.headers, *self.headers))

    def spoil(self, reply: Reply) -> Reply:
        """The answer with what the fault does to its body."""
        if self.short_body and reply.flaw is Flaw.NONE:
            reply = msgspec.structs.replace(reply, flaw=Flaw.SHORT_BODY)
        if self.slow_body:
            reply = msgspec.structs.replace(reply, pace=self.slow_body)
        return reply


def _parts(settings: str) -> Iterator[str]:
    """The parts between commas; a body goes to the end, commas and all."""
    while settings:
        if settings.startswith("body="):
            yield settings
            return
        part, _, settings = settings.partition(",")
        yield part


def _status(value: str) -> dict[str, object]:
    if not re.fullmatch(r"[2-5][0-9][0-9]", value):
        raise ValueError("a status is a number from 200 to 599")
    return {"status": int(value)}


def _count(name: str) -> Callable[[str], dict[str, object]]:
    def read(value: str) -> dict[str, object]:
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise ValueError("how often is a whole number")
        return {name: int(value)}

    return read


def _seconds(name: str) -> Callable[[str], dict[str, object]]:
    return lambda value: {name: parse_duration(value)}


def _answer(body: bytes) -> Callable[[str], dict[str, object]]:
    return lambda _: {"status": 200, "body": body}


_WORDS = {"hang-up", "short-body", "empty", "null"}
_KEYS: dict[str, Callable[[str], dict[str, object]]] = {
    "status": _status,
    "body": lambda value: {"body": value.encode()},
    "retry-after": lambda value: {"headers": (("Retry-After", value),)},
    "delay": _seconds("delay"),
    "hang-up": lambda _: {"hang_up": True},
    "short-body": lambda _: {"short_body": True},
    "slow-body": _seconds("slow_body"),
    "empty": _answer(b"[]"),
    "null": _answer(b"null"),
    "down": _seconds("down"),
    "at": _seconds("delay"),
    "times": _count("times"),
    "after": _count("after"),
}


class _Rule:
    __slots__ = ("fault", "pattern", "seen")

    def __init__(self, fault: Fault, pattern: str) -> None:
        self.fault = fault
        self.pattern = pattern
        self.seen = 0


class FaultTable:
    """The faults of one gateway, and how often each has happened."""

    def __init__(self, default_namespace: str) -> None:
        self._default_namespace = default_namespace
        self._rules: list[_Rule] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Add faults; they come after those that are there."""
        for fault in faults:
            self._rules.append(_Rule(fault, self._pattern(fault.target)))

    def clear(self, target: str | None = None) -> None:
        """Forget the faults of a target, or all of them."""
        pattern = None if target is None else self._pattern(target)
        self._rules = [r for r in self._rules if pattern is not None and r.pattern != pattern]

    def take(self, target: str) -> Fault | None:
        """The fault that a request meets, counted; None when all is well.

        Args:
            target: the route, a function with its namespace: `function/printer.openfaas-fn`.
        """
        for rule in self._rules:
            if not fnmatchcase(target, rule.pattern):
                continue
            fault, rule.seen = rule.fault, rule.seen + 1
            last = None if fault.times is None else fault.after + fault.times
            if rule.seen > fault.after and (last is None or rule.seen <= last):
                return fault
        return None

    def _pattern(self, target: str) -> str:
        kind, slash, name = target.partition("/")
        if slash and kind.endswith("function") and "." not in name and name != "*":
            return f"{target}.{self._default_namespace}"
        return target
