"""The store, for those who can't go on without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from faas_connector.errors import StoreError, StoreFullError
from faas_connector.store import Entry, Store

_log = logging.getLogger("faas_connector.store")
_T = TypeVar("_T")

# Seconds before a store that failed is tried again.
_WAIT = 1.0


class Keeper:
    """Writes until it is written: while the store fails, its callers wait, and nothing is read."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._works = True
        self._unwritten = 0
        """Writes that failed, and are tried again."""

    @property
    def works(self) -> bool:
        """Whether it may be relied on, as far as is known."""
        return self._works

    async def working(self) -> None:
        """Wait until the store works; it is asked, since nobody else may have to."""
        while not self._works:
            await asyncio.sleep(_WAIT)
            await self.insist(lambda: self.store.known("", ""))

    async def write(self, puts: Sequence[Entry] = (), removes: Sequence[int] = ()) -> list[int]:
        """Like `Store.write`, as often as it takes.

        Raises:
            StoreFullError: the journal is at its size limit; that is no failure of the store.
        """
        return await self.insist(lambda: self.store.write(puts, removes), writes=True)

    async def insist(self, access: Callable[[], Awaitable[_T]], *, writes: bool = False) -> _T:
        """Access the store, again and again until it works.

        A disk that is full can still be read: that says nothing while something is to be written.
        """
        is_unwritten = False
        try:
            while True:
                try:
                    result = await access()
                except StoreFullError:
                    raise
                except StoreError as error:
                    if writes and not is_unwritten:
                        is_unwritten = True
                        self._unwritten += 1
                    self.failed(error)
                    await asyncio.sleep(_WAIT)
                else:
                    break
        finally:
            self._unwritten -= is_unwritten
        if not self._works and (writes or not self._unwritten):
            self._works = True
            _log.info("the store works again")
        return result

    def failed(self, error: StoreError) -> None:
        """Say it once, and let nothing more be read."""
        if self._works:
            self._works = False
            _log.error("the store fails; nothing is read or settled until it works: %s", error)
