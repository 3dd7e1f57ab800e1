"""What a process of ours runs on: uvloop where it is installed, and a patient collector."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Generator
from contextlib import contextmanager

# Objects made before the garbage collector looks for cycles. An event in hand is two dozen objects
# in no cycle: at Python's 700 the looking takes a fifth of a run's time (benchmarks/RESULTS.md).
_COLLECT_AFTER = 10_000


@contextmanager
def event_runner() -> Generator[asyncio.Runner]:
    """A runner for the main coroutine of a process; the collector is as before afterwards."""
    before = gc.get_threshold()
    if before[0]:  # else it is switched off
        gc.set_threshold(max(before[0], _COLLECT_AFTER), *before[1:])
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            yield runner
    finally:
        gc.set_threshold(*before)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415  # it isn't there on every platform

        return uvloop.new_event_loop
    return None
