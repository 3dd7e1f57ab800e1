"""Counts what became of dead letters, and tells it: of each once it is on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat

import msgspec

from faas_connector.dead_letters.shelf import Fate, Settled
from faas_connector.store import Entry

# Looked up once: Python 3.11 takes its time over members of an Enum.
_REPLAYED, _FAILED = Fate.REPLAYED, Fate.FAILED
# So many are brought to the disk at once, fewer after so many seconds, or so many times as many
# as that took before: it keeps the store from everything else.
_MANY, _SOON, _TIMES = 256, 0.1, 20


class Progress(msgspec.Struct, frozen=True):
    """What became of one dead letter, and of how many so far."""

    entry: Entry
    """As it is now; of a removed one, as it was."""
    fate: Fate
    what: str
    """The answer, or why there was no call; one line, empty after a success."""
    replayed: int
    failed: int
    left: int


class Tally:
    """Counts in the order of `add`. The disk works behind, while other calls run."""

    def __init__(
        self, sync: Callable[[], Awaitable[None]], on_progress: Callable[[Progress], None] | None
    ) -> None:
        """Prepare.

        Args:
            sync: begins to bring to the disk what was written down.
            on_progress: is told what became of each.
        """
        self.replayed = self.failed = self.left = 0
        self._sync = sync
        self._on_progress = on_progress
        self._written: list[Fate] = []
        self._to_tell: list[Settled] = []
        """The same where somebody is told: they are not kept in memory for nothing."""
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._took = 0.0
        self._error: Exception | None = None
        """Nothing counts after it: what a disk failed to take once, it may seem to have later."""

    def look(self) -> None:
        """Begin to bring to the disk what was added, where that is much.

        The best moment is just before more is written: then the disk works when that is done.
        """
        if len(self._written) >= _MANY:
            self._begin()

    async def add(self, group: Sequence[Settled]) -> None:
        """These were written down. Waits while the disk is too far behind.

        Raises:
            Exception: what went wrong with earlier ones, of the disk or of `on_progress`.
        """
        if len(self._written) >= 2 * _MANY and self._telling is not None:
            await asyncio.wait([self._telling])
        self._check()
        self._written += [each.fate for each in group]
        if self._on_progress is not None:
            self._to_tell += group
        self._begin_soon()

    async def close(self) -> None:
        """Wait until all are told. Raises what `add` does."""
        self._begin()
        while (telling := self._telling) is not None and not telling.done():
            await asyncio.wait([telling])
            self._begin()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _begin_soon(self) -> None:
        if self._written and self._timer is None and self._error is None:
            seconds = max(_SOON, _TIMES * self._took)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        is_telling = self._telling is not None and not self._telling.done()
        if is_telling or not self._written or self._error is not None:
            return
        written, self._written = self._written, []
        to_tell, self._to_tell = self._to_tell, []
        try:
            telling = self._tell(written, to_tell, self._sync())
        except Exception as error:
            self._error = error
        else:
            self._telling = asyncio.create_task(telling, name="tally")

    async def _tell(
        self, written: Sequence[Fate], to_tell: Sequence[Settled], synced: Awaitable[None]
    ) -> None:
        begun = time.monotonic()
        try:
            await synced
            self._took = time.monotonic() - begun
            for fate, each in zip(written, to_tell or repeat(None), strict=False):
                self._count(fate)
                if self._on_progress is not None and each is not None:
                    counts = self.replayed, self.failed, self.left
                    self._on_progress(Progress(each.entry, fate, each.what, *counts))
        except Exception as error:  # whatever it is, whoever adds must hear
            self._error = error
        self._begin_soon()

    def _count(self, fate: Fate) -> None:
        if fate is _REPLAYED:
            self.replayed += 1
        elif fate is _FAILED:
            self.failed += 1
        else:
            self.left += 1
