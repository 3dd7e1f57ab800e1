"""Run sources until the process is told to stop: what a program calls in its last line."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from faas_connector.config import ControllerConfig
from faas_connector.controller import Controller
from faas_connector.loops import event_runner
from faas_connector.runnables import Runnable
from faas_connector.store import Store

_log = logging.getLogger("faas_connector.run")

# Asked for by identity: any text or path is a folder that somebody may mean.
_OWN_STATE: Final = Path("(the user's own)")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(
    *sources: Runnable,
    config: ControllerConfig | None = None,
    state: Path | str | None = _OWN_STATE,
    state_wait: float = 60.0,
) -> None:
    """Deliver what the sources read, until each has ended or SIGTERM or Ctrl-C comes.

    The signal drains: nothing more is read, and what is in hand is settled within
    `timeouts.drain`. A second one aborts. It runs on uvloop where that is installed, and shows
    log lines from INFO on where the program has set up no logging.

    Args:
        sources: sources, async generator functions that yield events, or `Scoped` ones.
        config: as for a `Controller`.
        state: the folder of the pending store; default the user's own, None for no store.
        state_wait: seconds to wait for another run to let go of the folder.

    Raises:
        ConfigError: a source, or the policies without a store, can't work.
        SourceError: an async generator function failed; what it gave before is delivered.
        StoreError: the folder can't be used.
        GatewayError: there was no map within `startup_timeout`.
        SystemExit: with status 1: the drain ran out of time, or was aborted.

    Example:
        ```python
        run(TimerSource(topic="tick"), config=ControllerConfig(gateway_url="http://gateway:8080"))
        ```
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with event_runner() as runner:
        settled = runner.run(_run(sources, config, state, state_wait))
    if not settled:
        raise SystemExit(1)


async def _run(
    sources: tuple[Runnable, ...],
    config: ControllerConfig | None,
    state: Path | str | None,
    state_wait: float,
) -> bool:
    controller = Controller(config)

    async def work() -> bool:
        async with _store(state, state_wait) as store, controller:
            return await controller.run(*sources, store=store)

    return await until_signalled(work(), controller.stop)


@asynccontextmanager
async def _store(state: Path | str | None, wait: float) -> AsyncGenerator[Store | None]:
    if state is None:
        yield None
        return
    from faas_connector.stores.sqlite import SqliteStore  # noqa: PLC0415  # only where it is used

    folder = None if state is _OWN_STATE else Path(state)
    async with SqliteStore(folder, lock_wait=wait) as store:
        _log.info("state folder: %s", store.folder)
        yield store


async def until_signalled(work: Coroutine[Any, Any, bool], stop: Callable[[], bool]) -> bool:
    """Do the work of a run; the first SIGTERM or SIGINT drains it, the second aborts it.

    Args:
        work: returns whether all that was read is settled.
        stop: begins the drain; returns whether there was anything to drain.

    Returns:
        What the work returned: false after an abort, true where it was stopped before it read.
    """
    loop = asyncio.get_running_loop()
    working = asyncio.create_task(work, name="run")
    signals: list[str] = []
    is_draining = False

    def signalled(name: str) -> None:
        nonlocal is_draining
        signals.append(name)
        if len(signals) == 1 and stop():
            is_draining = True
            _log.info("%s: draining; a second signal aborts", name)
        else:
            working.cancel()

    for each in _SIGNALS:
        loop.add_signal_handler(each, signalled, each.name)
    try:
        # Not awaited itself: its cancellation by a signal must not look like ours.
        await asyncio.wait([working])
    finally:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
        working.cancel()
        await asyncio.wait([working])
    if working.cancelled() and signals:
        if is_draining:
            _log.warning("%s: aborted; what was in hand is left unsettled", signals[-1])
        return not is_draining
    settled = working.result()
    if not settled:
        _log.warning("the drain ran out of time; what could not be settled was handed back")
    return settled
