"""The tasks in which events are worked on: one for each, or one for several."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from faas_connector.intake import Intake, Tracked

_log = logging.getLogger("faas_connector.delivery")

Work = Coroutine[Any, Any, None]


class Tasks:
    """Begins tasks of events. They are its border: what nobody foresaw ends here."""

    def __init__(self, ended: Callable[[Tracked], None]) -> None:
        """Prepare.

        Args:
            ended: is told of each event for which nothing runs any more, whatever became of it.
        """
        self._ended = ended
        self._loop = asyncio.get_running_loop()  # in CPython a system call each time

    def start(self, tracked: Tracked, work: Work) -> None:
        """Work on one event."""
        tracked.intake.running[tracked] = None
        tracked.task = self._loop.create_task(self.bordered([tracked], work), name="delivery")

    async def bordered(self, events: list[Tracked], work: Work) -> None:
        """Work on them; what moves on to another task meanwhile is taken out of the list."""
        try:
            await work
        except Exception as error:
            for tracked in events:
                give_up(tracked, error)
        finally:
            for tracked in events:
                self._ended(tracked)


class _Group(NamedTuple):
    events: list[Tracked]
    task: asyncio.Task[None]


class Grouping:
    """Gathers events that need the same, and works on them in one task.

    A group is what one source has given within a turn of the loop.
    """

    def __init__(self, tasks: Tasks, work: Callable[[list[Tracked]], Work], name: str) -> None:
        """Prepare.

        Args:
            tasks: has the border.
            work: is done on the events of a group.
            name: of its tasks.
        """
        self._tasks = tasks
        self._work = work
        self._name = name
        self._gathering: dict[Intake, _Group] = {}

    def add(self, tracked: Tracked) -> None:
        """Work on it with the others; their task is its task."""
        intake = tracked.intake
        group = self._gathering.get(intake)
        if group is None or group.task.cancelling():
            events = list[Tracked]()
            task = asyncio.create_task(self._run(intake, events), name=self._name)
            group = self._gathering[intake] = _Group(events, task)
        group.events.append(tracked)
        intake.running[tracked] = None
        tracked.task = group.task

    async def _run(self, intake: Intake, events: list[Tracked]) -> None:
        del self._gathering[intake]
        await self._tasks.bordered(events, self._work(events))


def give_up(tracked: Tracked, error: Exception) -> None:
    """Leave it unsettled: nobody foresaw this."""
    _log.error(
        "%s: an event could not be delivered; it is left unsettled", tracked.source,
        exc_info=error, extra={"source": tracked.source, "position": tracked.delivery.position},
    )  # fmt: skip
    tracked.intake.release(tracked)
    if tracked.line is not None and not tracked.line.is_over:
        tracked.intake.broken(error)  # nothing behind it could be acknowledged
