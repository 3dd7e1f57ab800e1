"""Runs coroutines on the best loop there is, and ends them when the user says so."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import TypeVar

from faas_connector.cli.interrupts import raise_again
from faas_connector.loops import event_runner

T = TypeVar("T")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(main: Coroutine[object, object, T]) -> T:
    """Run to the end; Ctrl-C cancels it and raises KeyboardInterrupt."""
    with event_runner() as runner:
        runner.get_loop()
        raise_again()
        return runner.run(main)


def run_until_interrupted(main: Coroutine[object, object, None]) -> None:
    """Run until Ctrl-C or SIGTERM, which cancel it and are its normal end.

    What it holds is given back on the way out; a second signal no longer waits for that.
    """
    run(_until_interrupted(main))


async def _until_interrupted(main: Coroutine[object, object, None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
        task.cancel()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if not interrupted:
            raise
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
