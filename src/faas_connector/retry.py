"""How long to wait before the next attempt. Values and arithmetic; nothing here sleeps."""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Iterable
from typing import cast

import msgspec

from faas_connector.errors import ConfigError
from faas_connector.options import Seconds, settings
from faas_connector.outcome import Kind, Outcome


class Backoff(enum.Enum):
    """How much of the exponential wait is left to chance, so that retries don't come in step."""

    FULL = "full"
    """Anything from 0 to 100 % of the wait."""
    EQUAL = "equal"
    """From 50 to 100 % of the wait."""
    EXPONENTIAL = "exponential"
    """The whole wait, always."""


_LEAST_SHARE = {Backoff.FULL: 0.0, Backoff.EQUAL: 0.5, Backoff.EXPONENTIAL: 1.0}


class GiveUp(enum.Enum):
    """Why an event is not tried again."""

    REFUSED = "refused"
    ATTEMPTS = "attempts"
    EXPIRED = "expired"


class RetryDecision(msgspec.Struct, frozen=True):
    """What comes after a call that brought no success: a wait, or the end."""

    wait: float = 0.0
    """Seconds before the next attempt."""
    give_up: GiveUp | None = None
    """Why there is none."""


@settings
class RetryPolicy:
    """How often and how soon a failed call is tried again.

    A bare `invoke` never retries (`RetryPolicy.none()`).

    Raises:
        ConfigError: a value can't work, or there is no such option.

    Example:
        >>> RetryPolicy(min_wait=0.5, backoff=Backoff.EXPONENTIAL).wait(attempt=3, chance=0.0)
        2.0
    """

    attempts: int = 5
    """Calls in all, the first included; 1 or more."""
    min_wait: Seconds = 1.0
    """Seconds before the second attempt (before chance takes its part); doubled each time."""
    max_wait: Seconds = 30.0
    """Seconds that no computed wait exceeds."""
    backoff: Backoff = Backoff.FULL
    """How much of the wait is left to chance."""
    codes: Collection[int] | None = None
    """Statuses of the function that are tried again; None means 408, 425, 429 and 5xx."""
    max_age: Seconds = 3600.0
    """Seconds after which an event is not tried again; `math.inf` in Python for no limit."""

    def __post_init__(self) -> None:
        if not _is_whole(self.attempts) or self.attempts < 1:
            raise ConfigError(
                f"retry.attempts must be a whole number, 1 or more, got {self.attempts!r} "
                "(1 switches retries off)"
            )
        if not (
            _is_number(self.min_wait)
            and _is_number(self.max_wait)
            and 0 <= self.min_wait <= self.max_wait < math.inf
        ):
            raise ConfigError(
                "retry.min_wait must be from 0 to max_wait, in seconds, got "
                f"min_wait={self.min_wait!r} and max_wait={self.max_wait!r}; "
                "for example 1.0 and 30.0"
            )
        backoff: object = self.backoff
        if not isinstance(backoff, Backoff):
            raise ConfigError(
                f"retry.backoff must be a Backoff, got {backoff!r}; for example Backoff.FULL"
            )
        if not _is_number(self.max_age) or not self.max_age > 0:
            raise ConfigError(
                "retry.max_age must be more than 0 seconds, "
                f"got {self.max_age!r}; for example 3600.0"
            )
        if self.codes is not None:
            object.__setattr__(self, "codes", _checked_codes(self.codes))

    @classmethod
    def none(cls) -> RetryPolicy:
        """One attempt and no more."""
        return cls(attempts=1)

    def wait(self, attempt: int, chance: float) -> float:
        """Seconds to wait after `attempt` (1 is the first) has failed.

        Args:
            attempt: how many attempts have been made.
            chance: a random number from 0 to 1.
        """
        # 2.0**1023 is the largest power that a float holds.
        longest = min(self.max_wait, self.min_wait * 2.0 ** min(attempt - 1, 1000))
        least = _LEAST_SHARE[self.backoff]
        return longest * (least + (1.0 - least) * chance)

    def decide(
        self, attempts: int, outcome: Outcome, *, age: float, chance: float, absences: int = 0
    ) -> RetryDecision:
        """What comes after a call without success.

        An absent function costs no attempts; only the age ends the waiting for it. A `Retry-After`
        takes the place of the computed wait, and may be longer than `max_wait`; one that names no
        time to wait changes nothing.

        Args:
            attempts: calls that were charged, this one included.
            outcome: of this call.
            age: seconds since the event was read.
            chance: a random number from 0 to 1.
            absences: calls that found no function, this one included.
        """
        if outcome.kind not in {Kind.FAILED, Kind.ABSENT}:
            return RetryDecision(give_up=GiveUp.REFUSED)
        if outcome.kind is Kind.FAILED and attempts >= self.attempts:
            return RetryDecision(give_up=GiveUp.ATTEMPTS)
        wait = outcome.retry_after or self.wait(max(1, attempts + absences), chance)
        if age + wait > self.max_age:
            return RetryDecision(give_up=GiveUp.EXPIRED)
        return RetryDecision(wait)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _checked_codes(codes: object) -> frozenset[int]:
    found = frozenset(cast("Iterable[object]", codes)) if isinstance(codes, Iterable) else None
    if found is None or not all(isinstance(code, int) and 100 <= code <= 599 for code in found):
        raise ConfigError(
            f"retry.codes must be HTTP statuses, got {codes!r}; for example frozenset({{429, 503}})"
        )
    return cast("frozenset[int]", found)
