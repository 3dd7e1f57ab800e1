"""Whether it is the gateway that fails, and not the function."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger("faas_connector.gate")

# Seconds between two probes of a gateway that is down.
_INTERVAL = 1.0


class OutageGate:
    """Closed while the gateway is down, so that no call is made in vain and none is charged.

    Only a probe that begins after a failure can tell whether the gateway lived at the time; one
    that fails closes the gate, and the first one that succeeds opens it again.
    """

    def __init__(self, probe: Callable[[], Awaitable[bool]], *, where: str) -> None:
        """Prepare.

        Args:
            probe: asks whether the gateway is well; returns within some seconds, and never raises.
            where: the gateway's address, for the log.
        """
        self._probe = probe
        self._where = where
        self._asking: list[asyncio.Future[bool]] = []
        self._prober: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._probes: set[asyncio.Task[None]] = set()

    @property
    def is_closed(self) -> bool:
        """Whether calls have to wait."""
        return self._opened is not None

    async def opened(self) -> None:
        """Wait until calls may be made."""
        while self._opened is not None:
            await asyncio.shield(self._opened)

    async def gateway_is_well(self) -> bool:
        """Whether a probe that begins now succeeds; false at once while the gate is closed."""
        if self._opened is not None:
            return False
        asking: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asking.append(asking)
        if self._prober is None:
            self._prober = asyncio.create_task(self._answer(), name="gateway probe")
        return await asking

    async def aclose(self) -> None:
        """End all probes; whoever waits at the gate must have been cancelled before."""
        tasks = [task for task in (self._prober, *self._probes) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._opened is not None:
            self._opened.cancel()

    async def _answer(self) -> None:
        """Probe for all who ask; those who ask meanwhile get the next probe."""
        try:
            while self._asking:
                asking, self._asking = self._asking, []
                well = await self._probe()
                for each in asking:
                    if not each.done():
                        each.set_result(well)
                if not well:
                    await self._wait_out()
        finally:
            self._prober = None
            for each in self._asking:
                each.cancel()

    async def _wait_out(self) -> None:
        loop = asyncio.get_running_loop()
        self._opened = opened = loop.create_future()
        _log.warning(
            "gate closed: %s gives no healthy answer; calls wait until it does", self._where
        )
        for each in self._asking:
            if not each.done():
                each.set_result(False)
        self._asking.clear()
        begun = loop.time()
        # A probe that hangs must not hide that the gateway is back: the next begins meanwhile.
        while not opened.done():
            task = asyncio.create_task(self._try_open(opened), name="gateway probe")
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)
            await asyncio.wait([opened], timeout=_INTERVAL)
        for task in self._probes:
            task.cancel()
        _log.info("gate open: %s is back after %.1f s", self._where, loop.time() - begun)

    async def _try_open(self, opened: asyncio.Future[None]) -> None:
        if await self._probe() and not opened.done():
            # At once: who wakes up before the prober must find the gate open.
            self._opened = None
            opened.set_result(None)
