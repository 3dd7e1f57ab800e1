"""Events whose broker could not be told that they are done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from faas_connector.intake import Tracked

_log = logging.getLogger("faas_connector.delivery")

# Seconds for which they are gathered: a session that is lost leaves as many as were in hand.
_GATHERING = 2.0


class _Untold(msgspec.Struct):
    events: int
    first: Tracked
    error: Exception
    timer: asyncio.TimerHandle


class Unacked:
    """Counts them, and tells of all that a source had within a moment in one line."""

    def __init__(self) -> None:
        self.count = 0
        self._untold: dict[str, _Untold] = {}

    def add(self, covered: Sequence[Tracked], error: Exception) -> None:
        """Count what one failed acknowledgement was for."""
        self.count += len(covered)
        last = covered[-1]
        name = last.intake.name
        untold = self._untold.get(name)
        if untold is None:
            timer = asyncio.get_running_loop().call_later(_GATHERING, self._tell, name)
            self._untold[name] = _Untold(len(covered), last, error, timer)
        else:
            untold.events += len(covered)

    def tell(self) -> None:
        """Say now what was not said yet."""
        for name in tuple(self._untold):
            self._tell(name)

    def _tell(self, name: str) -> None:
        untold = self._untold.pop(name)
        untold.timer.cancel()
        what = f"{untold.events} events"
        if untold.events == 1:
            what = untold.first.delivery.position or "an event"
        again = "is called again" if untold.first.key is None else "is not called again"
        _log.warning(
            "%s: could not acknowledge %s (%s: %s); what comes again %s",
            name, what, type(untold.error).__name__, untold.error, again,
            extra={"source": name, "events": untold.events},
        )  # fmt: skip
