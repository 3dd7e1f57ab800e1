"""An event loop whose clock jumps: no test waits, and each runs the same way every time."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_000_000.0
"""When each run begins, on the loop's clock and in seconds since the epoch."""
# Turns of the loop at one moment of virtual time, before it counts as an endless one.
_MOST_TURNS = 100_000


class StuckError(AssertionError):
    """Time passes no more, or there is nothing to wait for."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: where nothing is ready, the time of the next timer has come."""

    now = EPOCH
    _turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise StuckError("nothing is ready, and no timer is set: stuck for ever")
        if not ready and timeout:
            self.now += timeout
            self._turns = 0
        self._turns += 1
        if self._turns > _MOST_TURNS:
            raise StuckError("time does not pass: somebody turns in circles")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._jumping.now


def run(main: Coroutine[Any, Any, T], *, debug: bool = False) -> T:
    """Run on virtual time; what chance decides is the same each time."""
    random.seed(0)
    with asyncio.Runner(loop_factory=VirtualLoop, debug=debug) as runner:
        return runner.run(main)
