"""Which functions fail throughout, and are left alone but for a probe now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakValueDictionary

import msgspec

from faas_connector.names import FunctionName
from faas_connector.retry import Backoff, RetryPolicy

_log = logging.getLogger("faas_connector.health")

# Failures in a row, without any success, after which a function is paused.
_FAILURES_BEFORE_PAUSE = 10
_PROBES = RetryPolicy(min_wait=1.0, max_wait=30.0, backoff=Backoff.EXPONENTIAL)


class _Pause(msgspec.Struct):
    since: float
    probes: int = 0
    next_probe: float = 0.0


class FunctionHealth:
    """Pauses a function after ten failures in a row; a probe that succeeds ends the pause."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        resumed: Callable[[], None] = lambda: None,
        enabled: bool = True,
    ) -> None:
        """Prepare.

        Args:
            clock: seconds on any steady clock.
            resumed: is told when a pause has ended.
            enabled: whether functions are paused at all; without a store there is nowhere to keep
                what a paused one is meant to get.
        """
        self._clock = clock
        self._resumed = resumed
        self._enabled = enabled
        self._failures: dict[FunctionName, int] = {}
        self._paused: dict[FunctionName, _Pause] = {}
        # As long as somebody waits.
        self._pausing = WeakValueDictionary[FunctionName, asyncio.Event]()

    @property
    def paused(self) -> frozenset[FunctionName]:
        """The functions that are paused now."""
        return frozenset(self._paused)

    def is_paused(self, function: FunctionName) -> bool:
        """Whether only a probe of it may be made."""
        return bool(self._paused) and function in self._paused

    def pausing(self, function: FunctionName) -> asyncio.Event:
        """Set while it is paused, for those who wait for something else meanwhile."""
        event = self._pausing.get(function)
        if event is None:
            event = self._pausing[function] = asyncio.Event()
            if self.is_paused(function):
                event.set()
        return event

    def probes_due(self) -> list[FunctionName]:
        """The paused functions whose probe is due."""
        now = self._clock()
        return [function for function, pause in self._paused.items() if now >= pause.next_probe]

    def begin_probe(self, function: FunctionName) -> None:
        """An event of it is tried now: the next probe is due after twice the time."""
        if (pause := self._paused.get(function)) is not None:
            pause.probes += 1
            pause.next_probe = self._clock() + _PROBES.wait(pause.probes + 1, 1.0)

    def answered(self, function: FunctionName) -> None:
        """It took an event, or refused it for what the event is: it works."""
        if self._failures:
            self._failures.pop(function, None)
        if self._paused and (pause := self._paused.pop(function, None)) is not None:
            self._pausing.pop(function, None)
            _log.info(
                "function %s works again after %.0f s; what was parked for it follows",
                function, self._clock() - pause.since, extra={"function": str(function)},
            )  # fmt: skip
            self._resumed()

    def failed(self, function: FunctionName) -> None:
        """A call failed, and it is the function's own failure."""
        failures = self._failures.get(function, 0) + 1
        self._failures[function] = failures
        if self._enabled and failures >= _FAILURES_BEFORE_PAUSE and function not in self._paused:
            now = self._clock()
            self._paused[function] = _Pause(now, 0, now + _PROBES.wait(1, 1.0))
            self.pausing(function).set()
            _log.warning(
                "function %s failed %d times in a row: paused; its events are parked, "
                "one at a time is tried", function, failures, extra={"function": str(function)},
            )  # fmt: skip

    def forget(self, function: FunctionName) -> None:
        """It is gone."""
        self._failures.pop(function, None)
        self._paused.pop(function, None)
        self._pausing.pop(function, None)
