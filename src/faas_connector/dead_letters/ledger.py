"""Writes down what became of dead letters, in groups that are as large as they may be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from faas_connector.dead_letters.shelf import Settled

# Seconds that a group waits at most for what comes soon.
_MOST_PATIENCE = 0.01


class Ledger:
    """Writes down what became of dead letters: what comes while a group is written is the next.

    A group waits for calls that still run, though no more than twice as long as the one before took
    to be written: one large group takes much less than several small ones. It goes on when whoever
    adds is cancelled: what succeeded must not be lost.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Settled]], Awaitable[None]],
        written: Callable[[Sequence[Settled]], None],
        expects: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare.

        Args:
            write: writes down a group, all or none.
            written: is told of each group afterwards; `check` tells whether that failed.
            expects: whether more may come soon.
        """
        self._write = write
        self._written = written
        self._expects = expects
        self._group: list[Settled] = []
        self._complete = asyncio.Event()
        self._patience = _MOST_PATIENCE
        self._writer: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    def add(self, settled: Settled) -> None:
        """Write it down, with whatever else comes soon."""
        self._group.append(settled)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="ledger")
        elif not self._expects():
            self._complete.set()

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._group:
            await self._gather(loop.time() + self._patience)
            group, self._group = self._group, []
            begun = loop.time()
            try:
                await self._write(group)
            except Exception as error:  # whatever it is, whoever checks must hear
                self._error = error
            self._patience = min(2 * (loop.time() - begun), _MOST_PATIENCE)
            self._written(group)
        self._writer = None

    async def _gather(self, until: float) -> None:
        """Wait while more may come."""
        self._complete.clear()
        if self._expects():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._complete.wait()

    def check(self) -> None:
        """Raise what has gone wrong since this was asked last."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def close(self) -> None:
        """Wait until all is written.

        Raises:
            StoreError: some of it isn't, and nobody has heard of that.
        """
        if self._writer is not None:
            await asyncio.wait([self._writer])
        self.check()
