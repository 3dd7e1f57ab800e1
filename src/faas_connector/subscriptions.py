"""Who hears of responses: each behind a queue of its own, so that none holds up another."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from typing import Any, Literal, cast

from faas_connector.config import Limits
from faas_connector.errors import ConfigError
from faas_connector.response import InvokerResponse, ResponseSubscriber

_log = logging.getLogger("faas_connector.subscriptions")

Overflow = Literal["drop", "wait"]
Only = Literal["all", "failed"]

# Set while a subscriber runs: what it invokes itself must not wait for subscribers to catch up.
_inside_subscriber: ContextVar[bool] = ContextVar("_inside_subscriber", default=False)

# Responses handed to a subscriber's thread at a time: switching threads costs more than most.
_BATCH = 64
# Seconds that a thread gets to return from a subscriber when all is over.
_LAST_MOMENT = 0.2


CaughtUp = Callable[[], Awaitable[None]]
"""Waits for those who are behind in hearing responses, and want all of them."""


class Subscriptions:
    """All subscribers of one controller. Used from the loop's thread only."""

    def __init__(self, limits: Limits) -> None:
        """Start with none."""
        self._limits = limits
        self._active: tuple[_Subscription, ...] = ()
        self._ended: list[_Subscription] = []
        self._dropped_before = 0

    @property
    def dropped(self) -> int:
        """Responses that a subscriber never heard, for want of room or of time."""
        return self._dropped_before + sum(one.dropped for one in self._active)

    def add(
        self, subscriber: ResponseSubscriber, *, overflow: Overflow = "drop", only: Only = "all"
    ) -> Callable[[], None]:
        """Begin to tell `subscriber`; the returned callable ends that, and drops what is queued.

        Raises:
            ConfigError: an argument is none of the allowed ones.
        """
        if not callable(subscriber):
            raise ConfigError(
                f"subscriber must be callable, got {subscriber!r}; for example LogResponses()"
            )
        _one_of("overflow", overflow, ("drop", "wait"))
        _one_of("only", only, ("all", "failed"))
        subscription = _Subscription(
            subscriber, self._limits, waits=overflow == "wait", failed_only=only == "failed"
        )
        self._active = (*self._active, subscription)

        def unsubscribe() -> None:
            if subscription in self._active:
                self._active = tuple(one for one in self._active if one is not subscription)
                subscription.end()
                self._dropped_before += subscription.dropped
                self._ended.append(subscription)

        return unsubscribe

    def publish(self, response: InvokerResponse) -> None:
        """Queue the response for each subscriber."""
        for subscription in self._active:
            subscription.put(response)

    def held_back(self) -> CaughtUp | None:
        """What to wait for, where a subscriber with `overflow="wait"` is behind."""
        for each in self._active:
            if each.waits and each.is_full and not _inside_subscriber.get():
                return self._have_room
        return None

    async def _have_room(self) -> None:
        for each in self._active:
            if each.waits:
                await each.has_room()

    async def aclose(self, timeout: float) -> None:
        """Deliver what is queued for at most `timeout` seconds; the rest counts as dropped."""
        try:
            await self._all_idle(timeout)
        finally:
            for subscription in self._active:
                if left := subscription.end():
                    _log.error(
                        "%d responses were dropped: subscriber %s did not hear them within %g s",
                        left,
                        subscription.name,
                        timeout,
                    )
                self._dropped_before += subscription.dropped
            ended, self._active, self._ended = [*self._ended, *self._active], (), []
            asker = asyncio.current_task()
            await asyncio.gather(*(one.ended(asker) for one in ended))

    async def _all_idle(self, timeout: float) -> None:
        """Wait until all queues are empty at the same time: subscribers may invoke in turn."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while busy := [one for one in self._active if not one.idle.is_set()]:
                    await busy[0].idle.wait()


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} must be {' or '.join(map(repr, allowed))}, got {value!r}")


class _Subscription:
    """One subscriber, its queue, and the task that empties it."""

    def __init__(
        self, subscriber: ResponseSubscriber, limits: Limits, *, waits: bool, failed_only: bool
    ) -> None:
        self.name = getattr(subscriber, "__qualname__", type(subscriber).__qualname__)
        self.waits = waits
        self.dropped = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._subscriber = subscriber
        self._failed_only = failed_only
        self._most_items = limits.subscriber_items
        self._most_bytes = limits.subscriber_bytes
        self._queue: deque[tuple[InvokerResponse, int]] = deque()  # and its size
        # Both count what the subscriber has in hand, too.
        self._items = 0
        self._bytes = 0
        self._is_dropping = False
        self._ended = False
        self._filled = asyncio.Event()
        self._waiting_for_room: list[asyncio.Future[None]] = []
        self._thread = None if _is_async(subscriber) else _SubscriberThread(subscriber, self.name)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        return self._items >= self._most_items or self._bytes >= self._most_bytes

    def put(self, response: InvokerResponse) -> None:
        """Queue one response, or drop it. With `waits` it is queued however full the queue is:
        the publisher then waits, and loses nothing if it is cancelled meanwhile.
        """
        if self._failed_only and response.ok:
            return
        if not self.waits and self.is_full:
            self.dropped += 1
            if not self._is_dropping:
                self._is_dropping = True
                _log.warning("subscriber %s is behind; dropping responses", self.name)
            return
        if not self._queue:
            self.idle.clear()
            self._filled.set()
        size = len(response.event.data) + len(response.body)
        self._queue.append((response, size))
        self._items += 1
        self._bytes += size
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"subscriber {self.name}")

    async def has_room(self) -> None:
        while self.is_full and not self._ended:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting_for_room.append(waiting)
            await waiting

    async def _run(self) -> None:
        _inside_subscriber.set(True)
        while not self._ended:
            await self._filled.wait()
            if self._thread is None:
                await self._tell_on_loop()
            else:
                await self._tell_in(self._thread)
            if not self._queue:
                self._filled.clear()

    async def _tell_on_loop(self) -> None:
        subscriber = cast("Callable[[InvokerResponse], Awaitable[None]]", self._subscriber)
        while self._queue:
            response, size = self._queue.popleft()
            try:
                await subscriber(response)
            except Exception:
                self._log_failure()
            self._release(1, size)

    async def _tell_in(self, thread: _SubscriberThread) -> None:
        batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
        for unfinished in await thread.tell([response for response, _ in batch]):
            try:
                await unfinished
            except Exception:
                self._log_failure()
        self._release(len(batch), sum(size for _, size in batch))

    def _log_failure(self) -> None:
        _log.exception("subscriber %s failed", self.name)

    def _release(self, items: int, size: int) -> None:
        if self._ended:
            return
        self._items -= items
        self._bytes -= size
        if not self._items:
            self.idle.set()
        if (self._is_dropping or self._waiting_for_room) and not self.is_full:
            if self._is_dropping:
                self._is_dropping = False
                _log.info("subscriber %s caught up; %d dropped so far", self.name, self.dropped)
            self._admit()

    def _admit(self) -> None:
        for waiting in self._waiting_for_room:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting_for_room.clear()

    def end(self) -> int:
        """Tell it no more. Returns how many responses it never heard to the end."""
        left, self._items, self._ended = self._items, 0, True
        self.dropped += left
        self._queue.clear()
        self._admit()
        self.idle.set()
        # A subscriber may end its own subscription; it is not cut off in the middle.
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        if self._thread is not None:
            self._thread.end()
        return left

    async def ended(self, asker: asyncio.Task[Any] | None) -> None:
        """Wait until its task has ended, unless that is who asks, and its thread, if not stuck."""
        if self._task is not None and self._task is not asker:
            await asyncio.wait([self._task])
        if self._thread is not None and not await self._thread.joined():
            _log.error("subscriber %s does not return; its thread is left behind", self.name)


class _SubscriberThread:
    """The thread of a subscriber that blocks. A daemon: one that is stuck must not hold up exit."""

    def __init__(self, subscriber: Callable[[InvokerResponse], Any], name: str) -> None:
        self._subscriber = subscriber
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_ended = False
        self._returned = asyncio.Event()

    async def tell(self, batch: list[InvokerResponse]) -> list[Awaitable[None]]:
        """Call the subscriber with each; what it returned to be awaited is returned."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run,
                args=(loop,),
                name=f"faas-connector subscriber {self._name}",
                daemon=True,
            )
            self._thread.start()
        told: asyncio.Future[list[Awaitable[None]]] = loop.create_future()
        context = copy_context()

        def work() -> None:
            unfinished = context.run(self._tell_each, batch)
            # The loop is closed when a stuck subscriber returns after all.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_set_result, told, unfinished)

        self._work.put(work)
        return await told

    def _tell_each(self, batch: list[InvokerResponse]) -> list[Awaitable[None]]:
        unfinished: list[Awaitable[None]] = []
        for response in batch:
            if self._is_ended:
                break
            try:
                returned = self._subscriber(response)
            except Exception:
                _log.exception("subscriber %s failed", self._name)
            else:
                if inspect.isawaitable(returned):
                    unfinished.append(returned)
        return unfinished

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (work := self._work.get()) is not None:
            work()
        with contextlib.suppress(RuntimeError):  # as above
            loop.call_soon_threadsafe(self._returned.set)

    def end(self) -> None:
        self._is_ended = True
        self._work.put(None)

    async def joined(self) -> bool:
        """Wait a moment for the thread to end; whether it has. The loop goes on meanwhile."""
        if self._thread is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_MOMENT):
                await self._returned.wait()
            self._thread.join()
        return not self._thread.is_alive()


def _set_result(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _is_async(subscriber: ResponseSubscriber) -> bool:
    return inspect.iscoroutinefunction(subscriber) or inspect.iscoroutinefunction(
        getattr(subscriber, "__call__", None)  # noqa: B004
    )
