"""Events of sources that can't redeliver: on disk before they are accepted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from faas_connector.backlog import Backlog
from faas_connector.entries import whole_entry
from faas_connector.errors import StoreError, StoreFullError
from faas_connector.intake import Tracked
from faas_connector.keeper import Keeper
from faas_connector.keeping import Keeping
from faas_connector.settling import Settler
from faas_connector.source import Once
from faas_connector.store import Entry, State, Store

_log = logging.getLogger("faas_connector.delivery")

# Seconds between two lines about events that found no room.
_TELL = 60.0


class Journal:
    """Writes events down, and has them accepted; delivering them is up to others."""

    def __init__(
        self, keeper: Keeper | None, keeping: Keeping, settler: Settler, clock: Callable[[], float]
    ) -> None:
        self.backlog = Backlog()
        """What only the journal holds."""
        self._keeper = keeper
        self._keeping = keeping
        self._settler = settler
        self._clock = clock
        self._told_at = float("-inf")

    async def put_off(self, tracked: Tracked) -> None:
        """Write the event down and acknowledge it; the journal's turn comes later."""
        try:
            entry_id = await self.write(tracked)
        finally:
            self.backlog.end()
        if entry_id is not None:
            await self._settler.ack([tracked])
            self._keeping.parked()

    async def write(self, tracked: Tracked) -> int | None:
        """Write the event down: the id of its entry; None where it is settled without."""
        assert self._keeper is not None  # noqa: S101
        entry = whole_entry(tracked, State.JOURNAL, None, now=self._clock())
        try:
            entry_id = await self._write(self._keeper.store, entry, tracked.delivery.once)
        except StoreError as error:
            self._keeping.counts.refused += 1
            if isinstance(error, StoreFullError):
                self._tell(tracked, error)
            else:
                self._keeper.failed(error)
            tracked.intake.release(tracked)
            await tracked.delivery.nack()
            return None
        if entry_id is None:
            self._keeping.counts.duplicates += 1
            await self._settler.ack([tracked])
        return entry_id

    def _tell(self, tracked: Tracked, error: StoreFullError) -> None:
        now = time.monotonic()
        if now - self._told_at >= _TELL:
            self._told_at = now
            _log.error(
                "%s: refused an event (%d so far): %s",
                tracked.source, self._keeping.counts.refused, error,
                extra={"source": tracked.source},
            )  # fmt: skip

    async def _write(self, store: Store, entry: Entry, once: Once | None) -> int | None:
        """The entry's id; None for what was taken before."""
        if once is None:
            return (await store.write([entry]))[0]
        now = self._clock()
        return await store.write_once(entry, once.key, now=now, until=now + once.seconds)
