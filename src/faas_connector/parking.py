"""Takes from the store what is due, and delivers it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from faas_connector.dispatcher import Dispatcher
from faas_connector.health import FunctionHealth
from faas_connector.intake import Intake, Tracked
from faas_connector.keeper import Keeper
from faas_connector.names import FunctionName
from faas_connector.store import WHOEVER_ASKS, Entry, State

_log = logging.getLogger("faas_connector.store")

# Entries in hand at a time, however many are due.
_MOST_IN_HAND = 512
# Entries that are taken at a time, and for which room is made first: a look takes its time.
_AT_A_TIME = 64
# Seconds between two looks, though nothing seems due: clocks are set, verdicts expire.
_LONGEST_SLEEP = 60.0
# Seconds before a look that brought nothing new is repeated, though something should be due: many
# times what it took, since that is long where very many are behind one that is not due.
_SHORTEST_SLEEP, _PER_LOOK = 0.05, 10
# The most seconds of that; and the most while a function is paused.
_PROBE_SLEEP = 1.0
_FORGET_INTERVAL = 3600.0


class Parking:
    """Drives the store: parked events when they are due, and the journal of an earlier run."""

    def __init__(
        self,
        keeper: Keeper,
        dispatcher: Dispatcher,
        health: FunctionHealth,
        intake: Intake,
        stopping: asyncio.Event,
        *,
        is_gone: Callable[[FunctionName], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._is_gone = is_gone
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._health = health
        self._intake = intake
        self._stopping = stopping
        self._clock = clock
        self._poked = asyncio.Event()
        self._functions: dict[Tracked, FunctionName] = {}
        """Of those that run, and of some that did."""
        self._probes: dict[FunctionName, Tracked] = {}
        """Those that run, when it was looked last."""

    def poke(self) -> None:
        """Something may be due."""
        self._poked.set()

    async def run(self) -> None:
        """Deliver what is due, until a stop; to be cancelled then."""
        now = asyncio.get_running_loop().time
        while True:
            await self._keeper.working()
            self._poked.clear()
            looked = now()
            begun = await self._begin_due() + await self._begin_probes()
            if begun == 0:
                shortest = _PER_LOOK * (now() - looked)
                await self._sleep(min(max(_SHORTEST_SLEEP, shortest), _PROBE_SLEEP))

    async def _begin_due(self) -> int:
        self._dispatcher.keeping.returned.clear()
        room = _MOST_IN_HAND - self._intake.unsettled
        room_bytes = self._intake.max_unsettled_bytes - self._intake.unsettled_bytes
        if room < _AT_A_TIME:
            self._intake.once_down_to(_MOST_IN_HAND - _AT_A_TIME, self.poke)
            return 0
        if room_bytes <= 0:
            self._intake.once_down_to(self._intake.unsettled // 2, self.poke)
            return 0
        store, held = self._keeper.store, self._dispatcher.keeping.held
        left_out = self._left_out()
        backlog = self._dispatcher.journal.backlog
        put_off = backlog.put_off
        entries = await self._keeper.insist(
            lambda: store.due(
                self._clock(), limit=_AT_A_TIME, held=held, paused=left_out, max_bytes=room_bytes
            )
        )
        if self._stopping.is_set():
            return 0
        begun = sum(self._begin(entry) is not None for entry in entries)
        size = sum(len(entry.event.data) for entry in entries if entry.event is not None)
        is_cut = len(entries) >= _AT_A_TIME or size >= room_bytes
        if not is_cut or entries[-1].state is not State.JOURNAL:
            backlog.close(put_off)
        return begun

    def _left_out(self) -> frozenset[FunctionName]:
        """The functions that are paused, or have their share in hand: others wait, too."""
        running = self._intake.running
        self._functions = {each: name for each, name in self._functions.items() if each in running}
        counts = Counter(self._functions.values())
        share = max(1, _MOST_IN_HAND // (1 + len(counts)) - _AT_A_TIME)
        return self._health.paused | {name for name, count in counts.items() if count > share}

    async def _begin_probes(self) -> int:
        """Try the oldest event that is due of each paused function, one at a time, now and then."""
        begun, store, running = 0, self._keeper.store, self._intake.running
        held = self._dispatcher.keeping.held
        self._probes = {name: probe for name, probe in self._probes.items() if probe in running}
        for function in self._health.probes_due():
            if function in self._probes:
                continue
            oldest = await self._keeper.insist(
                partial(store.due, self._clock(), limit=1, held=held, only=function)
            )
            if self._stopping.is_set():
                break
            if not oldest and self._is_gone(function):
                self._health.forget(function)
            for entry in oldest:
                if probe := self._begin(entry, is_probe=True):
                    self._health.begin_probe(function)
                    self._probes[function] = probe
                    begun += 1
        return begun

    def _begin(self, entry: Entry, *, is_probe: bool = False) -> Tracked | None:
        held = self._dispatcher.keeping.held
        if entry.id in held or self._may_be_behind(entry):
            return None
        if entry.event is None:
            held.add(entry.id)
            _log.error("entry %d of the store can't be read: %s", entry.id, entry.damage)
            return None
        begun = self._dispatcher.begin_entry(self._intake, entry, is_probe=is_probe)
        if entry.function is not None:
            self._functions[begun] = entry.function
        return begun

    def _may_be_behind(self, entry: Entry) -> bool:
        """Whether one ahead of it went back to the store after this one was found to be due."""
        event, returned = entry.event, self._dispatcher.keeping.returned
        if not returned or not entry.ordered or event is None or event.key is None:
            return False
        return (entry.function or WHOEVER_ASKS, event.key) in returned

    async def _sleep(self, shortest: float) -> None:
        """Wait until something may be due."""
        left_out, store = self._left_out(), self._keeper.store
        due = await self._keeper.insist(lambda: store.next_due(paused=left_out))
        wait = _LONGEST_SLEEP
        if due is not None:
            wait = min(wait, max(shortest, due - self._clock()))
        if self._health.paused:
            wait = min(wait, _PROBE_SLEEP)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._poked.wait()

    async def forget_verdicts(self) -> None:
        """Remove verdicts whose time is over, now and then, for ever."""
        while True:
            await self._keeper.insist(lambda: self._keeper.store.forget(self._clock()), writes=True)
            await asyncio.sleep(_FORGET_INTERVAL)
