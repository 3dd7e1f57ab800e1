"""Replays what is in a store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from faas_connector.dead_letters.shelf import Fate, Settled, Split
from faas_connector.entries import VERDICT_SECONDS, is_of_broker
from faas_connector.store import Entry, Query, State, Store

CLAIM_SECONDS = 60.0
"""How long a replay that was killed keeps others from what it had taken."""
# Looked up once: Python 3.11 takes its time over members of an Enum.
_REPLAYED, _FAILED = Fate.REPLAYED, Fate.FAILED


class StoreShelf:
    """Dead letters of a store: what succeeds is removed, what fails again stays and says so.

    What becomes a dead letter during the replay is not taken: a function that still fails would
    keep it going for ever.
    """

    def __init__(
        self, store: Store, query: Query, *, taken: set[int], clock: Callable[[], float] = time.time
    ) -> None:
        """Prepare.

        Args:
            store: it is left open.
            query: which ones; its state is not looked at.
            taken: ids that other replays of this process hold; ours are added meanwhile.
            clock: seconds since the epoch.
        """
        self._store = store
        self._query = msgspec.structs.replace(query, state=State.DEAD, limit=None)
        self._wanted = query.limit
        self._taken = taken
        self._held = set[int]()
        self._taking: asyncio.Task[list[Entry]] | None = None
        self._clock = clock
        self._begun = clock()

    def take(self, limit: int, max_bytes: int) -> asyncio.Task[list[Entry]]:
        """The next entries that nobody else has taken."""
        if self._wanted is not None:
            limit = min(limit, self._wanted)
        taking = self._take(self._claim_next(limit, max_bytes), limit, max_bytes)
        self._taking = asyncio.create_task(taking, name="dead letters")
        return self._taking

    def _claim_next(self, limit: int, max_bytes: int) -> Awaitable[list[Entry]]:
        asked = msgspec.structs.replace(self._query, limit=limit)
        return self._store.claim(asked, seconds=CLAIM_SECONDS, max_bytes=max_bytes)

    async def _take(
        self, claiming: Awaitable[list[Entry]], limit: int, max_bytes: int
    ) -> list[Entry]:
        while found := await claiming:
            self._query = msgspec.structs.replace(self._query, after_id=found[-1].id)
            now = self._clock()
            free = [entry for entry in found if entry.id not in self._taken]
            mine = [entry for entry in free if not self._begun <= entry.last <= now]
            self._hold([entry.id for entry in mine])
            if len(mine) < len(free):
                await self._store.release([each.id for each in free if each.id not in self._held])
            if mine:
                if self._wanted is not None:
                    self._wanted -= len(mine)
                return mine
            claiming = self._claim_next(limit, max_bytes)
        return []

    async def split(self, split: Sequence[Split]) -> list[list[Entry]]:
        """All parts: nothing was done for them yet."""
        parts = [part for _, parts in split for part in parts]
        ids = iter(await self._store.write(parts, [entry.id for entry, _ in split]))
        self._let_go([entry.id for entry, _ in split])
        numbered = [
            [msgspec.structs.replace(part, id=next(ids)) for part in parts] for _, parts in split
        ]
        asked = tuple(part.id for parts in numbered for part in parts)
        found = {entry.id for entry in await self._claim(Query(ids=asked))}
        self._hold(found)
        return [[part for part in parts if part.id in found] for parts in numbered]

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Remove, replace or release them; where it may be redelivered, a verdict is kept."""
        verdicts, removes, left = list[int](), list[int](), list[int]()
        failed = list[Entry]()
        for each in settled:
            entry = each.entry
            if each.fate is _REPLAYED:
                (verdicts if is_of_broker(entry.position) else removes).append(entry.id)
            elif each.fate is _FAILED:
                failed.append(entry)
            else:
                left.append(entry.id)
        if left:
            await self._store.release(left)
        if verdicts or failed or removes:
            due = self._clock() + VERDICT_SECONDS
            await self._store.finish(
                verdicts, until=due, puts=failed, removes=removes, synced=False
            )
        self._let_go([each.entry.id for each in settled])

    def sync(self) -> Awaitable[None]:
        """Have it on disk."""
        return self._store.sync()

    def holds(self, entry: Entry) -> bool:
        """Whether our claim has not run out."""
        return entry.id in self._held

    async def renew(self) -> None:
        """Claim again what we have."""
        if self._held:
            asked = tuple(self._held)
            found = {entry.id for entry in await self._claim(Query(ids=asked))}
            lost = set(asked) - found
            self._held -= lost
            self._taken -= lost

    async def give_back(self) -> None:
        """Release what we have, once we know what that is."""
        try:
            if self._taking is not None:
                await asyncio.wait([self._taking])
                if not self._taking.cancelled():
                    self._taking.exception()  # whoever waited for it has heard of that
        finally:
            held, self._held = self._held, set[int]()
            self._taken -= held
        await self._store.release(held)

    async def _claim(self, query: Query) -> list[Entry]:
        return await self._store.claim(query, seconds=CLAIM_SECONDS)

    def _hold(self, ids: Collection[int]) -> None:
        self._held.update(ids)
        self._taken.update(ids)

    def _let_go(self, ids: Collection[int]) -> None:
        self._held.difference_update(ids)
        self._taken.difference_update(ids)
