"""Opens the sources, keeps their deadlines, opens them again, and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

from faas_connector.dispatcher import Dispatcher
from faas_connector.errors import ConfigError, ConnectorError, MissingExtraError, SourceError
from faas_connector.given import check_context, check_delivery, check_iterable, is_plain
from faas_connector.intake import Tracked
from faas_connector.keeper import Keeper
from faas_connector.leaving import with_those_ahead
from faas_connector.pursuit import Pursuit
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.runnables import GeneratorFailedError, Served
from faas_connector.session import Drops, Lacks, LiveSession
from faas_connector.source import Delivery, Guarantee, Pausing
from faas_connector.topic_map import TopicMap

_log = logging.getLogger("faas_connector.source")

_REOPEN = RetryPolicy(min_wait=0.5, max_wait=30.0, backoff=Backoff.EQUAL)
# Seconds of a session after which the next failure counts as the first.
_STEADY = 60.0
# Of a deadline: when it is extended, and when an event that can't be is given up on.
_EXTEND_AT, _DETACH_AT = 1 / 3, 2 / 3
_SWEEPS_PER_DEADLINE = 12
# Of a deadline: how long one extension may take, since the other events wait for it.
_EXTEND_WITHIN = 1 / 6
# Seconds between two lines about that.
_TELL = 30.0
# Seconds without room in memory, after which the journal alone takes what can be journalled.
_FULL = 1.0
# Seconds that a source may take to end by itself once all it read is settled.
_LAST_READ = 1.0


class Supervisor:
    """Serves one source: reads it while there is room, until it ends or is stopped."""

    def __init__(
        self,
        it: Served,
        dispatcher: Dispatcher,
        pursuit: Pursuit,
        keeper: Keeper | None,
        topic_map: Callable[[], TopicMap],
        stopping: asyncio.Event,
        drain_over: asyncio.Event,
        failed: Callable[[ConnectorError], None],
    ) -> None:
        """Prepare.

        Args:
            it: the source.
            dispatcher: delivers what is read.
            pursuit: knows whether the gateway has a queue; without one, reading waits now and then.
            keeper: the store; nothing is read while it fails.
            topic_map: gives the map as it is now.
            stopping: set when nothing more is to be read.
            drain_over: set when the time is over in which what is in hand may be settled.
            failed: is told at once of an error for which the run has to end.
        """
        self.reopened = 0
        self.connected = False
        self._told_of_deadlines = float("-inf")
        self._source = it.source
        self._begins_anew = it.begins_anew
        self._intake = it.intake
        self._dispatcher = dispatcher
        self._pursuit = pursuit
        self._keeper = keeper
        self._map = topic_map
        self._stopping = stopping
        self._drain_over = drain_over
        self._failed = failed
        self.lacks = Lacks(it.source.name)
        self._drops = Drops(it.source.name, it.intake.counts)

    async def serve(self) -> bool:
        """Open it, and again whenever it fails; whether all that was read is settled.

        Raises:
            ConfigError: it can never work as it is set up.
            GeneratorFailedError: it is a function that yields events, and failed.
        """
        try:
            return await self._serve()
        finally:
            self._drops.tell()

    async def _serve(self) -> bool:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            begun = loop.time()
            try:
                return await self._serve_once()
            except (ConfigError, MissingExtraError) as error:
                await self._end_with(error)
                raise
            except Exception as error:
                if self._begins_anew:
                    failure = _generator_failed(self._source.name, error)
                    await self._end_with(failure)
                    raise failure from error
                self._report(error)
            finally:
                self.connected = False
            await self._dispatcher.settler.lose_session(self._intake)
            failures = 1 if loop.time() - begun > _STEADY else failures + 1
            if await self._stops_within(_REOPEN.wait(failures, random.random())):
                return await self._finish()
            self.reopened += 1

    async def _end_with(self, error: ConnectorError) -> None:
        """It can't go on: deliver what can't come again, and leave the rest to its broker."""
        self._failed(error)
        if self._intake.traits.guarantee is Guarantee.AT_MOST_ONCE:
            await self._finish()
        else:
            await self._dispatcher.leaving.abort(self._intake)

    def _report(self, error: Exception) -> None:
        name = self._source.name
        _log.warning(
            "source %s failed and is opened again: %s", name, _said(error),
            exc_info=_is_unexpected(error), extra={"source": name},
        )  # fmt: skip

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def _serve_once(self) -> bool:
        """One session, to its end."""
        intake = self._intake
        session = LiveSession(
            self._map, intake.max_unsettled, self._drops, intake.namespaces, self.lacks
        )
        broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def give_up(error: Exception) -> None:
            if not broken.done():
                broken.set_exception(error)

        async with AsyncExitStack() as stack:
            try:
                deliveries = await self._open(session, stack)
            except TimeoutError:
                if not self._stopping.is_set():
                    raise
                return await self._finish()
            self.connected = True
            _log.info("source %s is open", self._source.name, extra={"source": self._source.name})
            self._intake.begin_session(give_up)
            name = self._source.name
            reading = asyncio.create_task(self._read(session, deliveries), name=f"read {name}")
            sweeping = asyncio.create_task(self._sweep(), name=f"deadlines of {name}")
            stopping = asyncio.create_task(self._stopping.wait(), name=f"stop {name}")
            try:
                ends: list[asyncio.Future[Any]] = [reading, stopping, broken]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if broken.done():
                    broken.result()
                if reading.done():
                    _raise_why(reading)
                session.stopping.set()
                if intake.traits.pausing is not Pausing.CANNOT:
                    intake.end_session()
                return await self._drain(reading)
            finally:
                session.stopping.set()
                await _ended(reading, sweeping, stopping)
                if broken.done():
                    broken.exception()
                else:
                    broken.cancel()

    async def _open(self, session: LiveSession, stack: AsyncExitStack) -> AsyncIterator[Delivery]:
        """Open the source.

        Raises:
            TimeoutError: nothing is to be read any more; the source may hang for long.
        """
        async with asyncio.timeout(None) as opening:

            async def give_up() -> None:
                await self._stopping.wait()
                opening.reschedule(asyncio.get_running_loop().time())

            giving_up = asyncio.create_task(give_up(), name=f"stop opening {self._source.name}")
            try:
                opened = self._source.open(session)
                check_context(opened, self._source.name)
                deliveries = await stack.enter_async_context(opened)
                check_iterable(
                    deliveries, self._source.name, "what open() opens", "an async generator"
                )
                return deliveries
            finally:
                await _ended(giving_up)

    async def _read(self, session: LiveSession, deliveries: AsyncIterator[Delivery]) -> None:
        intake, dispatcher, stopping = self._intake, self._dispatcher, self._stopping
        async for delivery in deliveries:
            if not is_plain(delivery):
                check_delivery(delivery, intake.name)
            if stopping.is_set():
                # At once: a source that has something at hand would not let anyone else tell it.
                session.stopping.set()
                if intake.traits.pausing is not Pausing.CANNOT and not delivery.is_last:
                    await dispatcher.leaving.refuse(intake, delivery)
                    continue
            if delivery.redelivered is None and intake.by_position and self._knows_none():
                delivery.redelivered = False
            dispatcher.begin(intake, delivery)
            if not intake.has_room:
                await self._room()
            if self._keeper is not None and not self._keeper.works:
                await self._keeper.working()
            if self._pursuit.is_without_queue:
                await self._pursuit.queue()

    def _knows_none(self) -> bool:
        """Whether nothing is written down of any event, so that all are as good as new."""
        return self._keeper is None or not self._keeper.store.has_verdicts

    async def _room(self) -> None:
        """Wait until more may be read; what can be journalled doesn't wait long for others."""
        intake, backlog = self._intake, self._dispatcher.journal.backlog
        if intake.traits.journal and not backlog.is_open:
            # What nobody holds back is not safe before it is on disk.
            full = 0.0 if intake.traits.pausing is Pausing.CANNOT else _FULL
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(full):
                    await intake.room()
                return
            backlog.open(lambda: intake.has_room)
        if intake.traits.journal:
            await intake.written()
        else:
            await intake.room()

    async def _drain(self, reading: asyncio.Task[None]) -> bool:
        """Settle what is in hand, within the time for it; whether that was done."""
        if self._intake.traits.pausing is Pausing.CANNOT:
            # What it holds can't be handed back: it is read to the end, and delivered.
            over = asyncio.create_task(self._drain_over.wait(), name="end of the drain")
            try:
                await asyncio.wait([reading, over], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _ended(over)
        settled = await self._finish()
        # A read that is still pending may hold an event: it is not cancelled before.
        await asyncio.wait([reading], timeout=_LAST_READ if settled else 0.0)
        if self._intake.running:  # what could not be handed back came last
            settled = await self._finish()
        if reading.done() and not reading.cancelled() and (error := reading.exception()):
            _log.warning("source %s failed at its end: %s", self._source.name, error)
        return settled

    async def _finish(self) -> bool:
        settled = await self._intake.idle_before(self._drain_over)
        if not settled:
            await self._dispatcher.leaving.hand_back(self._intake)
        await self._dispatcher.settler.remember_beyond([self._intake])
        return settled

    # Deadlines

    async def _sweep(self) -> None:
        """Extend the deadlines of what is in hand, or put it where there is none."""
        loop = asyncio.get_running_loop()
        await self._intake.has_deadlines.wait()
        while True:
            deadlines = [
                each.delivery.deadline
                for each in self._intake.running
                if each.delivery.deadline is not None
            ]
            shortest = min(deadlines, default=1.0)
            await asyncio.sleep(min(1.0, shortest / _SWEEPS_PER_DEADLINE))
            now = loop.time()
            due = [
                tracked
                for tracked in self._intake.running
                if tracked.deadline_at is not None and not tracked.is_told
                and tracked.deadline_at - now <= self._left_at(tracked)
            ]  # fmt: skip
            if due:
                if not self._intake.traits.extends:
                    due = with_those_ahead(self._intake.running, due)
                kept = await asyncio.gather(*(self._keep_alive(tracked, now) for tracked in due))
                self._tell_of_deadlines([error for error in kept if error is not None], now)

    def _left_at(self, tracked: Tracked) -> float:
        share = _EXTEND_AT if self._intake.traits.extends else _DETACH_AT
        return (tracked.delivery.deadline or 0.0) * (1 - share)

    async def _keep_alive(self, tracked: Tracked, now: float) -> Exception | None:
        """What went wrong, if anything: the next sweep tries again."""
        delivery = tracked.delivery
        if tracked.is_told:
            return None  # since the sweep
        try:
            if self._intake.traits.extends:
                await _extend(delivery)
                tracked.deadline_at = now + (delivery.deadline or 0.0)
            else:
                await self._dispatcher.leaving.detach(tracked)
        except Exception as error:
            return error
        return None

    def _tell_of_deadlines(self, errors: list[Exception], now: float) -> None:
        if errors and now - self._told_of_deadlines >= _TELL:
            self._told_of_deadlines = now
            _log.warning(
                "source %s: could not extend the deadlines of %d events: %s",
                self._source.name, len(errors), errors[0], extra={"source": self._source.name},
            )  # fmt: skip


def _is_unexpected(error: Exception) -> bool:
    return not isinstance(error, ConnectorError | OSError)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if _is_unexpected(error) else str(error)


def _generator_failed(name: str, error: Exception) -> GeneratorFailedError:
    said = " ".join(_said(error).split())
    return GeneratorFailedError(
        f"source {name} failed, and a function that yields events can't be asked for the rest: "
        f"{said}; catch the error there, or write a class with open(), which is opened again"
    )


async def _extend(delivery: Delivery) -> None:
    seconds = (delivery.deadline or 0.0) * _EXTEND_WITHIN
    try:
        async with asyncio.timeout(seconds):
            await delivery.extend()
    except TimeoutError as error:
        raise SourceError(f"no answer within {seconds:g} s; it is tried again") from error


def _raise_why(reading: asyncio.Task[None]) -> None:
    """Raise what ended it, if anything but its own end."""
    if reading.cancelled():
        # Nobody here did that: a library cancelled what it was waiting for.
        raise SourceError("its reading was cancelled from inside")
    reading.result()


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel them, and wait until they have ended, whatever with."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
