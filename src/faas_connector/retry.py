"""How long to wait before the next attempt. Values and arithmetic; nothing here sleeps."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from faas_connector.errors import ConfigError


class Backoff(enum.Enum):
    """How much of the exponential wait is left to chance, so that retries don't come in step."""

    FULL = "full"
    """Anything from 0 to 100 % of the wait."""
    EQUAL = "equal"
    """From 50 to 100 % of the wait."""
    EXPONENTIAL = "exponential"
    """The whole wait, always."""


_LEAST_SHARE = {Backoff.FULL: 0.0, Backoff.EQUAL: 0.5, Backoff.EXPONENTIAL: 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how soon a failed call is tried again.

    A bare `invoke` never retries (`RetryPolicy.none()`).
    """

    attempts: int = 5
    """Calls in all, the first included; 1 or more."""
    min_wait: float = 1.0
    """Seconds before the second attempt (before chance takes its part); doubled each time."""
    max_wait: float = 30.0
    """Seconds that no computed wait exceeds."""
    backoff: Backoff = Backoff.FULL
    """How much of the wait is left to chance."""
    codes: frozenset[int] | None = None
    """Statuses of the function that are tried again; None means 408, 425, 429 and 5xx."""
    max_age: float = 3600.0
    """Seconds after which an event is not tried again."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigError(
                f"retry.attempts must be 1 or more, got {self.attempts} "
                "(to switch retries off use RetryPolicy.none())"
            )
        if not 0 <= self.min_wait <= self.max_wait:
            raise ConfigError(
                "retry.min_wait must be from 0 to max_wait, got "
                f"min_wait={self.min_wait} and max_wait={self.max_wait}; for example 1.0 and 30.0"
            )
        if not self.max_age > 0:
            raise ConfigError(
                f"retry.max_age must be more than 0 seconds, got {self.max_age}; for example 3600.0"
            )

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

    def retries_status(self, status: int) -> bool:
        """Whether this status, answered by the function, is tried again."""
        if self.codes is not None:
            return status in self.codes
        return status in {408, 425, 429} or 500 <= status <= 599
