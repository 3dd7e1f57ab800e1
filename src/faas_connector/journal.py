"""Events of sources that can't redeliver: on disk before they are accepted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from faas_connector.backlog import Backlog
from faas_connector.entries import whole_entry
from faas_connector.errors import ConnectorError, StoreError, StoreFullError
from faas_connector.intake import Tracked
from faas_connector.keeper import Keeper
from faas_connector.keeping import Keeping
from faas_connector.settling import Settler
from faas_connector.store import Entry, State

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
        once = tracked.delivery.once
        if once is None:
            return (await self.append([tracked]))[0]
        assert self._keeper is not None  # noqa: S101
        now = self._clock()
        try:
            entry_id = await self._keeper.store.write_once(
                self._entry(tracked), once.key, now=now, until=now + once.seconds
            )
        except StoreError as error:
            await self._refuse(tracked, error)
            return None
        if entry_id is None:
            self._keeping.counts.duplicates += 1
            await self._settler.ack([tracked])
        return entry_id

    async def append(self, events: Sequence[Tracked]) -> list[int | None]:
        """Write events down together: the ids of their entries; None for what was refused."""
        assert self._keeper is not None  # noqa: S101
        entries = [self._entry(tracked) for tracked in events]
        results: list[int | StoreError]
        try:
            results = await self._keeper.store.append(entries)
        except StoreError as failure:
            results = [failure for _ in events]
        ids = list[int | None]()
        for tracked, result in zip(events, results, strict=True):
            if isinstance(result, StoreError):
                await self._refuse(tracked, result)
                ids.append(None)
            else:
                ids.append(result)
        return ids

    def _entry(self, tracked: Tracked) -> Entry:
        return whole_entry(tracked, State.JOURNAL, None, now=self._clock())

    async def _refuse(self, tracked: Tracked, error: StoreError) -> None:
        self._keeping.counts.refused += 1
        if isinstance(error, StoreFullError):
            self._tell(tracked, error)
        elif self._keeper is not None:
            self._keeper.failed(error)
        tracked.intake.release(tracked)
        try:
            await tracked.delivery.nack()
        except ConnectorError as failure:  # no concern of the others of its group
            _log.warning(
                "%s: could not give back an event: %s", tracked.source, failure,
                extra={"source": tracked.source},
            )  # fmt: skip

    def _tell(self, tracked: Tracked, error: StoreFullError) -> None:
        now = time.monotonic()
        if now - self._told_at >= _TELL:
            self._told_at = now
            _log.error(
                "%s: refused an event (%d so far): %s",
                tracked.source, self._keeping.counts.refused, error,
                extra={"source": tracked.source},
            )  # fmt: skip
