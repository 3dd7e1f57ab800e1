"""What is to fire next. It is told the time, and tells what is due; nothing here waits."""

from __future__ import annotations

import heapq
import itertools
import zlib
from collections.abc import Iterable

import msgspec

from faas_connector.names import FunctionName
from faas_connector.sources.cron.schedule import Schedule

# Seconds that a firing may be late by without having been missed.
_PUNCTUAL = 5.0


class Job(msgspec.Struct, frozen=True):
    """A schedule, and whom it is for."""

    topic: str
    schedule: Schedule
    function: FunctionName | None = None
    """The only function that is called; None for all that ask for the topic."""

    @property
    def name(self) -> str:
        """What tells it from other jobs, after a restart too."""
        return f"{self.function or self.topic} {self.schedule.text}"


class Firing(msgspec.Struct, frozen=True):
    """One time of one job."""

    job: Job
    scheduled: float
    """Seconds since the epoch."""

    @property
    def name(self) -> str:
        """By which it is claimed."""
        return f"{self.job.name} @{self.scheduled:.0f}"


class Agenda:
    """The next firing of each job; a time that has passed never comes again."""

    def __init__(self, *, catch_up: float, jitter: float = 0.0) -> None:
        """Prepare.

        Args:
            catch_up: seconds after which a firing that was missed is left out.
            jitter: seconds within which each firing is put off, always by the same time.
        """
        self._latest = max(catch_up, _PUNCTUAL)
        self._jitter = jitter
        self._scheduled: dict[Job, float | None] = {}
        self._heap: list[tuple[float, int, Job, float]] = []
        self._numbers = itertools.count()

    def plan(self, jobs: Iterable[Job], since: float) -> None:
        """These are the jobs from now on; of new ones, what is due after `since` fires."""
        wanted = dict.fromkeys(jobs)
        for job in self._scheduled.keys() - wanted.keys():
            del self._scheduled[job]
        for job in wanted:
            if job not in self._scheduled:
                # What was scheduled before may be put off until after it.
                scheduled = job.schedule.after(since - self._jitter)
                while scheduled is not None and self._due(Firing(job, scheduled)) <= since:
                    scheduled = job.schedule.after(scheduled)
                self._push(job, scheduled)

    def _push(self, job: Job, scheduled: float | None) -> None:
        self._scheduled[job] = scheduled
        if scheduled is not None:
            due = self._due(Firing(job, scheduled))
            heapq.heappush(self._heap, (due, next(self._numbers), job, scheduled))

    def _due(self, firing: Firing) -> float:
        if not self._jitter:
            return firing.scheduled
        return firing.scheduled + self._jitter * zlib.crc32(firing.name.encode()) / 2**32

    def next_due(self) -> float | None:
        """When it is to be asked again; None while there is no job."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> tuple[list[Firing], list[Firing]]:
        """What is to fire now, and the first firing of each job that was missed for too long."""
        due: list[Firing] = []
        missed: list[Firing] = []
        while self._heap and self._heap[0][0] <= now:
            time, _, job, scheduled = heapq.heappop(self._heap)
            if self._scheduled.get(job) != scheduled:
                continue  # it was planned anew since
            if now - time <= self._latest:
                due.append(Firing(job, scheduled))
                self._push(job, job.schedule.after(scheduled))
            else:
                missed.append(Firing(job, scheduled))
                passed = max(scheduled, now - self._latest - self._jitter)
                self._push(job, job.schedule.after(passed))
        return due, missed
