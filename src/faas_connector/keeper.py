"""The store, for those who can't go on without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from faas_connector.errors import StoreError, StoreFullError
from faas_connector.event import Event
from faas_connector.store import Entry, State, Store

_log = logging.getLogger("faas_connector.store")
_T = TypeVar("_T")

# Seconds before a store that failed is tried again.
_WAIT = 1.0
# What tells whether it can be written: of a usual size, since a full disk may take less, and of no
# event, so that it is forgotten with the old verdicts if this process ends before it is removed.
_TRIAL = Entry(state=State.DONE, source="", event=Event("", bytes(64 * 1024)))


class Keeper:
    """Writes until it is written: while the store fails, its callers wait, and nothing is read."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._works = True
        self._refused_writes = False
        """Whether it failed to write since it worked: that it can be read says nothing then."""
        self._trial_id = 0

    @property
    def works(self) -> bool:
        """Whether it may be relied on, as far as is known."""
        return self._works

    async def working(self) -> None:
        """Wait until the store works; it is tried, since nobody else may have to."""
        while not self._works:
            await asyncio.sleep(_WAIT)
            await self.insist(self._try_to_write, writes=True)

    async def _try_to_write(self) -> None:
        trial = msgspec.structs.replace(_TRIAL, id=self._trial_id)
        [self._trial_id] = await self.store.write([trial])
        await self.store.write(removes=[self._trial_id])
        self._trial_id = 0

    async def write(self, puts: Sequence[Entry] = (), removes: Sequence[int] = ()) -> list[int]:
        """Like `Store.write`, as often as it takes.

        Raises:
            StoreFullError: the journal is at its size limit; that is no failure of the store.
        """
        return await self.insist(lambda: self.store.write(puts, removes), writes=True)

    async def insist(self, access: Callable[[], Awaitable[_T]], *, writes: bool = False) -> _T:
        """Access the store, again and again until it works.

        A disk that is full can still be read: only a write tells that it takes writes again.
        """
        while True:
            try:
                result = await access()
            except StoreFullError:
                raise
            except StoreError as error:
                self.failed(error, writing=writes)
                await asyncio.sleep(_WAIT)
            else:
                break
        if not self._works and (writes or not self._refused_writes):
            self._works = True
            self._refused_writes = False
            _log.info("the store works again")
        return result

    def failed(self, error: StoreError, *, writing: bool = True) -> None:
        """Say it once, and let nothing more be read."""
        self._refused_writes |= writing
        if self._works:
            self._works = False
            _log.error("the store fails; nothing is read or settled until it works: %s", error)
