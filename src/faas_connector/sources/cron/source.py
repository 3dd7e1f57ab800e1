"""Reads schedules, and makes an event whenever one fires."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from faas_connector.contract import FunctionContract
from faas_connector.errors import ConfigError
from faas_connector.event import Event
from faas_connector.options import Seconds, option, settings
from faas_connector.schedules import CRON_TOPICS, zone_of
from faas_connector.source import Delivery, Guarantee, Once, Session, SourceTraits
from faas_connector.sources.cron.agenda import Agenda, Firing, Job
from faas_connector.sources.cron.schedule import Schedule, parse_all

_log = logging.getLogger("faas_connector.source")

# Seconds after which the clock and the functions are looked at again.
_LOOK = 1.0
# Firings of one job that wait for the one before; more are left out.
_MOST_QUEUED = 100


class Overlap(enum.Enum):
    """What happens to a firing while the one before is still being delivered."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"


def asked_of(function: FunctionContract) -> str | None:
    """The topic by which a function asks for its schedule to be followed."""
    return next((each for each in CRON_TOPICS if each in function.topics), None)


@settings
class CronSource:
    """Events by the clock: functions' `schedule` annotations, and schedules of topics.

    Example:
        >>> CronSource(schedules={"reports.daily": "CRON_TZ=Europe/Berlin 0 8 * * *"}).topics
        ('reports.daily',)
    """

    name: str = "cron"
    """A stable name, unique in one process."""
    schedules: dict[str, str] = option(
        default_factory=dict, example="{reports.daily: '0 8 * * MON-FRI'}"
    )
    """Topics, and when each gets an event; several schedules are joined by `;`."""
    payloads: dict[str, str] = option(default_factory=dict, example='{reports.daily: "{}"}')
    """The bodies of the events of `schedules`, by topic; others are empty."""
    payload: str = ""
    """The body of the events for functions with a `schedule`."""
    content_type: str = ""
    """Of all bodies; empty for that of the connector."""
    time_zone: str = option(default="UTC", example="Europe/Berlin")
    """Of schedules that name none (`CRON_TZ=…`)."""
    jitter: Seconds = 0.0
    """Each firing is put off by a time up to it, so that not all come at once."""
    overlap: Overlap = Overlap.ALLOW
    """While the event before is being delivered: `allow` another, `skip` it, or `queue` it."""
    catch_up: Seconds = 60.0
    """What was missed, for example during a restart, is made up for within this time."""
    durable: bool = True
    """Whether a firing is claimed and kept on disk, so that no restart repeats or skips it."""
    clock: Callable[[], float] = option(default=time.time, code_only=True)
    """Seconds since the epoch."""

    @property
    def traits(self) -> SourceTraits:
        """A firing that is not kept is gone when the process is."""
        return SourceTraits(
            guarantee=Guarantee.AT_MOST_ONCE, journal=self.durable, connector="cron-connector"
        )

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of `schedules`."""
        return tuple(self.schedules)

    def flaws(self, functions: Sequence[FunctionContract]) -> Iterator[str]:
        """Which functions are never called, or that there is nothing to call."""
        scheduled = [each for each in functions if asked_of(each)]
        if not scheduled and not self.schedules:
            yield (
                "nothing is to fire: there are no schedules, and no function has the topic "
                f"{CRON_TOPICS[0]} and an annotation schedule, for example '*/5 * * * *'"
            )
        for each in scheduled:
            is_wrong = any(problem.key == "schedule" for problem in each.problems)  # told as such
            if each.schedule is None and not is_wrong:
                yield f"function {each.name} has the topic {asked_of(each)} and no schedule"
            for text in each.schedule or ():
                try:
                    parse_all(text, self.time_zone)
                except ConfigError as error:
                    yield f"function {each.name}: annotation schedule: {error}"

    def __post_init__(self) -> None:
        if self.jitter < 0 or self.catch_up < 0:
            raise ConfigError(f"{self.name}: jitter and catch_up must be 0 seconds or more")
        try:
            zone_of(self.time_zone)
            for topic, text in self.schedules.items():
                if not parse_all(text, self.time_zone):
                    raise ConfigError(f"{topic!r} has no schedule; for example '*/5 * * * *'")
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from None
        if unknown := self.payloads.keys() - self.schedules.keys():
            raise ConfigError(
                f"{self.name}.payloads: {min(unknown)!r} is no topic of schedules; "
                f"known: {', '.join(self.schedules) or 'none'}"
            )

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Give a delivery whenever a schedule fires, until the session stops."""
        desk = _Desk(self, session)
        stopping = asyncio.create_task(desk.notice_stop(), name=f"{self.name}: notice the stop")
        try:
            yield desk.deliveries()
        finally:
            stopping.cancel()
            await asyncio.wait([stopping])


class _Fired(Delivery):
    """One firing, as an event."""

    __slots__ = ("_desk", "_firing")

    def __init__(self, desk: _Desk, firing: Firing, event: Event, once: Once | None) -> None:
        super().__init__(event, once=once, function=firing.job.function)
        self._desk = desk
        self._firing = firing

    async def nack(self, delay: float = 0.0) -> None:
        """It could not be taken: fire again a little later."""
        self._desk.again(self._firing, delay)

    def ended(self) -> None:
        """The next one of its job may follow."""
        self._desk.ended(self._firing)


class _Desk:
    """Follows the clock and the functions while the source is open."""

    def __init__(self, source: CronSource, session: Session) -> None:
        self._source = source
        self._session = session
        self._agenda = Agenda(catch_up=source.catch_up, jitter=source.jitter)
        self._functions: tuple[FunctionContract, ...] | None = None
        self._ready: deque[Firing] = deque()
        self._running: dict[Job, int] = defaultdict(int)
        self._queued: dict[Job, deque[Firing]] = defaultdict(deque)
        self._changed = asyncio.Event()
        self._refused: set[str] = set()

    async def notice_stop(self) -> None:
        await self._session.stopping.wait()
        self._changed.set()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        clock, stopping = self._source.clock, self._session.stopping
        since = clock() - self._source.catch_up
        while not stopping.is_set():
            self._changed.clear()
            if self._session.functions() is not self._functions:
                self._functions = self._session.functions()
                self._agenda.plan(self._jobs(self._functions), since)
            since = now = clock()
            due, missed = self._agenda.due(now)
            self._tell(missed)
            for firing in self._newest(due) if self._source.overlap is Overlap.SKIP else due:
                self._admit(firing)
            while self._ready and not stopping.is_set():
                yield self._fired(self._ready.popleft())
            next_due = self._agenda.next_due()
            wait = _LOOK if next_due is None else min(_LOOK, max(0.0, next_due - clock()))
            if not stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()

    def _jobs(self, functions: tuple[FunctionContract, ...]) -> Iterator[Job]:
        source = self._source
        for topic, text in source.schedules.items():
            for schedule in parse_all(text, source.time_zone):
                yield Job(topic, schedule)
        for contract in functions:
            if (asked := asked_of(contract)) is not None:
                for schedule in self._schedules(contract):
                    yield Job(asked, schedule, contract.name)

    def _schedules(self, contract: FunctionContract) -> Iterator[Schedule]:
        for text in contract.schedule or ():
            try:
                yield from parse_all(text, self._source.time_zone)
            except ConfigError as error:
                told = f"function {contract.name}: annotation schedule: {error}"
                if told not in self._refused:
                    self._refused.add(told)
                    _log.warning("%s", told, extra={"function": str(contract.name)})

    def _tell(self, missed: list[Firing]) -> None:
        for firing in missed:
            _log.warning(
                "%s: %s did not fire at %s, nor until %g s ago (catch_up): the clock was set, or "
                "nothing ran", self._source.name, firing.job.name,
                firing.job.schedule.written(firing.scheduled), self._source.catch_up,
            )  # fmt: skip

    # Overlap

    def _newest(self, due: list[Firing]) -> Iterable[Firing]:
        """The last firing of each job: the first may be one that was delivered before a restart."""
        for job, count in Counter(firing.job for firing in due).items():
            if count > 1:
                _log.info(
                    "%s: %d firings of %s are due at once; the last one is delivered",
                    self._source.name, count, job.name,
                )  # fmt: skip
        return {firing.job: firing for firing in due}.values()

    def _admit(self, firing: Firing) -> None:
        job, overlap = firing.job, self._source.overlap
        if overlap is Overlap.ALLOW or not self._running[job]:
            self._running[job] += 1
            self._ready.append(firing)
        elif overlap is Overlap.QUEUE and len(self._queued[job]) < _MOST_QUEUED:
            self._queued[job].append(firing)
        else:
            _log.warning(
                "%s: %s is skipped at %s: the event before is still being delivered",
                self._source.name, job.name, job.schedule.written(firing.scheduled),
            )  # fmt: skip

    def ended(self, firing: Firing) -> None:
        job = firing.job
        if queued := self._queued.get(job):
            self._ready.append(queued.popleft())
            self._changed.set()
            return
        self._running[job] -= 1
        if not self._running[job]:
            del self._running[job]
            self._queued.pop(job, None)

    def again(self, firing: Firing, delay: float) -> None:
        self._running[firing.job] += 1
        asyncio.get_running_loop().call_later(max(delay, _LOOK), self._put_back, firing)

    def _put_back(self, firing: Firing) -> None:
        self._ready.append(firing)
        self._changed.set()

    # Events

    def _fired(self, firing: Firing) -> Delivery:
        job, source = firing.job, self._source
        text = source.payload if job.function else source.payloads.get(job.topic, "")
        event = Event(
            job.topic,
            text.encode(),
            {
                "X-Cron-Schedule": job.schedule.text,
                "X-Cron-Scheduled-Time": job.schedule.written(firing.scheduled),
            },
            source.content_type or None,
            id=firing.name,
            time=datetime.fromtimestamp(firing.scheduled, UTC),
        )
        # Remembered for longer than it could be caught up with.
        once = Once(firing.name, 2 * source.catch_up + 3600.0) if source.durable else None
        return _Fired(self, firing, event, once)
